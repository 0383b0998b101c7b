# SPDX-License-Identifier: GPL-3.0-or-later
"""How large inner packets may be: the path's size turned into the TUN's MTU, and an answer to what exceeds it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.connection import ProbeAcked
from mpquic.core.gate import OPEN
from mpquic.core.pmtu import PathMtu
from mpquic.core.types import IPV6_MIN_MTU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.connection import Connection, Event
    from mpquic.core.icmp import TooBig
    from mpquic.core.lane import Lane
    from mpquic.core.types import Frame


class Fit:
    """Fits one tunnel to the path of its present connection."""

    def __init__(self, lane: Lane, answers: TooBig) -> None:
        """Watch what ``lane`` refuses, and let ``answers`` say what to answer."""
        self._lane = lane
        #: Bytes of a payload that are no packet. With bare ones, too, one is left: both kinds have the same MTU.
        self._front = max(lane.front, wire.OVERHEAD)
        lane.on_too_big = self._refuse
        self._answers = answers
        self._payloads: list[bytes] = []
        self._connection: Connection | None = None
        self._path: PathMtu | None = None
        #: Bytes of an inner packet that fit, None while unknown: then whatever the TUN has is right.
        self.mtu: int | None = None
        #: Largest UDP payload that the last connection's path carried, None before there was one.
        self.proved: int | None = None
        #: The largest that any of its connections carried: what it falls from when the path shrinks.
        self.largest: int | None = None

    @property
    def asking(self) -> int:
        """Path MTU probes that are on their way or were lost a moment ago."""
        return self._path.asking if self._path is not None else 0

    def start(self, connection: Connection, ceiling: int, now: float) -> None:
        """Follow the path of a connection that is established, up to ``ceiling`` bytes of UDP payload."""
        self._connection = connection
        self._path = PathMtu(connection, ceiling, now)
        self._follow()

    def stop(self) -> None:
        """Forget the connection: it is over."""
        self._connection = None
        self._path = None

    def note(self, event: Event, now: float) -> bool:
        """Take an event of the connection; tell whether that changed ``mtu``."""
        before = self.mtu
        if self._path is not None and isinstance(event, ProbeAcked):
            self._path.acked(event.size, now)
            self._follow()
        return self.mtu != before

    def hint(self, now: float) -> None:
        """Note that the kernel called a datagram too big (EMSGSIZE)."""
        if self._path is not None:
            self._path.too_big(now)

    def moved(self, now: float) -> None:
        """Note that the connection goes another path: whether that carries as much is asked."""
        if self._path is not None:
            self._path.moved(now)

    def fire(self, now: float) -> bool:
        """Do what is due; tell whether that changed ``mtu``."""
        before = self.mtu
        if self._path is not None and now >= self._path.deadline():
            self._path.fire(now)
            self._follow()
        return self.mtu != before

    def deadline(self) -> float:
        """Return when fire() must be called next."""
        return self._path.deadline() if self._path is not None else math.inf

    def answers(self) -> list[Frame]:
        """Return what to write to the TUN: answers to packets that did not fit."""
        if not self._payloads:
            return []
        payloads, self._payloads = self._payloads, []
        return self._lane.codec.egress(payloads, self._lane.drops, OPEN)[0]

    def _follow(self) -> None:
        connection, path = self._connection, self._path
        if connection is None or path is None:
            return
        self.proved = path.size
        self.largest = max(path.size, self.largest or 0)
        if path.settled:
            self.mtu = connection.max_payload - self._front
            # Without an address of its own the tunnel cannot say no; what others route into it is carried if it fits.
            self._lane.narrow = self._answers.ipv6 and self.mtu < IPV6_MIN_MTU

    def _refuse(self, payloads: Sequence[bytes], limit: int, now: float) -> None:
        if self._path is None or not self._path.settled:
            return
        front, prefix = self._lane.front, bytes([wire.CONTEXT_IP])[: self._lane.codec.front]
        for payload in payloads:
            answer = self._answers.answer(payload[front:], limit - self._front, now)
            if answer is not None:
                self._payloads.append(prefix + answer)
