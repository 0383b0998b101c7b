# SPDX-License-Identifier: GPL-3.0-or-later
"""Classifiers that no packet ever gets to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.config.dataplane import WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpquic.config.dataplane import Classifier
    from mpquic.config.prefixes import IPNetwork

    Ports = Sequence[tuple[int, int]]


def never(rules: Sequence[Classifier]) -> Iterator[tuple[int, str]]:
    """Yield (index, reason) for every rule that no packet can match, as far as one rule or two tell.

    That several earlier rules take everything together is not looked for.
    """
    for index, rule in enumerate(rules):
        why = _contradiction(rule)
        if why:
            yield index, why
            continue
        for earlier, other in enumerate(rules[:index]):
            if _covers(other, rule):
                yield index, f"classifiers[{earlier}]{_named(other)} takes all of it first"
                break


def _named(rule: Classifier) -> str:
    return f" ({rule.name})" if rule.name else ""


def _contradiction(rule: Classifier) -> str:
    if (rule.src_ports or rule.dst_ports) and rule.protocol and not WITH_PORTS.intersection(rule.protocol):
        return "no protocol of it has ports"
    families = [{prefix.version for prefix in prefixes} for prefixes in (rule.src_cidrs, rule.dst_cidrs) if prefixes]
    if len(families) == 2 and not families[0] & families[1]:
        return "src_cidrs and dst_cidrs have no IP version in common"
    return ""


def _covers(outer: Classifier, inner: Classifier) -> bool:
    """Tell whether ``outer`` matches every packet that ``inner`` does."""
    return (
        _has_values(outer.protocol, inner.protocol)
        and _has_values(outer.dscp, inner.dscp)
        and _has_ports(outer.src_ports, inner.src_ports)
        and _has_ports(outer.dst_ports, inner.dst_ports)
        and _has_prefixes(outer.src_cidrs, inner.src_cidrs)
        and _has_prefixes(outer.dst_cidrs, inner.dst_cidrs)
    )


def _has_values(outer: Sequence[int], inner: Sequence[int]) -> bool:
    return not outer or (bool(inner) and set(inner) <= set(outer))


def _has_ports(outer: Ports, inner: Ports) -> bool:
    if not outer:
        return True
    merged = _merged(outer)
    return bool(inner) and all(any(low <= first and last <= high for low, high in merged) for first, last in inner)


def _merged(ranges: Ports) -> list[tuple[int, int]]:
    """Return ranges in order, those that touch made one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found


def _has_prefixes(outer: Sequence[IPNetwork], inner: Sequence[IPNetwork]) -> bool:
    if not outer:
        return True
    return bool(inner) and all(any(_within(prefix, other) for other in outer) for prefix in inner)


def _within(prefix: IPNetwork, other: IPNetwork) -> bool:
    if prefix.version != other.version or prefix.prefixlen < other.prefixlen:
        return False
    shift = prefix.max_prefixlen - other.prefixlen
    return int(prefix.network_address) >> shift == int(other.network_address) >> shift
