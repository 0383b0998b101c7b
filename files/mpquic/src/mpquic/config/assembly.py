# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a tunnel over several WANs, made what `InstanceConfig` has for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpquic.config import classes, document, drafts, paths, size
from mpquic.config.dataplane import scheduling
from mpquic.config.drafts import Place
from mpquic.config.errors import ConfigError, Findings
from mpquic.config.fields import file_name
from mpquic.config.multipath import Multipath, links

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mpquic.config.dataplane import Scheduling
    from mpquic.config.multipath import MultipathPath
    from mpquic.config.paths import Entry

#: Keys of a tunnel with one path.
_OF_ONE = ("bind_ip", "remote_addr", "remote_port", "rate")


@dataclass(slots=True)
class Beside:
    """The file with the dataplane, if there is one: what it holds, and what there is to say about it."""

    path: Path | None = None
    raw: bytes = b""
    findings: Findings = field(default_factory=Findings)


def take(rest: dict[str, Any], path: Path, findings: Findings) -> Beside:
    """Replace the keys of several paths in ``rest`` by what they mean, and report what is wrong in them.

    ``path`` is the file that they are from. The keys of one path get the values of the first path.
    """
    for key in _OF_ONE:
        if rest.pop(key, None) is not None:
            findings.warnings.append(f"{key}: not used: multipath_enabled is true, and every path has its own")
    entries = paths.take(rest, findings)
    whole: Sequence[MultipathPath] = rest.get("multipath_paths", ())
    # Without a right path there are errors, and nobody sees these.
    rest["bind_ip"], rest["remote_addr"], rest["remote_port"] = whole[0].place if whole else ("::", "::", 1)
    place = Place("dataplane.", findings)
    inline = rest.pop("dataplane", None)
    draft = drafts.read({} if inline is None else inline, place)
    beside = _beside(rest.get("dataplane_config_file"), path)
    if beside.path is not None:
        place = Place("", beside.findings)
        try:
            beside.raw = document.read(beside.path, regular=True)
            draft = drafts.joined(draft, drafts.read(document.mapping(beside.raw, beside.path), place))
        except ConfigError as error:
            beside.findings.errors += [line.removeprefix(f"{beside.path}: ") for line in error.messages]
            return beside
    policy = _policy(rest.get("multipath_policy"))
    found = classes.finish(draft, policy, _links(whole, entries), place)
    rest["dataplane"] = found
    if found is not None and not findings.errors and not beside.findings.errors:
        findings.errors += size.faults(Multipath(policy, tuple(whole), found))
    return beside


def _beside(name: object, path: Path) -> Beside:
    """Return the file of a name, which the model refuses if it is none."""
    try:
        return Beside(path.parent / file_name(name))
    except ValueError:
        return Beside()


def _policy(value: object) -> Scheduling:
    """Return the policy, any if there is a wrong one: the model refuses that."""
    try:
        return "priority" if value is None else scheduling(value)
    except ValueError:
        return "priority"


def _links(whole: Sequence[MultipathPath], entries: Sequence[Entry]) -> classes.Links | None:
    """Return the paths and their WANs, None when some name is not known."""
    if not entries or any("name" not in entry for entry in entries):
        return None
    if len(whole) < len(entries):
        # Which of them are one WAN shows when all are right.
        return {entry["name"]: index for index, entry in enumerate(entries)}
    return dict(zip((path.name for path in whole), links(whole), strict=True))
