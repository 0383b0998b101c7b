# SPDX-License-Identifier: GPL-3.0-or-later
"""From payloads to writes for a TUN device with offload: segments of one flow become one packet of up to 64 kB.

Like the kernel's receive offload, and stricter: what is cut again gives the same segments, byte for byte. Only payloads
of CONTEXT_PARTIAL are merged, whose checksum the sender vouches for; TCP with no flag but ACK, and PSH on the last;
UDP. Headers must be equal but for what counts up: IPv4 ID, sequence number, and the lengths of the last segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import inner, wire
from mpquic.core.offload import checksum, vnet
from mpquic.core.offload.shape import ACK, PSH, TCP, UDP, Shape, locate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.gate import Gate
    from mpquic.core.types import Frame

#: Length of the largest packet (bytes): what the length field of an IPv4 header can say.
_MAX_PACKET = 65535
#: Segments in a packet: writev(2) takes 1024 buffers; the kernel's own limit for UDP is 64 (UDP_MAX_SEGMENTS).
_MAX_TCP = 1000
_MAX_UDP = 64
#: A vnet header that says nothing, but for its last byte: that is the context id of the payload which follows, 0.
_NOTHING = bytes(vnet.SIZE - wire.OVERHEAD)
_NEVER = -1
_BARE = bytes([wire.CONTEXT_IP])
_PARTIAL = bytes([wire.CONTEXT_PARTIAL])
_FRAGMENT = 0x3F
#: IPv6 extension headers (RFC 8200 section 4): hop-by-hop, routing, fragment, authentication, destination, mobility.
_EXTENSIONS = {0, 43, 44, 51, 60, 135}


class _Run:
    """Consecutive segments of one flow. The first one's frame is on the list of writes already, and grows there."""

    __slots__ = (
        "body",
        "delta",
        "expected",
        "first",
        "flags",
        "frame",
        "full",
        "head",
        "most",
        "room",
        "shape",
        "size",
    )

    def __init__(self, payload: bytes, shape: Shape, frame: list[bytes]) -> None:
        """Begin with a lone segment, which is written as ``frame``."""
        self.first = payload
        self.shape = shape
        self.frame = frame
        #: Sizes of a payload: its head, its body, and both (bytes).
        self.size = shape.head
        self.full = len(payload)
        self.body = self.full - self.size
        #: The head of the first segment, empty until there is a second.
        self.head = b""
        self.flags = ACK
        #: The head of the next segment as an integer, and how many more are found by adding ``delta`` to it.
        self.expected = _NEVER
        self.delta = 0
        self.room = 0
        #: How many segments there may be.
        self.most = 0

    def may_take(self, payload: bytes) -> bool:
        """Tell at small cost whether it is worth to look closer: many datagrams do not count their packets."""
        if not self.size < len(payload) <= self.full:
            return False
        if not self.shape.ipv4:
            return True
        first = self.first
        ident = (first[5] << 8 | first[6]) + len(self.frame) - 1
        return (payload[5] << 8 | payload[6]) == ident

    def open(self) -> bool:
        """Prepare for a second segment; tell whether there may be one."""
        shape, body = self.shape, self.body
        head = self.first[: self.size]
        # Wrong checksums are not made right by merging: such a packet stands alone, and the kernel judges.
        at = 1 + shape.transport + shape.checksum
        if int.from_bytes(head[at : at + 2]) != shape.pseudo(head, body):
            return False
        if shape.ipv4 and not checksum.right(head[1 : 1 + shape.transport], 10):
            return False
        self.head = head
        self.most = min((_MAX_PACKET - shape.end) // body, _MAX_TCP if shape.tcp else _MAX_UDP)
        self.delta = shape.once + shape.sequence * body
        self.room = min(self.most, shape.most(head, body)) - 1
        if self.room > 0:
            self.expected = int.from_bytes(head) + self.delta
        return True

    def add(self, payload: bytes) -> bool:
        """Take ``payload`` if it is the next segment; tell whether it was."""
        shape, frame, size = self.shape, self.frame, self.size
        body = len(payload) - size
        steps = len(frame) - 1
        if steps >= self.most:
            return False
        if body == self.body and int.from_bytes(payload[:size]) == self.expected:
            self.room -= 1
            self.expected = self.expected + self.delta if self.room else _NEVER
        else:
            # The last one: shorter, or with PSH set, or after a counter ran over.
            flags = payload[shape.transport + 14] if shape.tcp else ACK
            if flags | PSH != ACK | PSH:
                return False
            if payload[:size] != shape.derive(self.head, body - self.body, steps, steps * self.body, flags):
                return False
            self.flags = flags
            self.expected = _NEVER
        if steps == 1:
            frame[:] = b"", self.first[size:]
        frame.append(payload[size:])
        return True

    def seal(self) -> None:
        """Put the headers of all segments together before them."""
        shape, frame = self.shape, self.frame
        head = shape.derive(self.head, sum(map(len, frame)) - self.body, flags=self.flags)
        frame[0] = (
            vnet.HEADER.pack(vnet.NEEDS_CSUM, shape.gso_type, shape.end, self.body, shape.transport, shape.checksum)
            + head[1:]
        )


_NO_RUN = _Run(b"", Shape(TCP, 20, 40, ipv4=True), [])


class Merger:
    """Works on one batch of payloads."""

    def __init__(self, drops: Counter[str], gate: Gate, *, udp: bool) -> None:
        """Count what is refused, by its form or by ``gate``, in ``drops``; merge UDP only if the device takes that."""
        self.frames: list[Frame] = []
        #: IP packets and bytes that were accepted.
        self.packets = 0
        self.octets = 0
        self._drops = drops
        self._gate = gate
        self._udp = udp
        #: The runs that may still grow, by addresses and ports; and all that have grown.
        self._flows: dict[bytes, _Run] = {}
        self._grown: list[_Run] = []

    def merge(self, payloads: Sequence[bytes]) -> None:
        """Turn payloads into frames. Packets of one flow stay in order."""
        self.packets = len(payloads)
        self.octets = sum(map(len, payloads)) - wire.OVERHEAD * len(payloads)
        run = _NO_RUN
        size, full, expected, delta, room = run.size, run.full, run.expected, run.delta, run.room
        append = run.frame.append
        number = int.from_bytes
        for payload in payloads:
            if number(payload[:size]) == expected and len(payload) == full:
                append(payload[size:])
                room -= 1
                expected = expected + delta if room else _NEVER
                continue
            run.expected, run.room = expected, room
            run = self._other(payload) or run
            size, full, expected, delta, room = run.size, run.full, run.expected, run.delta, run.room
            append = run.frame.append
        for run in self._grown:
            run.seal()

    def _other(self, payload: bytes) -> _Run | None:
        """Take what does not continue the run at hand; return the run it continues, if any."""
        context = payload[:1]
        if context == _PARTIAL:
            return self._partial(payload)
        if context == _BARE:
            self._bare(payload)
            return None
        number, size = wire.varint(payload)
        if size and number in {wire.CONTEXT_IP, wire.CONTEXT_PARTIAL}:
            # The same integer in more bytes than it needs.
            self.octets -= size - wire.OVERHEAD
            return self._other(bytes([number]) + payload[size:])
        self._refuse(payload, "context" if size else "malformed")
        return None

    def _refuse(self, payload: bytes, reason: str) -> None:
        self._drops[reason] += 1
        self.packets -= 1
        self.octets -= len(payload) - wire.OVERHEAD

    def _bare(self, payload: bytes) -> None:
        fault = inner.fault(payload, wire.OVERHEAD) or self._gate.fault(payload, wire.OVERHEAD)
        if fault:
            self._refuse(payload, fault)
            return
        if self._flows:
            self._interrupt(payload)
        self.frames.append((_NOTHING, payload))

    def _partial(self, payload: bytes) -> _Run | None:
        flows = self._flows
        # Addresses and ports of TCP and UDP over IPv4 without options, and over IPv6. A wrong guess does no harm, since
        # the whole head is compared.
        run = flows.get(payload[13:25]) or flows.get(payload[9:45])
        if run is not None and int.from_bytes(payload[: run.size]) == run.expected and len(payload) == run.full:
            run.frame.append(payload[run.size :])
            run.room -= 1
            run.expected = run.expected + run.delta if run.room else _NEVER
            return run
        shape = locate(payload, wire.OVERHEAD)
        if shape is None:
            self._refuse(payload, "partial")
            return None
        key = _flow(payload, shape.transport, ipv4=shape.ipv4)
        run = flows.pop(key, None)
        if run is not None:
            first = not run.head
            if run.may_take(payload) and (run.head or run.open()) and run.add(payload):
                if first:
                    self._grown.append(run)
                if run.expected != _NEVER:
                    flows[key] = run
                return run
            run.expected = _NEVER
        else:
            # Whoever belongs to a run has its addresses.
            fault = self._gate.fault(payload, wire.OVERHEAD)
            if fault:
                self._refuse(payload, fault)
                return None
        frame = [shape.partial, payload[wire.OVERHEAD :]]
        self.frames.append(frame)
        if len(payload) > shape.head and (payload[shape.transport + 14] == ACK if shape.tcp else self._udp):
            flows[key] = _Run(payload, shape, frame)
        return None

    def _interrupt(self, payload: bytes) -> None:
        """End the run of the flow that a packet belongs to, so that nothing overtakes it."""
        ipv4 = payload[1] >> 4 == 4
        protocol = payload[10] if ipv4 else payload[7]
        if protocol in {TCP, UDP}:
            if not ipv4 or not (payload[7] & _FRAGMENT or payload[8]):
                run = self._flows.pop(_flow(payload, (payload[1] & 0x0F) * 4 if ipv4 else 40, ipv4=ipv4), None)
                if run is not None:
                    run.expected = _NEVER
                return
        elif ipv4 or protocol not in _EXTENSIONS:
            return
        # It may belong to any flow.
        for run in self._flows.values():
            run.expected = _NEVER
        self._flows.clear()


def _flow(payload: bytes, transport: int, *, ipv4: bool) -> bytes:
    """Return addresses and ports. TCP and UDP share them: at worst a run ends early."""
    at = wire.OVERHEAD + transport
    return (payload[13:21] if ipv4 else payload[9:41]) + payload[at : at + 4]
