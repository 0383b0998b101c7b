# SPDX-License-Identifier: GPL-3.0-or-later
"""From the fields of a packet to its class: rules in order, compiled once. Asked once per flow.

Which rules can match at all is remembered per protocol and DSCP; what is left of each are tests of addresses and ports.
A packet without visible ports (another protocol, or a fragment) is matched by no rule that names ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpquic.core.multipath.fields import Fields
    from mpquic.core.multipath.policy import Policy, Ports
    from mpquic.core.types import Network

#: For each length of addresses (bytes) and number of host bits: the network parts.
_Networks = dict[int, list[tuple[int, frozenset[int]]]]
#: No port.
_NONE = -1


class _Test(NamedTuple):
    """One rule without protocol and DSCP; what is empty matches everything."""

    target: int
    sources: _Networks
    destinations: _Networks
    source_ports: tuple[Ports, ...]
    destination_ports: tuple[Ports, ...]


class Classifier:
    """Knows the rules of one policy."""

    def __init__(self, policy: Policy, *, turned: bool) -> None:
        """Compile them. ``turned``: sources are the destinations of what this end sends, and the reverse."""
        self._default = policy.default
        self._rules = policy.rules
        self._tests: list[_Test] = []
        for rule in policy.rules:
            near, far = _networks(rule.sources), _networks(rule.destinations)
            ports = rule.source_ports, rule.destination_ports
            self._tests.append(
                _Test(rule.target, far, near, *ports[::-1]) if turned else _Test(rule.target, near, far, *ports)
            )
        #: By protocol and DSCP; at most 256 times 64.
        self._by_octets: dict[tuple[int, int], Sequence[_Test]] = {}

    def classify(self, packet: Fields) -> int:  # noqa: C901 - two loops written out: most of what a new flow costs
        """Return the index of the class of a packet that this end sends."""
        dscp, protocol, source, destination, ports = packet
        tests = self._by_octets.get((protocol, dscp))
        if tests is None:
            tests = self._by_octets[protocol, dscp] = self._possible(protocol, dscp)
        if not tests:
            return self._default
        size, near, far = len(source), int.from_bytes(source, "big"), int.from_bytes(destination, "big")
        both = int.from_bytes(ports, "big")
        from_port, to_port = (both >> 16, both & 0xFFFF) if ports else (_NONE, _NONE)
        for target, sources, destinations, source_ports, destination_ports in tests:
            if destination_ports:
                for low, high in destination_ports:
                    if low <= to_port <= high:
                        break
                else:
                    continue
            if source_ports:
                for low, high in source_ports:
                    if low <= from_port <= high:
                        break
                else:
                    continue
            if (destinations and not _inside(destinations, size, far)) or (
                sources and not _inside(sources, size, near)
            ):
                continue
            return target
        return self._default

    def _possible(self, protocol: int, dscp: int) -> list[_Test]:
        """Return the tests of the rules that such packets may match, up to the first that they must."""
        found = []
        for rule, test in zip(self._rules, self._tests, strict=True):
            if (not rule.protocols or protocol in rule.protocols) and (not rule.dscps or dscp in rule.dscps):
                found.append(test)
                if not any(test[1:]):
                    break
        return found


def _inside(networks: _Networks, size: int, address: int) -> bool:
    for shift, parts in networks.get(size, ()):  # noqa: SIM110 - a generator costs more than the test
        if address >> shift in parts:
            return True
    return False


def _networks(prefixes: Iterable[Network]) -> _Networks:
    """Return prefixes in the form that _inside() asks, empty for none."""
    found: dict[int, dict[int, set[int]]] = {}
    for prefix in prefixes:
        shift = prefix.max_prefixlen - prefix.prefixlen
        parts = found.setdefault(prefix.max_prefixlen // 8, {}).setdefault(shift, set())
        parts.add(int(prefix.network_address) >> shift)
    return {size: [(shift, frozenset(parts)) for shift, parts in by_shift.items()] for size, by_shift in found.items()}
