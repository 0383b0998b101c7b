# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening a batch: what protected 1-RTT packets hold, as long as that is DATAGRAM frames and nothing else."""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag

from mpquic.core.wire import CID_LENGTH
from mpquic.quic import private

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.quic.connection import QuicConnection

    from mpquic.core.types import Address, Arrival
    from mpquic.quic.keyphase import KeyPhases
    from mpquic.quic.private import ReceiveKeys
    from mpquic.quic.window import ReceiveWindow

    #: Takes one datagram the general way, under keys of an earlier phase if given, and appends what it held.
    Slow = Callable[[bytes, Address, float, ReceiveKeys | None, list[bytes]], None]
    #: A buffer, and where in it a datagram begins and ends; the last one's end may be beyond the buffer's.
    _Slice = tuple[bytes, int, int]

#: First byte and connection id (RFC 9000 section 17.3).
_PREFIX = 1 + CID_LENGTH
#: Where the sample of header protection is (RFC 9001 section 5.4.2).
_SAMPLE = _PREFIX + 4
_SAMPLE_END = _SAMPLE + 16
_ADDRESS = itemgetter(2)
#: Header form 0, fixed bit 1.
_FORM_MASK, _FORM = 0xC0, 0x40
#: Reserved bits, which must be zero, and the key phase.
_BITS = 0x1C
_SPIN = 0x20
#: DATAGRAM frames without and with a length (RFC 9221 section 4).
_DATAGRAM, _DATAGRAM_WITH_LENGTH = b"\x30", b"\x31"
#: For each length of a packet number: bytes of the header, where the first byte's mask goes, where the number's mask
#: comes from, the bits of the number.
_LAYOUT = tuple((_PREFIX + n, 8 * (_PREFIX + n - 1), 56 - 8 * n, (1 << 8 * n) - 1) for n in range(1, 5))


class Opener:
    """Opens packets of one connection and keeps aioquic's books on them."""

    __slots__ = ("_connection", "_phases", "_slow", "_window")

    def __init__(self, connection: QuicConnection, phases: KeyPhases, window: ReceiveWindow, slow: Slow) -> None:
        """Leave to ``slow`` whatever is not a confirmed connection's DATAGRAM frames."""
        self._connection = connection
        self._phases = phases
        self._window = window
        self._slow = slow

    def open(self, arrivals: Sequence[Arrival], now: float, payloads: list[bytes]) -> None:
        """Append the DATAGRAM payloads of what arrived, in order."""
        connection = self._connection
        for address, group in groupby(arrivals, _ADDRESS):
            datagrams = [(data, at, at + size) for data, size, _address in group for at in range(0, len(data), size)]
            masks = self._masks(datagrams) if private.may_open(connection) else ()
            done = 0
            while done < len(datagrams):
                if private.may_open(connection) and address == private.active_address(connection):
                    done = self._open_run(datagrams, masks, done, now, payloads)
                    if done == len(datagrams):
                        break
                data, at, end = datagrams[done]
                self._general(data[at:end], address, now, payloads)
                done += 1

    def _masks(self, datagrams: Sequence[_Slice]) -> tuple[int, ...]:
        """Return the beginnings of the header protection masks. What is too short for a sample gets any."""
        samples = [data[at + _SAMPLE : at + _SAMPLE_END] for data, at, _end in datagrams]
        if sum(map(len, samples)) < 16 * len(samples):
            samples = [sample.ljust(16, b"\0") for sample in samples]
        return _words(private.receive_masks(self._connection, samples))

    def _open_run(
        self, datagrams: Sequence[_Slice], masks: Sequence[int], start: int, now: float, payloads: list[bytes]
    ) -> int:
        """Open datagrams from number ``start`` on until one must go the general way; return the number of that."""
        connection, phases = self._connection, self._phases
        phases.refresh(now)
        decrypt, iv, phase = phases.current.decrypt, phases.current.iv, phases.current.phase << 2
        cids = private.own_cids(connection)
        books = _Books(connection, self._window)
        done = len(datagrams)
        for at_number, ((data, at, end), mask) in enumerate(
            zip(islice(datagrams, start, None), islice(masks, start, None), strict=True), start
        ):
            if data[at] & _FORM_MASK != _FORM or not data.startswith(cids, at + 1):
                done = at_number
                break
            length, first_at, number_at, ones = _LAYOUT[(data[at] ^ mask >> 56) & 3]
            body = at + length
            header = int.from_bytes(data[at:body], "big") ^ (mask >> 56 & 0x1F) << first_at ^ mask >> number_at & ones
            first = header >> first_at
            if first & _BITS != phase:
                done = at_number
                break
            number = header & ones
            number = books.expected if number == books.expected & ones else _decode(number, ones + 1, books.expected)
            try:
                plain = decrypt((iv ^ number).to_bytes(12, "big"), data[body:end], header.to_bytes(length, "big"))
            except InvalidTag:
                continue
            if number < books.expected and books.seen(number):
                continue
            if plain[:1] == _DATAGRAM:
                payloads.append(plain[1:])
            elif (several := _frames(plain)) is not None:
                payloads += several
            else:
                done = at_number
                break
            books.note(number, first)
            if phases.changing:
                phases.received(number, now)
        books.close(now)
        return done

    def _general(self, data: bytes, address: Address, now: float, payloads: list[bytes]) -> None:
        """Let aioquic receive one datagram, under the keys it was sent with."""
        phases = self._phases
        number, phase = self._peek(data)
        old = phases.old(number) if number >= 0 and phase != phases.current.phase else None
        self._slow(data, address, now, old, payloads)
        phases.refresh(now)
        # Only what is authentic gets into the window.
        if number >= 0 and phase == phases.current.phase and number in self._window:
            phases.received(number, now)

    def _peek(self, data: bytes) -> tuple[int, int]:
        """Return the packet number and key phase that a 1-RTT packet claims, a number below zero for other packets."""
        connection = self._connection
        if len(data) < _SAMPLE_END or data[0] & _FORM_MASK != _FORM or not private.may_open(connection):
            return -1, 0
        mask = _words(private.receive_masks(connection, [data[_SAMPLE:_SAMPLE_END]]))[0]
        length, _first_at, number_at, ones = _LAYOUT[(data[0] ^ mask >> 56) & 3]
        truncated = (int.from_bytes(data[_PREFIX:length], "big") ^ mask >> number_at) & ones
        expected = private.packet_space(connection).expected_packet_number
        return _decode(truncated, ones + 1, expected), (data[0] ^ mask >> 56) >> 2 & 1


class _Books:
    """Packet numbers of one run: into the acknowledgements and the window in ranges, not one by one."""

    __slots__ = ("_connection", "_first", "_largest", "_start", "_stop", "_window", "expected")

    def __init__(self, connection: QuicConnection, window: ReceiveWindow) -> None:
        self._connection = connection
        self._window = window
        self._start = self._stop = -1
        self._largest = -1
        self._first = 0
        #: One more than the largest packet number received. aioquic's own expected_packet_number stays behind when that
        #: very packet comes, and its duplicate would count as new.
        self.expected = private.packet_space(connection).largest_received_packet + 1

    def seen(self, number: int) -> bool:
        return self._start <= number < self._stop or number in self._window

    def note(self, number: int, first: int) -> None:
        if number == self._stop:
            self._stop += 1
        else:
            self._enter()
            self._start, self._stop = number, number + 1
        if number >= self.expected:
            self.expected = number + 1
            self._largest, self._first = number, first

    def _enter(self) -> None:
        if self._start >= 0:
            self._window.add_range(self._start, self._stop)
            private.packet_space(self._connection).ack_queue.add(self._start, self._stop)

    def close(self, now: float) -> None:
        if self._start >= 0:
            self._enter()
            private.note_opened(self._connection, self._largest, spin=bool(self._first & _SPIN), now=now)


def _decode(truncated: int, window: int, expected: int) -> int:
    """Return the packet number that is nearest to ``expected`` (RFC 9000 section A.3)."""
    number = expected & -window | truncated
    if number <= expected - window // 2 and number < (1 << 62) - window:
        return number + window
    if number > expected + window // 2 and number >= window:
        return number - window
    return number


def _frames(plain: bytes) -> list[bytes] | None:
    """Return the payloads of a packet of DATAGRAM frames, None when it holds anything else or is malformed."""
    payloads = []
    at, end = 0, len(plain)
    while at < end:
        kind = plain[at : at + 1]
        if kind == _DATAGRAM:
            payloads.append(plain[at + 1 :])
            return payloads
        if kind != _DATAGRAM_WITH_LENGTH or at + 1 >= end:
            return None
        octets = 1 << (plain[at + 1] >> 6)
        start = at + 1 + octets
        length = int.from_bytes(plain[at + 1 : start], "big") & ((1 << 8 * octets - 2) - 1)
        at = start + length
        if at > end:
            return None
        payloads.append(plain[start:at])
    return payloads or None


def _words(masks: bytes) -> tuple[int, ...]:
    """Return the first eight bytes of each mask."""
    return _layout(len(masks) // 16).unpack(masks)


@lru_cache(maxsize=512)
def _layout(count: int) -> struct.Struct:
    return struct.Struct(">" + "Q8x" * count)
