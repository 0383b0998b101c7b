# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan says of a packet: the classes of /etc/mpquic/classes.yaml and the instance files, no live state."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import yaml

from mpquic.config.model import MARK_MASK
from mpquic.host.errors import ConfigError
from mpquic.host.explain.packet import ICMP, ICMPV6, dscp_number, protocol_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from mpquic.config.prefixes import IPNetwork
    from mpquic.host.explain.packet import Address, Packet


@dataclass(frozen=True, slots=True)
class Match:
    """One match of a class; an empty tuple takes anything, ports are inclusive ranges."""

    lan: tuple[str, ...] = ()
    protocol: tuple[int, ...] = ()
    src: tuple[IPNetwork, ...] = ()
    dst: tuple[IPNetwork, ...] = ()
    sports: tuple[tuple[int, int], ...] = ()
    dports: tuple[tuple[int, int], ...] = ()
    dscp: tuple[int, ...] = ()

    def takes(self, packet: Packet) -> bool:
        """Tell whether it takes a packet; what was not given of the packet matches nothing that asks for it."""
        # ICMP of the other family is in no rule of this one; what asks for neither family is one rule for both.
        foreign = ICMPV6 if packet.version == 4 else ICMP
        return (
            (not self.lan or packet.iif in self.lan)
            and (not self.protocol or packet.protocol in self.protocol)
            and not (self.protocol == (foreign,) and (self.src or self.dst or self.dscp))
            and _among(packet.source, self.src)
            and _among(packet.destination, self.dst)
            and _within(packet.sport, self.sports)
            and _within(packet.dport, self.dports)
            and (not self.dscp or packet.dscp in self.dscp)
        )


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """One class: its name, which is its instance's id too, its TUN, its mark, and what it takes."""

    name: str
    tun: str
    mark: int
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class ClassLink:
    """The classes of one WAN, in the order in which they are asked, and the LANs that they are for."""

    name: str
    lans: tuple[tuple[str, tuple[IPNetwork, ...]], ...]
    classes: tuple[ClassPlan, ...]
    default: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The class that the plan gives to a packet; `index` is that of the match, None for the default class."""

    link: ClassLink
    lan: tuple[str, IPNetwork]
    chosen: ClassPlan
    index: int | None

    @property
    def match(self) -> str:
        """Name the match as the inventory has it."""
        return f"{self.chosen.name} default" if self.index is None else f"{self.chosen.name}.match[{self.index}]"


@dataclass(frozen=True, slots=True)
class Classes:
    """All class links of a host."""

    links: tuple[ClassLink, ...] = ()
    by_mark: dict[int, ClassPlan] = field(default_factory=dict)

    def choose(self, packet: Packet) -> Chosen | None:
        """Return what the plan gives to a packet, None when it is for no class."""
        for link in self.links:
            lan = next(((name, p) for name, prefixes in link.lans for p in prefixes if _in(packet, name, p)), None)
            if lan is None:
                continue
            hits = ((one, i) for one in link.classes for i, match in enumerate(one.matches) if match.takes(packet))
            default = next((one for one in link.classes if one.name == link.default), None)
            found = next(hits, None) or (default, None)
            if found[0] is not None:
                return Chosen(link, lan, found[0], found[1])
        return None

    def marked(self, mark: int) -> ClassPlan | None:
        """Return the class that a mark names."""
        return self.by_mark.get(mark & MARK_MASK)


def load(path: Path) -> Classes:
    """Read the classes of this host; a host without the file has none.

    Raises:
        ConfigError: the file cannot be read as what the plan writes.

    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Classes()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no YAML: {str(error).splitlines()[0]}") from error
    try:
        links = tuple(_link(raw) for raw in (document or {}).get("links") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{path}: found {what}, expected the classes as the play writes them") from error
    return Classes(links, {one.mark & MARK_MASK: one for link in links for one in link.classes})


def _link(raw: dict[str, Any]) -> ClassLink:
    lans = tuple(
        (lan["interface"], tuple(ip_network(text) for key in ("cidrs4", "cidrs6") for text in lan.get(key) or ()))
        for lan in raw["lans"]
    )
    classes = tuple(
        ClassPlan(one["name"], one["tun"], int(one["mark"]), tuple(map(_match, one.get("matches") or ())))
        for one in raw["classes"]
    )
    return ClassLink(raw["name"], lans, classes, raw["default"])


def _match(raw: dict[str, Any]) -> Match:
    return Match(
        lan=tuple(raw.get("lan") or ()),
        protocol=_numbers(raw.get("protocol"), protocol_number, "protocol"),
        src=tuple(map(ip_network, raw.get("src") or ())),
        dst=tuple(map(ip_network, raw.get("dst") or ())),
        sports=tuple(map(_ports, raw.get("sports") or ())),
        dports=tuple(map(_ports, raw.get("dports") or ())),
        dscp=_numbers(raw.get("dscp"), dscp_number, "dscp"),
    )


def _numbers(raw: Iterable[str | int] | None, read: Any, what: str) -> tuple[int, ...]:
    found = []
    for text in raw or ():
        number = read(text)
        if number is None:
            raise ValueError(f"{what} {text}")
        found.append(number)
    return tuple(found)


def _ports(raw: str | int) -> tuple[int, int]:
    first, _dash, last = str(raw).partition("-")
    return int(first), int(last or first)


def _in(packet: Packet, interface: str, prefix: IPNetwork) -> bool:
    return packet.iif == interface and packet.source in prefix


def _among(address: Address, prefixes: Sequence[IPNetwork]) -> bool:
    return not prefixes or any(address in prefix for prefix in prefixes)


def _within(port: int | None, ranges: Sequence[tuple[int, int]]) -> bool:
    return not ranges or (port is not None and any(first <= port <= last for first, last in ranges))
