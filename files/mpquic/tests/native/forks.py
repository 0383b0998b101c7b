# SPDX-License-Identifier: GPL-3.0-or-later
"""Two pairs of links with the same keys and books, one of them native, that live through the same."""

from __future__ import annotations

import copy
import random
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from aioquic._buffer import Buffer
from aioquic._crypto import AEAD, HeaderProtection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import Context
from compiled import library
from mpquic.native.library import STOP_FRAMES, STOP_SHAPE
from mpquic.quic import private
from mpquic.quic.native import NativeProtection
from mpquic.quic.protection import PURE
from pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aioquic.tls import CipherSuite
    from mpquic.native.library import Opened
    from mpquic.quic.link import Link
    from mpquic.quic.protection import Protection
    from pairs import End

#: What both may share: it does not change after the handshake, or forgets between two calls.
_SHARED = (AEAD, HeaderProtection, Buffer, Context, NativeProtection, QuicConfiguration)
_SIZES = (1, 2, 20, 40, 65, 100, 600, 640, 1000, 1300)


@contextmanager
def _sharing() -> Iterator[None]:
    dispatch: dict[type, Any] = copy._deepcopy_dispatch
    for kind in _SHARED:
        dispatch[kind] = lambda value, _memo: value
    try:
        yield
    finally:
        for kind in _SHARED:
            del dispatch[kind]


def _equip(link: Link, protection: Protection) -> None:
    """Seal and open by ``protection`` from now on."""
    assert link._phases is not None
    link._protection = protection
    link._sealer = protection.sealer(link._connection)
    link._opener = protection.opener(link._connection, link._phases, link._window, link._receive)


def books(link: Link) -> dict[str, Any]:
    """Return all that is known of packets."""
    connection, phases, recovery = link._connection, link._phases, link._recovery
    assert phases is not None
    space = private.packet_space(connection)
    known = {
        name: getattr(connection, name)
        for name in (
            "_packet_number",
            "_close_at",
            "_spin_bit",
            "_spin_highest_pn",
            "_ack_eliciting_sent_since_receipt",
        )
    }
    known |= {
        name: getattr(space, name)
        for name in (
            *("ack_at", "ack_eliciting_in_flight", "expected_packet_number", "largest_acked_packet", "loss_time"),
            *("largest_received_packet", "largest_received_time"),
        )
    }
    old = phases._old
    known |= {
        "ack_queue": [(each.start, each.stop) for each in space.ack_queue],
        "window": (link._window._bits, link._window._stop),
        "batches": [
            (each.first, each.stop, each.sent_at, each.pending, each.large) for each in recovery.ledger._batches
        ],
        "given_up": (recovery.ledger._given_up, recovery.ledger._given_up_from),
        "sent": list(space.sent_packets),
        "bytes": (connection._network_paths[0].bytes_sent, connection._network_paths[0].bytes_received),
        "clock": {
            name: getattr(link.clock, name) for name in ("outstanding", "srtt", "latest", "acked_total", "lost_total")
        },
        "phases": (phases.updates, phases.updated_at, phases.first_sent, phases.current.phase),
        "old": (old.boundary, old.until) if old is not None else None,
        "due": link._due,
        "closed": link._closed,
    }
    return known


@dataclass
class Seen:
    """What a native opener met."""

    late: int = 0
    forged: int = 0
    other_frames: int = 0
    other_keys: int = 0
    together: int = 0
    lost: int = 0


class Watched(NativeProtection):
    """Counts what it meets."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(library())
        self._seen = seen

    def open(self, *arguments: Any) -> Opened | None:
        result = super().open(*arguments)
        if result is not None:
            seen = self._seen
            seen.late += result.late
            seen.forged += result.forged
            seen.other_frames += result.stop == STOP_FRAMES
            seen.other_keys += result.stop == STOP_SHAPE
            seen.together += result.payloads > result.packets
        return result


class Fork:
    """A pair of pure Python, and one like it whose ends, one or both, are native."""

    def __init__(self, folder: Path, seed: int, suite: CipherSuite, seen: Seen | None = None) -> None:
        self._seen = seen or Seen()
        self.random = random.Random(seed)
        self.pure = Pair(folder, suite=suite)
        for end in self.pure.ends:
            _equip(end.link, PURE)
        with _sharing():
            self.native = copy.deepcopy(self.pure)
        protection = Watched(self._seen)
        for end, native in zip(
            self.native.ends, self.random.choice(((True, True), (True, False), (False, True))), strict=True
        ):
            _equip(end.link, protection if native else PURE)

    def run(self, steps: int) -> int:
        """Take steps, compare after each, and return how many payloads were sent."""
        sent = 0
        for step in range(steps):
            number = self.random.randrange(2)
            seed = self.random.randrange(2**32)
            kind = self.random.choice(
                ("send",) * 5 + ("deliver",) * 5 + ("tick", "tick", "update", "disorder", "forge", "again")
            )
            counts = [
                self._step(kind, pair, pair.ends[number], random.Random(seed)) for pair in (self.pure, self.native)
            ]
            assert counts[0] == counts[1], (step, kind)
            sent += counts[0]
            self._seen.lost += self.pure.ends[number].link.clock.lost_total > 0
            self.compare((step, kind))
        return sent

    def compare(self, where: object) -> None:
        for expected, found in zip(self.pure.ends, self.native.ends, strict=True):
            assert found.wire == expected.wire, where
            assert found.got == expected.got, where
            known, twin = books(expected.link), books(found.link)
            assert twin == known, (
                where,
                {name: (twin[name], known[name]) for name in known if twin[name] != known[name]},
            )
            expected.got.clear()
            found.got.clear()

    def _step(self, kind: str, pair: Pair, end: End, choose: random.Random) -> int:
        if kind == "send":
            size, count = choose.choice(_SIZES), choose.choice((1, 2, 10, 60, 150))
            mixed = choose.random() < 0.3
            limit = end.link.max_payload
            payloads = [
                bytes([number & 255]) * min(limit, choose.randrange(limit + 1) if mixed else size)
                for number in range(count)
            ]
            payloads = [payload or b"\0" for payload in payloads]
            pair.send(end, payloads)
            return count
        if kind == "update":
            phases = end.link._phases
            assert phases is not None
            if phases.settled(private.packet_space(end.link._connection).largest_acked_packet):
                end.link.update_keys()
                pair.send(end, [])
            return 0
        if kind == "tick":
            pair.tick(choose.choice((0.001, 0.01, 0.05)))
            return 0
        self._disturb(kind, end, choose)
        self._deliver(pair, end, choose)
        return 0

    def _disturb(self, kind: str, end: End, choose: random.Random) -> None:
        """Lose, exchange, repeat and forge some of what is on the wire."""
        wire = end.wire
        for _time in range(choose.choice((1, 3, 30)) if wire else 0):
            at = choose.randrange(len(wire))
            if kind == "disorder":
                wire.insert(choose.randrange(len(wire)), wire.pop(at))
            elif kind == "forge":
                wire[at : at + choose.choice((0, 1))] = [_forged(wire[at], choose)]
            elif kind == "again":
                wire.insert(choose.randrange(len(wire)), wire[at])
        if choose.random() < 0.2:
            wire[:] = [data for data in wire if choose.random() < 0.9]

    def _deliver(self, pair: Pair, end: End, choose: random.Random) -> None:
        """Hand over all, or a part, as receive offload would: what has one size goes together."""
        wire = end.wire
        stop = choose.choice((len(wire), len(wire), choose.randrange(len(wire) + 1)))
        datagrams, end.wire = wire[:stop], wire[stop:]
        together = choose.random() < 0.7
        runs: list[list[bytes]] = []
        for before, data in pairwise([b"", *datagrams]):
            if together and runs and len(runs[-1][0]) == len(before) >= len(data) > 40:
                runs[-1].append(data)
            else:
                runs.append([data])
        arrivals = [(b"".join(run), len(run[0]), end.address) for run in runs]
        other = pair.other(end)
        other.got += other.link.open(arrivals, pair.now)


def _forged(data: bytes, choose: random.Random) -> bytes:
    """Return a datagram with one byte changed, cut off or not."""
    forged, size = bytearray(data), len(data)
    forged[choose.choice((0, 1, 9, 10, 11, 12, -1, choose.randrange(size))) % size] ^= choose.randrange(1, 256)
    return bytes(forged[: choose.choice((size, size, choose.randrange(size) + 1))])
