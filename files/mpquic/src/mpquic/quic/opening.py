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
ADDRESS = itemgetter(2)
#: Header form 0 and fixed bit 1; with them the reserved bits, which must be zero, and the key phase.
_FORM_MASK, FORM, _SHAPE = 0xC0, 0x40, 0xDC
SPIN = 0x20
#: DATAGRAM frames without and with a length (RFC 9221 section 4).
_DATAGRAM, _DATAGRAM_WITH_LENGTH = b"\x30", b"\x31"
#: For each length of a packet number: bytes of the header, where the first byte's mask goes, where the number's mask
#: comes from, the bits of the number.
_LAYOUT = tuple((_PREFIX + n, 8 * (_PREFIX + n - 1), 56 - 8 * n, (1 << 8 * n) - 1) for n in range(1, 5))
#: The same for the three bytes that our own end uses, tried first.
_LIKELY, _LIKELY_FIRST = _LAYOUT[2][:2]
_NOTHING = -1


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
        for address, group in groupby(arrivals, ADDRESS):
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

    def _open_run(  # noqa: C901, PLR0912 - the hot loop; a call per packet would cost as much as the rest of it
        self, datagrams: Sequence[_Slice], masks: Sequence[int], start: int, now: float, payloads: list[bytes]
    ) -> int:
        """Open datagrams from number ``start`` on until one must go the general way; return the number of that."""
        connection, window, phases = self._connection, self._window, self._phases
        phases.refresh(now)
        changing, keys = phases.changing, phases.current
        decrypt, iv, phase = keys.decrypt, keys.iv, FORM | keys.phase << 2
        cids = private.own_cids(connection)
        # Received in this run and not entered yet: the numbers from ``run`` up to ``expected``, which is one more than
        # the largest so far. aioquic's own expected_packet_number stays behind when that very packet comes.
        run = expected = private.packet_space(connection).largest_received_packet + 1
        newest, before = -1, len(payloads)
        # The header of the packet that usually comes next.
        likely = _NOTHING
        done = len(datagrams)
        for position, ((data, at, end), mask) in enumerate(
            zip(islice(datagrams, start, None), islice(masks, start, None), strict=True), start
        ):
            body = at + _LIKELY
            header = int.from_bytes(data[at:body], "big") ^ (mask >> 56 & 0x1F) << _LIKELY_FIRST ^ mask >> 32 & 0xFFFFFF
            if header == likely:
                length, number, first = _LIKELY, expected, newest
            else:
                header, length, number = _unprotect(data, at, mask, expected)
                first = header >> 8 * (length - 1)
                if (
                    first & _SHAPE != phase
                    or not data.startswith(cids, at + 1)
                    or min(end, len(data)) < at + _SAMPLE_END
                ):
                    done = position
                    break
                body = at + length
            try:
                plain = decrypt((iv ^ number).to_bytes(12, "big"), data[body:end], header.to_bytes(length, "big"))
            except InvalidTag:
                continue
            if number < expected and (number >= run or number in window):
                continue
            if plain[:1] == _DATAGRAM:
                payloads.append(plain[1:])
            elif (several := _frames(plain)) is not None:
                payloads += several
            else:
                done = position
                break
            if number < expected:
                self._enter(number, number + 1)
            else:
                if number > expected:
                    self._enter(run, expected)
                    run = number
                expected, newest = number + 1, first
                likely = header + 1 if length == _LIKELY and expected & 0xFFFFFF else _NOTHING
            if changing:
                phases.received(number, now)
        self._enter(run, expected)
        if len(payloads) > before:
            private.note_opened(connection, expected - 1, spin=bool(newest & SPIN), now=now)
        return done

    def _enter(self, start: int, stop: int) -> None:
        """Note packets from number ``start`` up to and without ``stop``."""
        if start < stop:
            self._window.add_range(start, stop)
            private.packet_space(self._connection).ack_queue.add(start, stop)

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
        if len(data) < _SAMPLE_END or data[0] & _FORM_MASK != FORM or not private.may_open(connection):
            return -1, 0
        mask = _words(private.receive_masks(connection, [data[_SAMPLE:_SAMPLE_END]]))[0]
        expected = private.packet_space(connection).largest_received_packet + 1
        header, length, number = _unprotect(data, 0, mask, expected)
        return number, header >> 8 * (length - 1) >> 2 & 1


def _unprotect(data: bytes, at: int, mask: int, expected: int) -> tuple[int, int, int]:
    """Return the header without its protection as an integer, its length (bytes), and the packet number."""
    length, first_at, number_at, ones = _LAYOUT[(data[at] ^ mask >> 56) & 3]
    header = int.from_bytes(data[at : at + length], "big")
    header ^= (mask >> 56 & 0x1F) << first_at ^ mask >> number_at & ones
    return header, length, _decode(header & ones, ones + 1, expected)


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
