# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Finds matches that no packet reaches, because of an earlier class or of the LANs themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import matches
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.ranges import common, covers, united

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import Lan, Match, TrafficClass
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.ranges import Ranges

_ALL_PORTS: Ranges = ((0, 65535),)
_ALL_ADDRESSES: dict[int, Ranges] = {4: ((0, 2**32 - 1),), 6: ((0, 2**128 - 1),)}
_ALL_DSCP = frozenset(range(64))
# No host sends the ICMP of the other version.
_ALL_PROTOCOLS = {4: frozenset(range(256)) - {matches.ICMPV6}, 6: frozenset(range(256)) - {matches.ICMP}}


@dataclass(frozen=True)
class _Part:
    """The packets of a match that come from one LAN and have one IP version."""

    protocols: frozenset[int]
    dscp: frozenset[int]
    sports: Ranges
    dports: Ranges
    src: Ranges
    dst: Ranges

    def holds(self, other: _Part) -> bool:
        """Whether all packets of ``other`` are here."""
        return (
            other.protocols <= self.protocols
            and other.dscp <= self.dscp
            and covers(self.sports, other.sports)
            and covers(self.dports, other.dports)
            and covers(self.src, other.src)
            and covers(self.dst, other.dst)
        )


_Parts = dict[tuple[str, int], _Part]


def of_classes(classes: Iterable[TrafficClass], lans: Iterable[Lan], problems: Problems) -> None:
    """Record matches that say the same in two classes, and warn of those that never take a packet."""
    _find([item.matches for item in classes], lans, problems)


def of_matches(found: Iterable[Match], lans: Iterable[Lan], problems: Problems) -> None:
    """Do so for matches of which each is compared with all before it."""
    _find([(match,) for match in found], lans, problems)


def _find(groups: Iterable[Iterable[Match]], lans: Iterable[Lan], problems: Problems) -> None:
    """Compare each match with those of the groups before its own."""
    prefixes = {(lan.interface, version): _addresses(lan.cidrs, version) for lan in lans for version in (4, 6)}
    earlier: list[tuple[Match, _Parts]] = []
    for group in groups:
        read = [(match, _parts(match, prefixes)) for match in group]
        for match, parts in read:
            if parts:
                _compare(match, parts, earlier, problems)
            else:
                problems.warn(match.where, "never matches, no prefix of its LANs sends such packets")
        earlier += read


def _compare(match: Match, parts: _Parts, earlier: Iterable[tuple[Match, _Parts]], problems: Problems) -> None:
    for other, others in earlier:
        if all(key in others and others[key].holds(part) for key, part in parts.items()):
            if _said(match) == _said(other):
                problems.errors.append(f"{match.where}: found the same as {other.place}, expected a match of its own")
            else:
                problems.warn(match.where, f"never matches, {other.place} takes all of it")
            return


def _said(match: Match) -> tuple[object, ...]:
    return {*match.lans}, match.protocols, match.src, match.dst, match.sports, match.dports, match.dscp


def _parts(match: Match, prefixes: dict[tuple[str, int], Ranges]) -> _Parts:
    """Return what is not empty of a match, by LAN and IP version."""
    found = {}
    for (lan, version), of_lan in prefixes.items():
        if version not in matches.families(match) or (match.lans and lan not in match.lans):
            continue
        src = common(of_lan, _addresses(match.src, version)) if match.src else of_lan
        protocols = _ALL_PROTOCOLS[version].intersection(match.protocols or _ALL_PROTOCOLS[version])
        if src and protocols:
            found[lan, version] = _Part(
                protocols,
                frozenset(match.dscp) or _ALL_DSCP,
                match.sports or _ALL_PORTS,
                match.dports or _ALL_PORTS,
                src,
                _addresses(match.dst, version) if match.dst else _ALL_ADDRESSES[version],
            )
    return found


def _addresses(networks: Iterable[IPNetwork], version: int) -> Ranges:
    return united((network.first, network.last) for network in networks if network.version == version)
