# SPDX-License-Identifier: GPL-3.0-or-later
"""The list ``multipath_paths``: reading its entries, and what must hold between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mpquic.config import explain
from mpquic.config.checks import family_fault
from mpquic.config.errors import quoted
from mpquic.config.multipath import MAX_PATHS, MultipathPath, links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpquic.config.errors import Findings

_LIST = "multipath_paths"
#: What the older implementation had here.
_OLDER = {
    "pipes": "not used: connections says how many a path has",
    "transport": "not used: every path is QUIC",
}

#: The keys of an entry that are right.
Entry = Mapping[str, Any]


def take(rest: dict[str, Any], findings: Findings) -> list[Entry]:
    """Replace the list in ``rest`` by its right entries, and return what is right in each entry."""
    given = rest.pop(_LIST, None)
    if not isinstance(given, list) or not given:
        found = "missing" if given is None else f"found {quoted(given)}"
        findings.errors.append(f"{_LIST}: {found}, expected a list of mappings of name, bind_ip, remote_addr, ...")
        return []
    entries: list[Entry] = []
    right: list[MultipathPath] = []
    for index, raw in enumerate(given):
        place = f"{_LIST}[{index}]"
        valid: dict[str, Any] = {}
        entries.append(valid)
        if not isinstance(raw, dict):
            wanted = ", ".join(explain.keys(MultipathPath))
            findings.errors.append(f"{place}: found {quoted(raw)}, expected a mapping of {wanted}")
            continue
        try:
            right.append(MultipathPath.model_validate(_modern(raw, index, findings), context=valid))
        except ValidationError as error:
            findings.errors += explain.lines(error, MultipathPath, f"{place}.")
    rest[_LIST] = tuple(right)
    findings.errors += _across(entries)
    if len(right) == len(entries):
        findings.warnings += [*_same_places(right), *_other_ends(right)]
    return entries


def _modern(raw: Mapping[str, Any], index: int, findings: Findings) -> dict[str, Any]:
    """Return an entry as this release has it."""
    entry = dict(raw)
    for key, why in _OLDER.items():
        if key in entry:
            del entry[key]
            findings.warnings.append(f"{_LIST}[{index}].{key}: {why}")
    if not entry.get("name"):
        entry["name"] = f"path{index + 1}"
    weight = entry.get("weight")
    if isinstance(weight, int) and weight < 1 and not isinstance(weight, bool):
        entry["weight"] = 1
        findings.warnings.append(f"{_LIST}[{index}].weight: found {quoted(weight)}, using 1")
    return entry


def _across(entries: Sequence[Entry]) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        name = entry.get("name")
        if name is not None:
            # Those who name it do so in any case.
            other = first.setdefault(name.lower(), index)
            if other != index:
                yield f"{_LIST}[{index}].name: found {name}, expected another name than that of {_LIST}[{other}]"
        bind, remote = entry.get("bind_ip"), entry.get("remote_addr")
        if bind is not None and remote is not None:
            fault = family_fault(bind, remote)
            if fault:
                yield f"{_LIST}[{index}].remote_addr: {fault}"
    total = sum(entry.get("connections", 1) for entry in entries)
    if total > MAX_PATHS:
        yield f"{_LIST}: found {total} connections in {len(entries)} paths, expected at most {MAX_PATHS}"


def _same_places(paths: Sequence[MultipathPath]) -> Iterator[str]:
    for index, other in enumerate(links(paths)):
        if other != index:
            yield (
                f"{_LIST}[{index}]: found the bind_ip and remote of {_LIST}[{other}], so both are one WAN: "
                f"copies of a packet and failover count them as one (connections gives a path more than one)"
            )


def _other_ends(paths: Sequence[MultipathPath]) -> Iterator[str]:
    first = paths[0]
    for index, path in enumerate(paths):
        for key in ("remote_addr", "remote_port"):
            found, wanted = getattr(path, key), getattr(first, key)
            if found != wanted:
                yield (
                    f"{_LIST}[{index}].{key}: found {found}, and {wanted} in {_LIST}[0]: "
                    f"all paths must end at one server process"
                )
