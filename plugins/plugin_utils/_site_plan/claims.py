# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Finds what two entries claim, by sorting and hashing: a site may have many hundreds of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import LanTunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems


@dataclass(frozen=True, eq=False)
class Claim:
    """One value of one entry; ``key`` and ``where`` are how messages call them.

    The prefix of a LAN is on an ``interface``; ``own``: it is of a class link that says it itself.
    """

    value: Any
    key: str
    where: str
    entry: object
    interface: str | None = None
    own: bool = False


def of_key(entries: Iterable[LanTunnel | ClassLink], key: str) -> list[Claim]:
    """Return what each entry has for a key."""
    return [Claim(getattr(entry, key), key, entry.where, entry) for entry in entries]


def of_tunnel(tunnel: LanTunnel) -> Iterator[Claim]:
    """Yield the networks of a tunnel that takes all of a LAN."""
    yield Claim(tunnel.tun_cidr, "tun_cidr", tunnel.where, tunnel)
    if tunnel.tun_cidr6 is not None:
        yield Claim(tunnel.tun_cidr6, "tun_cidr6", tunnel.where, tunnel)
    for network in tunnel.lan_cidrs:
        yield Claim(network, "lan_cidrs", tunnel.where, tunnel, tunnel.lan)


def of_link_tuns(link: ClassLink) -> Iterator[Claim]:
    """Yield the networks of the TUN devices of a class link."""
    yield Claim(link.network, "network", link.where, link)
    if link.network6 is not None:
        yield Claim(link.network6, "network6", link.where, link)


def of_link_lans(link: ClassLink) -> Iterator[Claim]:
    """Yield the prefixes of the LANs of a class link."""
    for lan in link.lans:
        for network in lan.cidrs:
            yield Claim(network, lan.key, link.where, link, lan.interface, lan.own)


def at(claim: Claim) -> str:
    """Return the place of a claim in messages."""
    return f"{claim.where}: {claim.key}"


def same_number(a: Claim, b: Claim) -> bool:
    """Whether two entries have one id: all that follows the number collides too, and one line says it."""
    return (
        a.entry is not b.entry
        and type(a.entry) is type(b.entry)
        and getattr(a.entry, "id", a) == getattr(b.entry, "id", b)
    )


def same(claims: Iterable[Claim], problems: Problems, quiet: Callable[[Claim, Claim], bool]) -> None:
    """Record every value that an earlier entry claims already, unless ``quiet`` says that this is told elsewhere."""
    first: dict[Hashable, Claim] = {}
    for claim in claims:
        other = first.setdefault(claim.value, claim)
        if other is not claim and not quiet(other, claim):
            problems.clash(at(claim), claim.value, f"already used by {other.where}")


def refuse_overlaps(claims: Sequence[Claim], problems: Problems, quiet: Callable[[Claim, Claim], bool]) -> None:
    """Record every network that overlaps one of an earlier claim, unless ``quiet`` says that this is told elsewhere."""
    for a, b in overlapping(claims, quiet):
        problems.clash(at(b), b.value, f"overlaps {a.key} {a.value} of {a.where}")


def overlapping(claims: Sequence[Claim], quiet: Callable[[Claim, Claim], bool]) -> Iterator[tuple[Claim, Claim]]:
    """Yield (earlier, later) for every network that lies in another one, or is the same, in the order of the later.

    Networks are equal, nested or apart, so that in their order each is compared with those around it only. Of these it
    is yielded with the innermost, unless ``quiet`` says that the two may be so, or that it is told elsewhere.
    """
    spans = [_span(claim.value) for claim in claims]
    found = []
    around: list[int] = []
    for index in sorted(range(len(claims)), key=lambda index: (spans[index][:2], -spans[index][2], index)):
        version, first, _last = spans[index]
        while around and not (spans[around[-1]][0] == version and first <= spans[around[-1]][2]):
            around.pop()
        other = next((o for o in reversed(around) if not quiet(*_in_order(claims, o, index))), None)
        if other is not None:
            found.append((max(other, index), min(other, index)))
        around.append(index)
    for later, earlier in sorted(found):
        yield claims[earlier], claims[later]


def _in_order(claims: Sequence[Claim], a: int, b: int) -> tuple[Claim, Claim]:
    return claims[min(a, b)], claims[max(a, b)]


def _span(network: IPNetwork) -> tuple[int, int, int]:
    return network.version, network.first, network.last
