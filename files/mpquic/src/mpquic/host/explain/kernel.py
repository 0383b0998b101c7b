# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel itself answers for one packet: its route (rtnetlink(7)), its flow, the tc classes of a device.

The route is asked for without a library: pyroute2 knows no RTA_IP_PROTO, RTA_SPORT and RTA_DPORT.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from mpquic.host.errors import HostError
from mpquic.host.explain.interpreter import ESTABLISHED, NEW
from mpquic.host.explain.packet import ICMP, ICMPV6, TCP, UDP, WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.host.explain.packet import Address, Packet

# linux/netlink.h, linux/rtnetlink.h
_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_REQUEST = 0x1
_ERROR = 2
_NEWROUTE, _GETROUTE = 24, 26
_LOOKUP_TABLE = 0x1000
_DST, _SRC, _IIF, _OIF, _GATEWAY, _TABLE, _MARK, _VIA = 1, 2, 3, 4, 5, 15, 16, 18
_IP_PROTO, _SPORT, _DPORT = 27, 28, 29
_KINDS = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
_REFUSALS = {
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.EINVAL: "blackhole",
    errno.EXDEV: "unreachable",
}
_SEEN_REPLY = 2
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The kernel's route: `kind` as ip-route(8) has it; what it refuses for another reason is ``unreachable``, too."""

    kind: str
    device: str | None = None
    gateway: str | None = None
    table: int | None = None

    def __str__(self) -> str:
        """Return it in the words of ``ip route get``."""
        words = [] if self.kind == "unicast" else [self.kind]
        words += ["via", self.gateway] if self.gateway else []
        words += ["dev", self.device] if self.device else []
        words += ["table", str(self.table)] if self.table is not None else []
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow that the kernel tracks, seen from the packet: state and direction as `interpreter.Walk` has them.

    `destination` is what its packets of this direction get, which differs from theirs where addresses are translated.
    """

    mark: int
    state: int
    direction: int
    destination: Address


def route(packet: Packet, mark: int) -> Answer:
    """Ask the kernel which way a packet that carries a mark would take.

    Raises:
        HostError: the kernel did not answer the question.

    """
    attributes = [(_SRC, packet.source.packed)]
    if packet.iif is not None:
        attributes.append((_IIF, struct.pack("=I", _index(packet.iif))))
    if mark:
        attributes.append((_MARK, struct.pack("=I", mark)))
    # The kernel takes these protocols only (inet_rtm_valid_getroute_req, rtm_getroute_parse_ip_proto).
    if packet.protocol in {TCP, UDP, ICMP if packet.version == 4 else ICMPV6}:
        attributes.append((_IP_PROTO, struct.pack("=B", packet.protocol)))
        if packet.protocol in WITH_PORTS:
            ports = ((_SPORT, packet.sport), (_DPORT, packet.dport))
            attributes += [(kind, struct.pack("!H", port)) for kind, port in ports if port]
    return _lookup(packet.destination, attributes, packet.dscp)


def way_to(destination: Address) -> Answer:
    """Ask the kernel which way this host would send to an address.

    Raises:
        HostError: the kernel did not answer the question.

    """
    return _lookup(destination, [], 0)


def _lookup(destination: Address, attributes: list[tuple[int, bytes]], dscp: int) -> Answer:
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    bits = destination.max_prefixlen
    source_bits = bits if any(kind == _SRC for kind, _value in attributes) else 0
    body = _RTMSG.pack(family, bits, source_bits, dscp << 2, 0, 0, 0, 0, _LOOKUP_TABLE)
    body += b"".join(_attribute(kind, value) for kind, value in [(_DST, destination.packed), *attributes])
    kind, reply = _ask(body)
    if kind == _ERROR:
        code = -struct.unpack_from("=i", reply)[0]
        if code not in _REFUSALS:
            raise HostError(f"the kernel refused to look up the route: {os.strerror(code)}")
        return Answer(_REFUSALS[code])
    return _answer(reply)


def _answer(reply: bytes) -> Answer:
    table, kind = reply[4], reply[7]
    found = dict(_attributes(reply[_RTMSG.size :]))
    index = struct.unpack("=I", found[_OIF])[0] if _OIF in found else None
    gateway = found.get(_GATEWAY)
    if gateway is None and _VIA in found:
        gateway = found[_VIA][2:]
    return Answer(
        _KINDS.get(kind, "unreachable" if kind == 7 else str(kind)),
        _name(index) if index else None,
        str(ip_address(gateway)) if gateway else None,
        struct.unpack("=I", found[_TABLE])[0] if _TABLE in found else table,
    )


def _ask(body: bytes) -> tuple[int, bytes]:
    """Send one RTM_GETROUTE; return the type of the answer and what it holds."""
    request = _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(_TIMEOUT)
            sock.bind((0, 0))
            sock.send(request)
            answer = sock.recv(65536)
    except OSError as error:
        raise HostError(f"the kernel did not look up the route: {error.strerror or error}") from error
    kind: int = _HEADER.unpack_from(answer)[1]
    if kind not in {_ERROR, _NEWROUTE}:
        raise HostError(f"the kernel answered the question for a route with a message of type {kind}")
    return kind, answer[_HEADER.size :]


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[length + (-length % 4) :]


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise HostError(f"interface {name} does not exist") from error


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"#{index}"


def flow(packet: Packet) -> Flow | None:
    """Return the flow that a packet belongs to, None when the kernel tracks none.

    Raises:
        HostError: the kernel does not say which flows it tracks.

    """
    family = socket.AF_INET if packet.version == 4 else socket.AF_INET6
    wanted = NFCTAttrTuple(
        family=family,
        saddr=str(packet.source),
        daddr=str(packet.destination),
        proto=packet.protocol,
        sport=packet.sport,
        dport=packet.dport,
    )
    try:
        with NFCTSocket(nfgen_family=family) as conntrack:
            entries = list(conntrack.entry("get", tuple_orig=wanted))
    except NetlinkError as error:
        if error.code == errno.ENOENT:
            return None
        raise HostError(f"the kernel does not tell of its flows: {os.strerror(error.code)}") from error
    except OSError as error:
        raise HostError(f"the kernel does not tell of its flows: {error.strerror or error}") from error
    entry = next((entry for entry in entries if entry.get("CTA_TUPLE_ORIG")), None)
    if entry is None:
        return None
    original = NFCTAttrTuple.from_netlink(family, entry.get("CTA_TUPLE_ORIG"))
    first = (original.saddr, original.daddr, original.sport, original.dport)
    direction = int(first != (str(packet.source), str(packet.destination), packet.sport, packet.dport))
    answered = bool((entry.get("CTA_STATUS") or 0) & _SEEN_REPLY)
    reply = NFCTAttrTuple.from_netlink(family, entry.get("CTA_TUPLE_REPLY"))
    return Flow(
        entry.get("CTA_MARK") or 0,
        ESTABLISHED if direction or answered else NEW,
        direction,
        ip_address(original.saddr if direction else reply.saddr),
    )


def tc_classes(device: str) -> set[int]:
    """Return the handles of the tc classes of a device; major and minor have 16 bits each.

    Raises:
        HostError: the kernel refuses.

    """
    try:
        with IPRoute() as ipr:
            return {message["handle"] for message in ipr.get_classes(index=_index(device))}
    except NetlinkError as error:
        raise HostError(f"the kernel refused: {os.strerror(error.code)}") from error
