# SPDX-License-Identifier: GPL-3.0-or-later
"""One path of a client that has several: an uplink whose packets go to and come from the bundle of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mpquic.core.attempts import Pace
from mpquic.core.dialer import RENEWED
from mpquic.core.messages import Joined, PolicyUpdate
from mpquic.core.types import Change
from mpquic.core.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.core.connection import Connection
    from mpquic.core.dial import Dial, Registration
    from mpquic.core.messages import Registered
    from mpquic.core.multipath.bundle import Bundle
    from mpquic.core.multipath.policy import PathSpec
    from mpquic.core.path import Path
    from mpquic.core.types import Address, Arrival, Frame

#: A path beside others is looked for often: whoever comes back after a fault is used within ten seconds.
PACE = Pace(attempt=(1.5, 2.0), retry=(0.25, 3.0), keep=20.0)


class Membership(Protocol):
    """What a leg and its client have to do with each other."""

    bundle: Bundle
    #: For Uplink.
    connect: Callable[[Address, float], Connection]
    random: Callable[[int], bytes]

    def policy(self) -> tuple[int, bytes]:
        """Return the present policy's generation, and the policy as it is sent."""

    def registration(self, leg: Leg, policy: bytes) -> Registration:
        """Return what makes a new connection of ``leg`` a path of this tunnel."""

    @property
    def epoch(self) -> bytes | None:
        """The server's present epoch, None before there was one."""

    def joined(self, leg: Leg, epoch: bytes, now: float) -> None:
        """Note that a connection of ``leg`` is a path of this tunnel, which has this ``epoch`` at the server."""

    def touch(self, leg: Leg) -> None:
        """Note that ``leg`` may have something to send, or another deadline."""

    def entered(self, leg: Leg, now: float) -> None:
        """Note that ``leg`` is in another state."""


class Leg(Uplink):
    """State machine of one path."""

    def __init__(self, now: float, path: Path, spec: PathSpec, membership: Membership) -> None:
        """Start by asking for a socket; see Uplink."""
        #: What the policy says about it.
        self.spec = spec
        self._membership = membership
        #: Generation of the policy in the last registration, and of the last one that the server was told.
        self._asked = self._told = 0
        #: The server's epoch that the present connection belongs to, and the one that was granted last.
        self.epoch: bytes | None = None
        self._granted = b""
        #: That of the tunnel when the connection that is under way was begun.
        self._known: bytes | None = None
        #: Why it was last said to be down; "" once it is up.
        self._complaint = ""
        super().__init__(membership.connect, membership.random, now, path, PACE)
        membership.touch(self)

    # --- what the shell reports -------------------------------------------------------------------------------------

    def receive(self, arrivals: Sequence[Arrival], now: float) -> list[Frame]:
        """See Uplink."""
        self._membership.touch(self)
        return super().receive(arrivals, now)

    def socket_ready(self, remote: Address, now: float) -> None:
        """See Uplink."""
        self._membership.touch(self)
        super().socket_ready(remote, now)

    def socket_lost(self, reason: str, now: float, *, moving: bool) -> None:
        """See Uplink."""
        self._membership.touch(self)
        super().socket_lost(reason, now, moving=moving)

    def too_big(self, now: float) -> None:
        """See Uplink."""
        self._membership.touch(self)
        super().too_big(now)

    def refused(self, now: float) -> None:
        """See Uplink."""
        self._membership.touch(self)
        super().refused(now)

    def link_changed(self, now: float) -> None:
        """See Uplink."""
        self._membership.touch(self)
        super().link_changed(now)

    def fire(self, now: float) -> None:
        """See Uplink."""
        self._membership.touch(self)
        super().fire(now)

    @property
    def behind(self) -> bool:
        """Tell whether the server was told an older policy than the present one on the present connection."""
        return self._dials.current is not None and self._told < self._membership.policy()[0]

    # --- what the client wants of it --------------------------------------------------------------------------------

    def tell(self, now: float) -> None:
        """Send the policy to the server. A connection on which too much was said is renewed."""
        generation, policy = self._membership.policy()
        current = self._dials.current
        if current is None:
            return
        if current.say(PolicyUpdate(policy).encode()):
            self._told = generation
            self._membership.touch(self)
        elif not self.renewing:
            self.renew(self._connect, now, redial=True)

    def leave(self, epoch: bytes, now: float) -> None:
        """Send no more by what does not belong to ``epoch``.

        Either the server has forgotten it, whether that shows yet or not; or a process that is being replaced has it,
        and what that one sent is on its way.
        """
        if self.epoch == epoch:
            return
        if self._dials.current is not None:
            self._let_go(self._dials.current, now)
        elif self._dials.silent is not None:
            self._say_goodbye(self._dials.silent, "gave up", now)

    def changes(self) -> list[Change]:
        """Return what there is to say beside what the bundle says, which knows when a path is up or down."""
        told: list[Change] = []
        for change in super().changes():
            detail = f"name={self.spec.name} {change.detail}".rstrip()
            if change.state == "up":
                self._complaint = ""
                if change.reason == RENEWED:
                    told.append(Change("path renewed", change.reason, detail=detail))
            elif change.state == "waiting":
                if self._complaint and change.reason != self._complaint:
                    told.append(Change("path waiting", change.reason, change.failed, detail))
                self._complaint = change.reason
            elif change.state not in {"connecting", "stopped"}:
                told.append(Change(change.state, change.reason, change.failed, detail))
        return told

    # --- Uplink's questions -----------------------------------------------------------------------------------------

    def _begin(self, size: int | None, now: float, ends: float) -> None:
        self._known = self._membership.epoch
        super()._begin(size, now, ends)

    def _registration(self) -> Registration:
        self._asked, policy = self._membership.policy()
        return self._membership.registration(self, policy)

    def _objection(self, answer: Registered | Joined) -> str:
        assert isinstance(answer, Joined)
        if answer.epoch != self._membership.epoch != self._known:
            # Another path was granted the present epoch meanwhile, and either of the two may be the newer one. Whoever
            # answers from now on is no older than that.
            return "the server began anew meanwhile"
        self._granted = answer.epoch
        return ""

    def _accept(self, dial: Dial, payloads: Sequence[bytes], now: float) -> list[Frame]:
        bundle = self._membership.bundle
        accept = bundle.accept if dial.epoch == self._membership.epoch else bundle.accept_late
        return accept(self.path, payloads, now)

    def _took_over(self, dial: Dial, now: float) -> None:
        self.epoch = dial.epoch = self._granted
        self._told = self._asked
        self._membership.joined(self, self._granted, now)
        self._membership.bundle.connected(self.path, now)

    def _resumed(self, now: float) -> None:
        assert self.epoch is not None
        self._membership.joined(self, self.epoch, now)
        self._membership.bundle.connected(self.path, now)

    def _losing(self, reason: str, now: float) -> None:
        self._membership.bundle.lost(self.path, reason, now)

    def _enter(self, state: str, reason: str, now: float, *, failed: bool = False, detail: str = "") -> None:
        if failed and self.state != "up":
            # An attempt failed; what an end of a connection means, _losing() has told.
            self._membership.bundle.lost(self.path, reason, now)
        super()._enter(state, reason, now, failed=failed, detail=detail)
        self._membership.touch(self)
        self._membership.entered(self, now)
