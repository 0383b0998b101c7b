# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads the classes of a link, and compares them with each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    dscp,
    keys,
    matches,
    numbering,
    shadows,
    values,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import COPY, TrafficClass

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink, Match
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

KEYS = (
    "name",
    "default",
    "match",
    "priority",
    "share",
    "outer_dscp",
    "nat",
    "number",
    "table",
    "rule_priority",
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,9}")
# What Linux takes as the name of an interface (IFNAMSIZ).
_LONGEST_TUN = 15
_MOST = 8
_SHAPER_PRIORITIES = range(8)
_SHARES = range(1, 101)
#: Percent of a WAN's rate that is guaranteed to what is in no class.
REST_SHARE = 5
_FOR_CLASSES = 100 - REST_SHARE


@dataclass(frozen=True)
class Around:
    """What the classes of a link have to know of it: its name in messages, its number, their suffix, its LANs."""

    where: str
    number: int
    suffix: str
    lans: tuple[str, ...]


def read(value: object, link: Around, problems: Problems) -> tuple[TrafficClass, ...]:
    """Read the classes of a link; none when there were errors."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= _MOST:
        problems.unexpected(
            f"{link.where}: classes", value, f"a list of 1 to {_MOST} classes such as {{name: df, default: true}}"
        )
        return ()
    errors_before = len(problems.errors)
    numbers = _numbers(value)
    found = [_class(entry, place, numbers[place], link, problems) for place, entry in enumerate(value)]
    if len(problems.errors) != errors_before:
        return ()
    _share_the_rest(found)
    return tuple(TrafficClass(**fields) for fields in found)


def check(link: ClassLink, problems: Problems) -> None:
    """Compare the classes of one link."""
    defaults = [item for item in link.classes if item.default]
    if not defaults:
        problems.errors.append(f"{link.where}: classes: found none with default: true, expected one")
    for item in defaults[1:]:
        problems.unexpected(f"{item.where}: default", item.default, f"one default class, as {defaults[0].place} is")
    for key in ("name", "number"):
        _differ(link, key, problems)
    _shares_fit(link, problems)
    if link.shaped:
        _told_apart(link, problems)
    shadows.of_classes(link.classes, link.lans, problems)
    _has_room(link, problems)


def distinct(classes: Sequence[TrafficClass]) -> tuple[TrafficClass, ...]:
    """Return the classes of which no earlier one has the name or the number."""
    return tuple(
        item
        for index, item in enumerate(classes)
        if not any(item.name == other.name or item.number == other.number for other in classes[:index])
    )


def _numbers(entries: Sequence[object]) -> list[int]:
    """Return the numbers of classes that say none themselves: in their order, those that no other class says.

    So a class that comes or goes leaves the others theirs, if one says its own.
    """
    said = {entry["number"] for entry in entries if isinstance(entry, Mapping) and _says_number(entry)}
    free = iter([number for number in numbering.CLASS_NUMBERS if number not in said])
    return [
        numbering.CLASS_NUMBERS[0] if isinstance(entry, Mapping) and "number" in entry else next(free)
        for entry in entries
    ]


def _says_number(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("number"), int) and entry["number"] in numbering.CLASS_NUMBERS


def _class(entry: object, position: int, number: int, link: Around, problems: Problems) -> dict[str, Any]:
    """Read one class. A share that is not given is None."""
    place = f"classes[{position}]"
    where = f"{link.where}: {place}"
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, "a mapping such as {name: df, default: true}")
        return {}
    name = _name(entry, where, link.suffix, problems)
    if name:
        place = f"{place} ({name})"
        where = f"{link.where}: {place}"
    keys.refuse_unknown(entry, where, KEYS, problems)
    fields: dict[str, Any] = {
        "default": False,
        "priority": position,
        "share": None,
        "outer_dscp": 0,
        "nat": True,
        "number": number,
    }
    integers = {
        "number": numbering.CLASS_NUMBERS,
        "priority": _SHAPER_PRIORITIES,
        "share": _SHARES,
        "table": keys.TABLES,
        "rule_priority": keys.PRIORITIES,
    }
    fields |= keys.given(entry, where, values.integer, integers, problems)
    for key in ("default", "nat"):
        if key in entry:
            fields[key] = values.boolean(entry[key], f"{where}: {key}", problems)
    if "outer_dscp" in entry:
        fields["outer_dscp"] = _outer_dscp(entry["outer_dscp"], f"{where}: outer_dscp", problems)
    k = fields["number"] or numbering.CLASS_NUMBERS[0]
    return {
        "where": where,
        "place": place,
        "name": name,
        "tun_name": f"{name}{link.suffix}",
        "matches": _matches(entry, where, position, link, problems),
        "table": numbering.class_table(link.number, k),
        "rule_priority": numbering.class_priority(link.number, k),
        **fields,
    }


def _name(entry: Mapping[str, Any], where: str, suffix: str, problems: Problems) -> str:
    if "name" not in entry:
        problems.missing(f"{where}: name", "the name of the class such as df")
        return ""
    name = entry["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.unexpected(f"{where}: name", name, "1 to 10 of a-z 0-9 _ that start with a letter")
        return ""
    if len(name + suffix) > _LONGEST_TUN:
        problems.unexpected(f"{where}: name", name, f"at most {_LONGEST_TUN} characters with the suffix {suffix}")
    else:
        values.interface(name + suffix, f"{where}: name and suffix", problems)
    return str(name)


def _outer_dscp(value: object, where: str, problems: Problems) -> int | str | None:
    return COPY if value == COPY else dscp.read(value, where, problems, or_else=f", or {COPY}")


def _matches(
    entry: Mapping[str, Any], where: str, position: int, link: Around, problems: Problems
) -> tuple[Match | None, ...]:
    if entry.get("default") is True:
        if "match" in entry:
            problems.unexpected(
                f"{where}: match", entry["match"], "none: the default class takes what no other class matches"
            )
        return ()
    expected = "a list of matches such as {protocol: udp, dports: [5060]}"
    if "match" not in entry:
        problems.missing(f"{where}: match", f"{expected}, or default: true")
        return ()
    value = entry["match"]
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        problems.unexpected(f"{where}: match", value, expected)
        return ()
    places = [f"classes[{position}].match[{index}]" for index in range(len(value))]
    return tuple(
        matches.read(item, f"{link.where}: {place}", place, link.lans, problems)
        for item, place in zip(value, places, strict=True)
    )


def _share_the_rest(found: list[dict[str, Any]]) -> None:
    """Give the classes without a share of their own equal parts of what is left; 0 when nothing is."""
    given = sum(fields["share"] for fields in found if fields["share"] is not None)
    without = [fields for fields in found if fields["share"] is None]
    for fields in without:
        fields["share"] = max(0, _FOR_CLASSES - given) // len(without)


def _shares_fit(link: ClassLink, problems: Problems) -> None:
    """Check that all classes together leave a part for the rest, and something for each other."""
    given = sum(item.share for item in link.classes)
    without = sum(1 for item in link.classes if not item.share)
    if given > _FOR_CLASSES:
        problems.errors.append(
            f"{link.where}: classes: found shares of {given} percent, expected at most {_FOR_CLASSES} in all"
            f" ({REST_SHARE} are for what is in no class)"
        )
    elif without:
        problems.errors.append(
            f"{link.where}: classes: found shares of {given} percent, expected at most {_FOR_CLASSES - without},"
            f" because {without} more have none of their own"
        )


def _differ(link: ClassLink, key: str, problems: Problems) -> None:
    first: dict[object, TrafficClass] = {}
    for item in link.classes:
        other = first.setdefault(getattr(item, key), item)
        if other is not item:
            problems.clash(f"{item.where}: {key}", getattr(item, key), f"already used by {other.place}")


def _told_apart(link: ClassLink, problems: Problems) -> None:
    """Check that the shaper can tell the classes of a link by the outside of their packets."""
    first: dict[object, TrafficClass] = {}
    why = f"the shaper of {link.wan} (mpquic_wans) knows classes by it"
    for item in link.classes:
        other = first.setdefault(item.outer_dscp, item)
        if item.outer_dscp == COPY:
            problems.unexpected(f"{item.where}: outer_dscp", COPY, f"a code point, {why}")
        elif other is not item:
            found = dscp.text(int(item.outer_dscp))
            problems.errors.append(
                f"{item.where}: outer_dscp: found {found}, expected another than that of {other.place}, {why}"
            )


def _has_room(link: ClassLink, problems: Problems) -> None:
    """Check that the networks have an address for every class."""
    last = link.last_index
    for key, network in (("network", link.network), ("network6", link.network6)):
        if network is not None and 4 * last + 3 >= network.size:
            problems.unexpected(
                f"{link.where}: {key}",
                network,
                f"room for {4 * last + 4} addresses (four for each class, first {link.first})",
            )
