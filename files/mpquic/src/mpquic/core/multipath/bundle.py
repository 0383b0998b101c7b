# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a tunnel over several paths: joins what spreads, numbers, deduplicates, orders and judges.

Both ends use the same; only who makes the connections differs. Inner packets are counted once here, each copy in the
counters of its path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.gate import OPEN, Gate
from mpquic.core.multipath.health import State
from mpquic.core.multipath.monitor import Monitor
from mpquic.core.multipath.patience import Patience
from mpquic.core.multipath.receiver import Receiver
from mpquic.core.multipath.sender import Sender
from mpquic.core.multipath.spreader import Spreader
from mpquic.core.multipath.tally import ClassCounters, Tally
from mpquic.core.offload import BareCodec
from mpquic.core.types import Change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpquic.core.multipath.policy import Policy
    from mpquic.core.multipath.reorder import Reorder
    from mpquic.core.offload import Codec
    from mpquic.core.path import Path
    from mpquic.core.types import Counters, Frame

#: With more paths times classes than this, flows follow ranks only every so many seconds: each time costs 15 us for a
#: path and a class, and a peer can make ranks change as often as it likes.
MANY = 128
FOLLOW_AFTER = 0.05
_SEQUENCED = bytes([wire.CONTEXT_SEQUENCED])


class Bundle:
    """The paths of one tunnel, and what is common to them."""

    def __init__(self, policy: Policy, counters: Counters, now: float, *, server: bool) -> None:
        """Begin without paths; configure() gives them. Count inner packets in ``counters``.

        A server lets the answers to a flow go by the class that the client chose for it.
        """
        self.counters = counters
        #: By number.
        self.paths: dict[int, Path] = {}
        self.monitor = Monitor(now, asks=not server)
        #: What the peer may send into this tunnel.
        self.gate: Gate = OPEN
        self._server = server
        self._codec: Codec = BareCodec()
        self._spreader = Spreader(policy, turned=server)
        self._tally = Tally()
        self._sender = Sender(self._spreader, counters, self._tally)
        self._patience = Patience(self.paths)
        self._receiver = self._new_receiver()
        #: Knows what came before the other end began anew.
        self._former = self._receiver
        #: The ranks that flows follow, and when they may follow others.
        self._generation = self.monitor.generation
        self._follow_at = 0.0
        self._frames: list[Frame] = []
        self._touched: dict[Path, None] = {}

    # --- what the owner does ----------------------------------------------------------------------------------------

    def configure(self, policy: Policy, paths: Mapping[int, Path], now: float) -> None:
        """Follow this policy over these paths from now on. Flows stay where they are as far as they may.

        A path whose connection is up already must be told of by connected().
        """
        for number, path in list(self.paths.items()):
            if paths.get(number) is not path:
                self.monitor.remove(path)
                del self.paths[number]
        for number, path in paths.items():
            if number not in self.paths:
                self.paths[number] = path
                path.lane.codec = self._codec
                self.monitor.add(path)
        self._tally.configure(policy, self.paths.values())
        self._patience.configure(policy)
        self._spreader.configure(policy, self.paths, now)
        self._follow(now)

    def attach(self, codec: Codec) -> None:
        """Speak to the TUN device like this from now on."""
        self._codec = codec
        for path in self.paths.values():
            path.lane.codec = codec

    def connected(self, path: Path, now: float) -> None:
        """Use ``path.connection``, which was just set."""
        self.monitor.connected(path, now)
        self._touched[path] = None
        self._follow(now)

    def lost(self, path: Path, reason: str, now: float) -> None:
        """Do without ``path.connection``, which is about to be None."""
        self.monitor.lost(path, reason, now)
        self._follow(now)
        self._deliver(None, now)

    def restart(self, now: float) -> None:
        """Begin anew with what comes: the other end did so, and numbers its packets from 0 on. See accept_late()."""
        self.monitor.restart(now)
        self._receiver.reorder.release()
        self._deliver(None, now)
        self._former, self._receiver = self._receiver, self._new_receiver()
        self._follow(now)

    # --- packets ----------------------------------------------------------------------------------------------------

    def send(self, reads: Sequence[bytes], now: float) -> list[Path]:
        """Take reads of the TUN; return the paths that the caller flushes then. See Sender."""
        self._touched.update(dict.fromkeys(self._sender.send(reads, self._codec, now)))
        return self.touched()

    def accept(self, path: Path, payloads: Sequence[bytes], now: float) -> list[Frame]:
        """Return what to write to the TUN out of the DATAGRAM payloads that came by ``path``."""
        self._receiver.receive(path, payloads, now)
        self._deliver(path, now)
        frames, self._frames = self._frames, []
        return frames

    def accept_late(self, path: Path, payloads: Sequence[bytes], now: float) -> list[Frame]:
        """Return what to write to the TUN out of what the other end sent before the last restart().

        Nothing waits any more for what is missing. What was said of the paths then is out of date.
        """
        former = self._former
        former.receive(path, [payload for payload in payloads if payload[:1] == _SEQUENCED], now)
        former.reorder.release()
        self._hand_on(former, path, now)
        frames, self._frames = self._frames, []
        return frames

    def released(self) -> list[Frame]:
        """Return what else to write to the TUN: packets that waited, answers to those that did not fit."""
        frames, self._frames = self._frames, []
        for path in self.paths.values():
            frames += path.fit.answers()
        return frames

    def touched(self) -> list[Path]:
        """Return the paths that have something to flush since the last call."""
        touched, self._touched = self._touched, {}
        touched.update(dict.fromkeys(self.monitor.touched()))
        return list(touched)

    # --- time -------------------------------------------------------------------------------------------------------

    def fire(self, now: float) -> None:
        """Do what is due."""
        self.monitor.fire(now)
        self._follow(now)
        self._spreader.fire(now)
        self._receiver.reorder.fire(now)
        self._deliver(None, now)

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        due = min(self.monitor.deadline(), self._spreader.deadline(), self._receiver.reorder.deadline())
        return min(due, self._follow_at) if self._behind() else due

    # --- what there is to tell --------------------------------------------------------------------------------------

    @property
    def mtu(self) -> int | None:
        """Bytes of an inner packet that fit every path in use, None while that is not known."""
        known = [p.fit.mtu for p in self.paths.values() if p.connection is not None and p.fit.mtu is not None]
        return min(known, default=None)

    @property
    def reorder(self) -> Reorder:
        """What waits for packets that other paths still carry."""
        return self._receiver.reorder

    def classes(self) -> list[ClassCounters]:
        """Return the counters of each class, in the order of the policy."""
        return self._tally.classes

    def changes(self) -> list[Change]:
        """Return what became of paths since the last call, for the log: ``path up``, ``path suspect``, and so on."""
        return [
            Change(
                f"path {change.after.value}",
                change.reason,
                failed=change.after is State.DOWN,
                detail=f"name={change.path.name}",
            )
            for change in self.monitor.changes()
        ]

    # --- inside -----------------------------------------------------------------------------------------------------

    def _new_receiver(self) -> Receiver:
        return Receiver(self.counters.drops, self._tally, self._patience, self._hear)

    def _deliver(self, path: Path | None, now: float) -> None:
        """Make writes to the TUN of what may be handed on; ``path`` brought most of it."""
        self._hand_on(self._receiver, path, now)

    def _hand_on(self, receiver: Receiver, path: Path | None, now: float) -> None:
        counters = self.counters
        for class_index, payloads in receiver.reorder.take().items():
            frames, packets, octets = self._codec.egress(payloads, counters.drops, self.gate)
            counters.rx_packets += packets
            counters.rx_bytes += octets
            self._frames += frames
            if path is not None:
                path.rx_err += len(payloads) - packets
                if self._server:
                    self._spreader.heard(frames, self._codec.header, class_index, path, now)

    def _hear(self, path: Path, payload: bytes, now: float) -> None:
        self.monitor.hear(path, payload, now)
        self._follow(now)

    def _follow(self, now: float) -> None:
        """Let flows and what waits follow the ranks of the paths."""
        if not self._behind() or now < self._follow_at:
            return
        self._generation = self.monitor.generation
        if len(self.paths) * len(self.classes()) > MANY:
            self._follow_at = now + FOLLOW_AFTER
        self._spreader.refresh(now)
        self._patience.look(now)
        if self._patience.paths < 2:
            # Nothing else is on its way.
            self._receiver.reorder.release()

    def _behind(self) -> bool:
        """Tell whether ranks have changed since flows followed."""
        return self.monitor.generation != self._generation
