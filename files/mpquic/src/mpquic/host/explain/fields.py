# SPDX-License-Identifier: GPL-3.0-or-later
"""The expressions of an nft rule: what a packet has where a rule looks."""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.host.explain import values
from mpquic.host.explain.packet import PROTOCOLS, TCP, WITH_PORTS
from mpquic.host.explain.values import Kind, NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpquic.host.explain.interpreter import Walk
    from mpquic.host.explain.values import Value

_SYN, _ACK = 2, 16
_NEW = 8
_IPV4, _IPV6 = 2, 10
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_BITWISE: dict[str, Callable[[int, int], int]] = {
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}


class AbsentError(Exception):
    """The packet has no such field: no comparison with it is true."""


class NotGivenError(Exception):
    """The packet has such a field, but its value was not given."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a packet where it stands in its walk."""

    walk: Walk

    def value(self, expression: Any) -> tuple[Kind, Value]:
        """Return the value of an expression.

        Raises:
            AbsentError: the packet has no such field.
            NotGivenError: what it is was not given.
            NotUnderstoodError: the expression means nothing here.

        """
        if not isinstance(expression, dict) or len(expression) != 1:
            raise NotUnderstoodError(f"{expression!r}")
        name, body = next(iter(expression.items()))
        if name == "meta":
            return self._meta(body.get("key"))
        if name == "payload" and "field" in body:
            return self._payload(body["protocol"], body["field"])
        if name == "ct" and body.keys() == {"key"}:
            return self._ct(body["key"])
        if name == "map":
            kind, value = self.value(body["key"])
            found = values.looked_up(kind, value, body["data"], self.walk.table.sets)
            if found is None:
                raise AbsentError
            return Kind.NUMBER, values.constant(Kind.NUMBER, found)
        if name in _BITWISE:
            return self._bitwise(_BITWISE[name], body)
        raise NotUnderstoodError(f"{name} {body!r}")

    def _meta(self, key: str | None) -> tuple[Kind, Value]:
        walk = self.walk
        packet = walk.packet
        if key == "l4proto":
            return Kind.PROTOCOL, self._protocol()
        known: dict[str | None, tuple[Kind, Value]] = {
            "iifname": (Kind.INTERFACE, packet.iif or ""),
            "iif": (Kind.INTERFACE, packet.iif or ""),
            "oifname": (Kind.INTERFACE, walk.oif or ""),
            "oif": (Kind.INTERFACE, walk.oif or ""),
            "mark": (Kind.NUMBER, walk.mark),
            "priority": (Kind.CLASSID, walk.classid or 0),
            "nfproto": (Kind.NFPROTO, _IPV4 if packet.version == 4 else _IPV6),
            "protocol": (Kind.ETHERTYPE, _ETHERTYPES[packet.version]),
        }
        if key not in known:
            raise NotUnderstoodError(f"meta {key}")
        return known[key]

    def _protocol(self) -> int:
        if self.walk.packet.protocol is None:
            raise NotGivenError("the protocol")
        return self.walk.packet.protocol

    def _ct(self, key: str) -> tuple[Kind, Value]:
        walk = self.walk
        known: dict[str, tuple[Kind, Value]] = {
            "mark": (Kind.NUMBER, walk.ct_mark),
            "state": (Kind.CT_STATE, walk.ct_state),
            "direction": (Kind.CT_DIRECTION, walk.direction),
        }
        if key not in known:
            raise NotUnderstoodError(f"ct {key}")
        return known[key]

    def _payload(self, header: str, name: str) -> tuple[Kind, Value]:
        if header in {"ip", "ip6"}:
            if self.walk.packet.version != (4 if header == "ip" else 6):
                raise AbsentError
            return self._network(header, name)
        if header == "th" or header in PROTOCOLS:
            protocol = self._protocol()
            if protocol not in WITH_PORTS if header == "th" else protocol != PROTOCOLS[header]:
                raise AbsentError
            return self._transport(header, name)
        raise NotUnderstoodError(f"{header} {name}")

    def _network(self, header: str, name: str) -> tuple[Kind, Value]:
        packet = self.walk.packet
        if name in {"saddr", "daddr"}:
            return Kind.ADDRESS, packet.source if name == "saddr" else packet.destination
        if name == "dscp":
            return Kind.DSCP, self.walk.dscp
        # Extension headers are not explained: the next header is the last one.
        if name in {"protocol", "nexthdr"}:
            return Kind.PROTOCOL, self._protocol()
        raise NotUnderstoodError(f"{header} {name}")

    def _transport(self, header: str, name: str) -> tuple[Kind, Value]:
        if name in {"sport", "dport"} and self._protocol() in WITH_PORTS:
            return Kind.PORT, self._port(name)
        if name == "flags" and self._protocol() == TCP:
            return Kind.TCP_FLAGS, _SYN if self.walk.ct_state == _NEW else _ACK
        if name == "type" and header.startswith("icmp"):
            raise NotGivenError("the ICMP type")
        raise NotUnderstoodError(f"{header} {name}")

    def _port(self, name: str) -> int:
        port = self.walk.packet.sport if name == "sport" else self.walk.packet.dport
        if port is None:
            raise NotGivenError(f"the {'source' if name == 'sport' else 'destination'} port")
        return port

    def _bitwise(self, function: Callable[[int, int], int], operands: list[Any]) -> tuple[Kind, Value]:
        kind, first = self.value(operands[0])
        rest = [self._operand(kind, raw) for raw in operands[1:]]
        if not isinstance(first, int) or not all(isinstance(number, int) for number in rest):
            raise NotUnderstoodError(f"{operands!r}")
        return kind, functools.reduce(function, rest, first) & 0xFFFFFFFF

    def _operand(self, kind: Kind, raw: Any) -> Any:
        # Flags joined by "|" are a constant.
        if isinstance(raw, dict) and not (kind in values.FLAGS and "|" in raw):
            return self.value(raw)[1]
        return values.constant(kind, raw)
