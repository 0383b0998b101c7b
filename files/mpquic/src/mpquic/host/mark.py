# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark that a successful play leaves on a host, and whether the host still is as it was then.

The mark says what the play wanted, in digests that only the play can make, and what the files were that it manages. A
play that wants the same again needs to do nothing on a host whose files and whose kernel are as they should be.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.host import firewall, programs, repair, units
from mpquic.host.errors import HostError
from mpquic.host.shaper import document
from mpquic.host.shaper import repair as shaping
from mpquic.host.shaper.netlink import TcKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mpquic.host.instances import Selection
    from mpquic.host.netlink import Kernel

FILE = Path("/etc/mpquic/mark")
#: What a play manages, as patterns of pathlib; keys are the identity's business, and are never read here.
_MANAGED = (
    "etc/mpquic/*",
    "etc/mpquic/instances/*",
    "etc/mpquic/identity/cert.pem",
    "etc/systemd/system/mpquic*",
    "etc/systemd/system/nftables.service.d/60-mpquic.conf",
    "etc/systemd/networkd.conf.d/60-mpquic*",
    "etc/sysctl.d/60-mpquic*",
    "opt/mpquic/current",
    "usr/local/bin/mpquic",
)
#: Enabled, and over at once when it has nothing to put back.
_BRIEF = {"mpquic-guard.service"}
_SHAPER = Path("/etc/mpquic/shaper.yaml")
_FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")
#: Seconds.
_PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Mark:
    """What a play left: a digest of what it wanted, the keys of peers by name, a digest of each file by path."""

    plan: str
    pins: dict[str, list[str]]
    files: dict[str, str]


def files(root: Path = Path("/")) -> dict[str, str]:
    """Return a digest of mode, owner and content of every managed file below ``root``, by path. Raises OSError."""
    found = {}
    for pattern in _MANAGED:
        for path in sorted(root.glob(pattern)):
            if path.is_symlink():
                found[str(path)] = f"-> {path.readlink()}"
            elif path.is_file() and path.name != FILE.name:
                state = path.stat()
                head = f"{state.st_mode:o} {state.st_uid} {state.st_gid} ".encode()
                found[str(path)] = hashlib.sha256(head + path.read_bytes()).hexdigest()
    return found


def read(file: Path = FILE) -> Mark | None:
    """Return the mark, None where there is none that can be read."""
    try:
        found = json.loads(file.read_text())
        return Mark(str(found["plan"]), dict(found["pins"]), dict(found["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(mark: Mark, file: Path = FILE) -> None:
    """Leave a mark, all of it or none. Raises OSError."""
    beside = file.with_name(f".{file.name}")
    beside.write_text(json.dumps(asdict(mark), sort_keys=True))
    beside.chmod(0o600)
    beside.replace(file)


def differences(mark: Mark, found: dict[str, str]) -> Iterator[str]:
    """Yield what a managed file is not what it was."""
    for path in sorted(mark.files.keys() | found.keys()):
        if mark.files.get(path) != found.get(path):
            missing = "missing" if path not in found else "new" if path not in mark.files else "changed"
            yield f"{path}: {missing}"


def faults(kernel: Kernel, selection: Selection, ask: Callable[[str], dict[str, Any] | None]) -> Iterator[str]:
    """Yield why a play would find something to do on this host, whatever its files say.

    ``ask`` returns what the daemon of an instance says of itself, None when it does not answer.
    """
    for instance in selection.known:
        told = ask(instance.id)
        if told is None or told.get("config") != instance.digest:
            yield f"instance {instance.id} does not run what its file says"
    yield from _units([units.unit(instance.id) for instance in selection.known])
    outcome = repair.check(kernel.read(), selection)
    for report in outcome.reports:
        yield from (f"instance {report.instance.id}: {problem.message}" for problem in report.problems)
    yield from (f"{stale} belongs to no instance" for stale in outcome.stale_before)
    table = firewall.problem()
    if table is not None:
        yield table.message
    yield from _shaper()
    if _FORWARDS.read_text().strip() != "1":
        yield "the host does not forward"


def _units(names: list[str]) -> Iterator[str]:
    """Yield each unit that does not run, or would not after a boot; of ours beside instances those that are enabled."""
    own = sorted(path.name for path in Path("/etc/systemd/system").glob("mpquic-*.*") if path.is_file())
    own = [name for name in own if name not in _BRIEF]
    enabled = dict(zip([*names, *own], _words("is-enabled", [*names, *own]), strict=False))
    wanted = [name for name in (*names, *own) if name in names or enabled.get(name) == "enabled"]
    active = dict(zip(wanted, _words("is-active", wanted), strict=False))
    for name in wanted:
        if enabled.get(name) != "enabled" or active.get(name) != "active":
            yield f"{name} is {enabled.get(name, 'unknown')} and {active.get(name, 'unknown')}"


def _words(question: str, names: list[str]) -> list[str]:
    """Return the answers of systemctl(1), one word for each unit."""
    done = programs.answer("systemctl", question, *names, patience=_PATIENCE) if names else None
    return done.stdout.split() if done is not None else []


def _shaper() -> Iterator[str]:
    if not _SHAPER.exists():
        return
    try:
        with TcKernel() as kernel:
            reports = shaping.check(kernel.read(), document.load(_SHAPER))
    except HostError as error:
        yield f"shaper: {error}"
        return
    for report in reports:
        yield from (f"shaper of {report.place.name}: {problem.message}" for problem in report.problems)
