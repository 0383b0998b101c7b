# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs all checks of a host. One that fails becomes a finding, and the others go on."""

from __future__ import annotations

import datetime as dt
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic import config
from mpquic.host import firewall, health, identity, instances, mark, repair, settings, units, watch
from mpquic.host.doctor import dns, tunnels
from mpquic.host.doctor.finding import Finding, finding
from mpquic.host.echo import Probe, echo
from mpquic.host.errors import ConfigError, HostError
from mpquic.host.guard import store, switch
from mpquic.host.history import usage
from mpquic.host.instances import ALL, Selection
from mpquic.host.journal import last_error
from mpquic.host.shaper import document
from mpquic.host.shaper import repair as shaping
from mpquic.host.shaper.netlink import TcKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mpquic.host.instances import Instance
    from mpquic.host.netlink import Kernel

    Ask = Callable[[str], dict[str, Any] | None]

#: Echo requests per tunnel, the seconds between two, and those for the last reply.
PROBES, APART, PATIENCE = 30, 0.05, 1.5
#: Days before its end from which on a certificate is told.
EXPIRES = 30
_OWNER = "mpquic"
_UNIT_WATCH = Path("/etc/systemd/system/mpquic-watch.service")
_CURRENT = Path("/opt/mpquic/current")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this host's things are; `ask` returns what the daemon of an instance says, None when it does not answer."""

    kernel: Kernel
    instances: Path
    identity: Path
    ask: Ask
    #: What the recorder counted of WANs (mpquic.host.history.usage).
    usage: Path


def examine(place: Place, target: str) -> tuple[list[str], list[Finding]]:
    """Return the ids of the tunnels that were looked at, and what is wrong, the worst first."""
    selection, found = _select(place, target)
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _host(place, selection),
        _watch,
        _guard,
        lambda: _shaper(place.instances.parent / "shaper.yaml"),
        lambda: _identity(place, selection),
        _mark,
        lambda: _quota(place.usage),
    )
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Resolvers take as long as the tunnels, and neither waits for the other.
        names = pool.submit(_guarded, lambda: _dns(place, selection))
        found += _guarded(lambda: _tunnels(place, selection))
        for check in checks:
            found += _guarded(check)
        found += names.result()
    return [instance.id for instance in selection.chosen], tunnels.sorted_by_weight(found)


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    found = []
    try:
        # One by one: what was found before it failed is kept.
        for one in check():
            found.append(one)  # noqa: PERF402
    except (HostError, ConfigError) as error:
        found.append(finding("host", "check_failed", str(error)))
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        found.append(finding("host", "check_failed", text))
    return found


def _select(place: Place, target: str) -> tuple[Selection, list[Finding]]:
    """Return the instances whose files can be read, and what is wrong with the others."""
    try:
        return instances.select(place.instances, target), []
    except ConfigError as error:
        faults = [finding("host", "config_wrong", line) for line in str(error).splitlines()]
    known: list[Instance] = []
    for path in sorted(place.instances.glob("*.yaml")) if target == ALL else []:
        try:
            known += instances.select(place.instances, path.stem).chosen
        except (ConfigError, HostError):
            continue
    return Selection(target, tuple(known), tuple(known)), faults


# --- tunnels ---------------------------------------------------------------------------------------------------------


def _tunnels(place: Place, selection: Selection) -> Iterator[Finding]:
    if not selection.chosen:
        return
    doctor = health.Doctor(place.kernel, selection, PATIENCE, 0.0, place.ask)
    looked = doctor.check()
    alive = [tunnel.instance for tunnel in looked if tunnel.echo is not None and tunnel.echo.crossed]
    probes = {
        instance.id: Probe(instance.tun, str(instance.address.ip), instance.peer) for instance in alive if instance.peer
    }
    echoes = echo(probes, PATIENCE, count=PROBES, interval=APART)
    for tunnel in looked:
        name = tunnel.instance.id
        # Once more: the probes have told the daemon about its path.
        daemon = place.ask(name) if tunnel.daemon is not None else None
        yield from tunnels.findings(tunnel, daemon, echoes.get(name))
        if tunnel.daemon is None and (line := last_error(units.unit(name))) is not None:
            yield finding(f"tunnel {name}", "log", line, id=name)
        if daemon is not None and (release := _other_release(daemon.get("pid"))) is not None:
            message = f"was started from another release than {release}, which is installed"
            yield finding(f"tunnel {name}", "release_old", message, id=name)


def _other_release(pid: object) -> str | None:
    """Return the release that is installed when a process was started from another one, else None."""
    try:
        started = Path(f"/proc/{pid}/cmdline").read_bytes()
        current = _CURRENT.readlink().name
    except OSError:
        return None
    return current if b"/releases/" in started and f"/releases/{current}/".encode() not in started else None


def _host(place: Place, selection: Selection) -> Iterator[Finding]:
    """Yield what is wrong with what all tunnels need."""
    problems = [table] if (table := firewall.problem()) is not None else []
    for problem in [*problems, *settings.problems(), *units.differing()]:
        yield finding("host", problem.code, problem.message)
    for stale in repair.check(place.kernel.read(), selection).stale_before if selection.target == ALL else ():
        yield finding("host", "stale", f"{stale} belongs to no instance")


# --- the host --------------------------------------------------------------------------------------------------------


def _watch() -> Iterator[Finding]:
    if not _UNIT_WATCH.exists():
        return
    told = watch.told(watch.FILE)
    if not watch.runs(told.get("pid")):
        yield finding("host", "watch_stopped", "mpquic-watch.service does not run")
        return
    for entry in told.get("remaining", ()):
        # What is wrong with tunnels, the table and settings was found above, at this moment.
        if entry.get("code") in {"hold_failed", "fix_failed"}:
            yield finding("host", entry["code"], f"the watch: {entry.get('message')}")


def _guard() -> Iterator[Finding]:
    armed, last = switch.current(), store.read(store.LAST)
    if armed is not None:
        message = f"the host goes back to its state of {armed.since} in {armed.left:.0f} s"
        yield finding("host", "guard_armed", message)
    for line in (last or {}).get("failed", ()):
        yield finding("host", "guard_failed", f"restore of {(last or {}).get('at')}: {line}")


def _shaper(file: Path) -> Iterator[Finding]:
    if not file.exists():
        return
    with TcKernel() as kernel:
        for report in shaping.check(kernel.read(), document.load(file)):
            for problem in report.problems:
                yield finding(f"WAN {report.place.name}", problem.code, problem.message, wan=report.place.name)


def _identity(place: Place, selection: Selection) -> Iterator[Finding]:
    if not place.identity.is_dir():
        return
    try:
        own = identity.ensure(place.identity, _OWNER, dry=True)
    except HostError as error:
        yield finding("host", "identity_broken", str(error))
        return
    for action in own.actions:
        yield finding("host", "identity_broken", f"not as it should be: {action}")
    if own.expires is not None:
        left = dt.datetime.strptime(own.expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)
        if left.total_seconds() <= 0:
            yield finding("host", "certificate_expired", f"the CA's certificate expired at {own.expires}")
        elif left.days < EXPIRES:
            yield finding("host", "certificate_expires", f"the CA's certificate ends at {own.expires}")
    for instance in selection.chosen:
        shown = (place.ask(instance.id) or {}).get("identity")
        if shown is not None and shown != own.fingerprint:
            message = f"shows {shown}, the host has {own.fingerprint}"
            yield finding(f"tunnel {instance.id}", "identity_stale", message, id=instance.id)


def _mark() -> Iterator[Finding]:
    last = mark.read() if os.geteuid() == 0 else None
    for difference in mark.differences(last, mark.files()) if last is not None else ():
        yield finding("host", "file_changed", f"since the last play: {difference}")


def _quota(file: Path) -> Iterator[Finding]:
    for wan in usage.told(file):
        code = {usage.WARN: "quota_low", usage.FULL: "quota_full"}.get(wan["level"])
        if code is not None:
            yield finding(f"WAN {wan['wan']}", code, usage.line(wan), wan=wan["wan"])


# --- names -----------------------------------------------------------------------------------------------------------


def _dns(place: Place, selection: Selection) -> Iterator[Finding]:
    resolvers = dns.resolvers()
    faults = dns.faults(resolvers)
    for address, fault in faults.items():
        yield finding("host", "dns_silent", f"the resolver {address} {fault}")
    for instance in selection.chosen:
        for name in _servers(place.instances / f"{instance.id}.yaml"):
            # A resolver that does not answer would be waited for in vain, for each name.
            why = "no resolver answers" if faults and len(faults) == len(resolvers) else _unresolved(name)
            if why is not None:
                message = f"its server {name} cannot be found: {why}"
                yield finding(f"tunnel {instance.id}", "dns_failed", message, id=instance.id)


def _servers(file: Path) -> list[str]:
    """Return the servers of a client that have names."""
    try:
        found, _warnings = config.load(file)
    except config.ConfigError:
        return []
    hosts = [found.remote_addr, *(path.remote_addr for path in (found.multipath.paths if found.multipath else ()))]
    return list(dict.fromkeys(host for host in hosts if host is not None and not _is_address(host)))


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _unresolved(name: str) -> str | None:
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        return error.strerror or str(error)
    return None
