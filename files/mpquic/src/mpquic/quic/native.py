# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealing and opening by the native library. The books on packets are kept in Python, and are those of the reference.

What the library does not take, it leaves undone, and the reference does it.
"""

from __future__ import annotations

import ctypes
from array import array
from itertools import groupby
from typing import TYPE_CHECKING

from aioquic.tls import CipherSuite

from mpquic.native import library as native
from mpquic.native.buffers import Batch, Room
from mpquic.native.buffers import batch as batch_of
from mpquic.quic import private
from mpquic.quic.opening import ADDRESS, FORM, SPIN, Opener
from mpquic.quic.protection import Protection
from mpquic.quic.seal import FIRST, Sealer, overhead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.crypto import CryptoContext

    from mpquic.core.types import Arrival
    from mpquic.native import Library
    from mpquic.quic.keyphase import KeyPhases
    from mpquic.quic.opening import Slow
    from mpquic.quic.private import SendState
    from mpquic.quic.window import ReceiveWindow

_SUITES = {
    CipherSuite.AES_128_GCM_SHA256: native.AES_128_GCM,
    CipherSuite.AES_256_GCM_SHA384: native.AES_256_GCM,
    CipherSuite.CHACHA20_POLY1305_SHA256: native.CHACHA20_POLY1305,
}
#: Packets and payloads of one batch, at first.
_PACKETS = 256
#: More payloads than one packet of any usual link may hold.
_PAYLOADS = 4096
_OCTETS = 1 << 18


class Keys:
    """The present keys of one direction, in the library."""

    __slots__ = ("_aead", "_first", "_handle", "_library", "_sealing")

    def __init__(self, library: Library, *, sealing: bool) -> None:
        """Start without; the first that of() is asked for must be the first of the connection."""
        self._library = library
        self._sealing = sealing
        self._first: private.RawKeys | None = None
        #: What the handle stands for: aioquic makes a new object with each key update.
        self._aead: object | None = None
        self._handle: int | None = None

    def __del__(self) -> None:
        """Give the keys back."""
        self._library.key_free(self._handle)

    def of(self, context: CryptoContext) -> int | None:
        """Return the handle of these keys; None when the first ones were not seen."""
        if context.aead is not self._aead:
            self._library.key_free(self._handle)
            self._handle = None
            self._aead = context.aead
            if self._first is None:
                keys = self._first = private.raw_keys(context)
            else:
                keys = private.next_raw_keys(context, self._first)
            if keys is not None:
                suite = _SUITES[keys.suite]
                self._handle = self._library.key_new(suite, self._sealing, keys.key, keys.iv, keys.header)
        return self._handle


class NativeProtection(Protection):
    """See Protection."""

    def __init__(self, library: Library) -> None:
        """Use this library."""
        self.library = library
        self.sealed = Room(_PACKETS, _OCTETS)
        self.opened = Room(_PAYLOADS, _OCTETS)
        self.numbers = (ctypes.c_uint64 * _PACKETS)()
        self.counts = (ctypes.c_uint32 * _PACKETS)()
        self.result = native.Opened()

    def open(  # noqa: PLR0913, PLR0917 - all that the library asks for
        self, key: int, batch: Batch, start: int, cids: Sequence[bytes], phase: int, expected: int
    ) -> native.Opened | None:
        """Open packets from number ``start`` of a batch on; see mpquic.h. None when the library refuses."""
        out, result = self.opened, self.result
        out.fit(_PAYLOADS, batch.size)
        status = self.library.open(
            *(key, b"".join(cids), len(cids), phase, expected),
            *(*batch.arguments, start),
            *out.arguments,
            *(self.numbers, self.counts, _PACKETS, result),
        )
        return result if status >= 0 else None

    def sealer(self, connection: QuicConnection) -> Sealer:
        """Return what seals for a connection whose handshake is confirmed."""
        return NativeSealer(self, private.send_context(connection))

    def opener(self, connection: QuicConnection, phases: KeyPhases, window: ReceiveWindow, slow: Slow) -> Opener:
        """Return what opens for a connection whose handshake is confirmed."""
        return NativeOpener(self, connection, phases, window, slow)


class NativeSealer(Sealer):
    """See Sealer."""

    def __init__(self, protection: NativeProtection, context: CryptoContext) -> None:
        """Seal under the keys of ``context``, which are the connection's first, and those that follow."""
        self._library, self._room = protection.library, protection.sealed
        self._keys = Keys(protection.library, sealing=True)
        self._keys.of(context)

    def seal(self, payloads: Sequence[bytes], room: int, state: SendState) -> list[bytes]:
        """See Sealer."""
        sealed = self.native(payloads, room, state)
        return super().seal(payloads, room, state) if sealed is None else sealed

    def native(self, payloads: Sequence[bytes], room: int, state: SendState) -> list[bytes] | None:
        """Return what seal() does, None when the library cannot."""
        key = self._keys.of(state.context)
        if key is None:
            return None
        batch, out, cid = batch_of(payloads), self._room, state.cid
        out.fit(batch.count, batch.size + batch.count * (overhead(len(cid)) + 3))
        first = FIRST | state.spin << 5 | state.phase << 2
        number = state.packet_number
        count = self._library.seal(key, first, cid, len(cid), number, room, *batch.arguments, *out.arguments)
        return out.items(count) if count >= 0 else None


class NativeOpener(Opener):
    """See Opener."""

    __slots__ = ("_keys", "_protection")

    def __init__(
        self,
        protection: NativeProtection,
        connection: QuicConnection,
        phases: KeyPhases,
        window: ReceiveWindow,
        slow: Slow,
    ) -> None:
        """Leave to ``slow`` what the reference leaves to it."""
        super().__init__(connection, phases, window, slow)
        self._protection = protection
        self._keys = Keys(protection.library, sealing=False)
        # Header protection is that of the first keys.
        self._keys.of(phases.current.context)

    def open(self, arrivals: Sequence[Arrival], now: float, payloads: list[bytes]) -> None:
        """See Opener."""
        connection, phases = self._connection, self._phases
        for address, group in groupby(arrivals, ADDRESS):
            some = [arrival for arrival in group if arrival[0]]
            batch, done = _batch(some), 0
            while done < batch.count:
                if private.may_open(connection) and address == private.active_address(connection):
                    phases.refresh(now)
                    key = self._keys.of(phases.current.context)
                    if key is not None:
                        done = self._open_batch(key, batch, done, now, payloads)
                    elif done == 0:
                        super().open(some, now, payloads)
                        done = batch.count
                    if done == batch.count:
                        break
                at = sum(batch.sizes[:done])
                self._general(batch.arguments[0][at : at + batch.sizes[done]], address, now, payloads)
                done += 1

    def _open_batch(self, key: int, batch: Batch, start: int, now: float, payloads: list[bytes]) -> int:
        """Open packets from number ``start`` on; return the number of the one that must go the general way."""
        more = True
        while more and start < batch.count:
            start, more = self._open_some(key, batch, start, now, payloads)
        return start

    def _open_some(self, key: int, batch: Batch, start: int, now: float, payloads: list[bytes]) -> tuple[int, bool]:
        """Open as many packets as one call does; return the number of the next, and whether the library takes it."""
        connection, protection, phases = self._connection, self._protection, self._phases
        cids = private.own_cids(connection)
        phase = FORM | phases.current.phase << 2
        largest = private.packet_space(connection).largest_received_packet
        result = protection.open(key, batch, start, cids, phase, largest + 1)
        if result is None:
            return start, False
        done: int = result.done
        if result.packets:
            found = protection.opened.items(result.payloads)
            numbers = protection.numbers[: result.packets]
            if result.late:
                found = self._enter_late(numbers, protection.counts[: result.packets], found, largest + 1)
            else:
                self._enter_all(numbers)
            if phases.changing:
                for number in numbers:
                    phases.received(number, now)
            if found:
                payloads += found
                spin = bool(result.newest & SPIN) if result.newest else True
                private.note_opened(connection, result.expected - 1, spin=spin, now=now)
        if result.stop == native.STOP_FRAMES and result.number in self._window:
            # A duplicate: whatever else it holds was taken before.
            return done + 1, True
        return done, result.stop == native.STOP_FULL and done > start

    def _enter_all(self, numbers: Sequence[int]) -> None:
        """Note packets in ascending order."""
        start, last = numbers[0], numbers[-1]
        if last - start == len(numbers) - 1:
            self._enter(start, last + 1)
            return
        stop = start
        for number in numbers:
            if number != stop:
                self._enter(start, stop)
                start = number
            stop = number + 1
        self._enter(start, stop)

    def _enter_late(self, numbers: list[int], counts: Sequence[int], found: list[bytes], expected: int) -> list[bytes]:
        """Note packets of which some came late; return the payloads of those that are no duplicates.

        These are taken out of ``numbers`` as well.
        """
        new: list[bytes] = []
        entered: list[int] = []
        at = 0
        for number, count in zip(numbers, counts, strict=True):
            if number >= expected or number not in self._window:
                new += found[at : at + count]
                entered.append(number)
                self._enter(number, number + 1)
                expected = max(expected, number + 1)
            at += count
        numbers[:] = entered
        return new


def _batch(arrivals: Sequence[Arrival]) -> Batch:
    """Return the datagrams of arrivals, one by one."""
    sizes = array("I")
    for data, size, _address in arrivals:
        whole, rest = divmod(len(data), size)
        sizes.extend(array("I", (size,)) * whole)
        if rest:
            sizes.append(rest)
    data = arrivals[0][0] if len(arrivals) == 1 else b"".join([data for data, _size, _address in arrivals])
    return Batch(data, sizes)
