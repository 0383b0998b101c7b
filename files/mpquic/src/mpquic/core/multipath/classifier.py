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
_ANY: _Networks = {}


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

    def classify(self, packet: Fields) -> int:
        """Return the index of the class of a packet that this end sends."""
        dscp, protocol, source, destination, ports = packet
        tests = self._by_octets.get((protocol, dscp))
        if tests is None:
            tests = self._by_octets[protocol, dscp] = self._possible(protocol, dscp)
        for target, sources, destinations, source_ports, destination_ports in tests:
            if (
                (not source_ports or _within(source_ports, ports[:2]))
                and (not destination_ports or _within(destination_ports, ports[2:]))
                and (not destinations or _inside(destinations, destination))
                and (not sources or _inside(sources, source))
            ):
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


def _within(ranges: Iterable[Ports], port: bytes) -> bool:
    if not port:
        return False
    number = port[0] << 8 | port[1]
    for low, high in ranges:  # noqa: SIM110 - a generator costs more than the test
        if low <= number <= high:
            return True
    return False


def _inside(networks: _Networks, address: bytes) -> bool:
    number = int.from_bytes(address, "big")
    for shift, parts in networks.get(len(address), ()):  # noqa: SIM110 - as above
        if number >> shift in parts:
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
