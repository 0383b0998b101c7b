# SPDX-License-Identifier: GPL-3.0-or-later
"""What acknowledgements say about a path. Fed by the congestion controller for every ack-eliciting packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.core.samples import RoundTrips


class AckClock:
    """Round trip time, and since when the peer owes us an acknowledgement (seconds)."""

    __slots__ = (
        "_anew",
        "acked_total",
        "large_lost",
        "last_ack",
        "last_sent",
        "latest",
        "longest",
        "lost_total",
        "outstanding",
        "pending_since",
        "rtts",
        "rttvar",
        "srtt",
    )

    def __init__(self) -> None:
        """Start with nothing sent."""
        self.srtt: float | None = None
        #: Mean deviation of the samples from it.
        self.rttvar = 0.0
        #: Where samples are counted, None while this is no path's clock.
        self.rtts: RoundTrips | None = None
        #: The newest round trip sample.
        self.latest = 0.0
        #: The longest sample since somebody set this to 0.
        self.longest = 0.0
        #: The next sample is to be the first.
        self._anew = True
        self.outstanding = 0
        self.acked_total = 0
        self.lost_total = 0
        self.last_sent: float | None = None
        self.last_ack: float | None = None
        #: Start of the present silence: the last acknowledgement, or the first packet after all was acknowledged.
        self.pending_since: float | None = None
        #: Packets of more than 1200 bytes lost since the last such packet that was acknowledged.
        self.large_lost = 0

    def sent(self, at: float, count: int = 1) -> None:
        """Note ack-eliciting packets that left at one time."""
        self.outstanding += count
        self.last_sent = at
        if self.pending_since is None:
            self.pending_since = at

    def acked(self, now: float, count: int = 1) -> None:
        """Note that some of them were acknowledged."""
        self.outstanding -= count
        self.acked_total += count
        self.last_ack = now
        self.pending_since = now if self.outstanding > 0 else None

    def lost(self, count: int) -> None:
        """Note packets given up, which happens on an answer to later ones: nothing more is owed for these."""
        self.outstanding -= count
        self.lost_total += count
        if self.outstanding <= 0:
            self.pending_since = None

    def found(self, count: int) -> None:
        """Note packets that were acknowledged after they had been given up: late, not lost."""
        self.lost_total -= count
        self.acked_total += count

    def expired(self, count: int) -> None:
        """Note packets whose keys were discarded: no answer is owed for them."""
        self.outstanding -= count
        if self.outstanding <= 0:
            self.pending_since = None

    def rtt(self, sample: float) -> None:
        """Take a round trip sample (RFC 9002 section 5.3: weight 1/8 for the mean, 1/4 for its deviation)."""
        self.latest = sample
        self.longest = max(self.longest, sample)
        if self.rtts is not None:
            self.rtts.note(sample)
        if self.srtt is None or self._anew:
            self._anew = False
            self.srtt = sample
            self.rttvar = sample / 2
        else:
            self.rttvar += (abs(self.srtt - sample) - self.rttvar) / 4
            self.srtt += (sample - self.srtt) / 8

    def anew(self) -> None:
        """Let the next round trip sample be the first: those of the handshake hold the time of its cryptography."""
        self._anew = True

    def restart(self, now: float) -> None:
        """Measure silence from now on, when the handshake is over."""
        self.last_sent = now
        if self.pending_since is not None:
            self.pending_since = now
