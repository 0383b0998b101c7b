# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of a QUIC header as routing a datagram needs, and who is let in by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.admission import Admission
from mpquic.core.connection import Retried
from mpquic.quic.retry import RetryTokens

from fuzzing.decoder import Decoder

if TYPE_CHECKING:
    from random import Random

    from fuzzing.decoder import Input
    from fuzzing.mutation import Mutator

_ADDRESS = ("198.51.100.1", 50000)
_ORIGINAL, _SOURCE, _CLIENT = b"original", b"retried1", b"client-1"
_VERDICTS = {
    "accept",
    "retry",
    "negotiate",
    "version",
    "unknown_connection",
    "initial_small",
    "malformed",
    "half_open_full",
    "handshake_limit",
    "retry_limit",
}


class QuicHeaders(Decoder):
    """Datagrams of strangers, alone and merged by receive offload."""

    name = "quic-headers"
    quick = 8000
    longest = 1500

    def __init__(self, rng: Random) -> None:
        """Issue a token."""
        super().__init__(rng)
        self._tokens = RetryTokens()
        self._admission = Admission()
        self._token = self._tokens.issue(_ORIGINAL, _SOURCE, _ADDRESS, 0.0)
        start = b"\xc0\0\0\0\1\x08" + _SOURCE + b"\x08" + _CLIENT + bytes([len(self._token)]) + self._token
        self._proved = start.ljust(1200, b"\0")
        self._now = 0.0

    def generate(self, mutator: Mutator) -> Input:
        """Return datagrams, among them Initials with a token that is almost right."""
        return (mutator.mutate(self._proved),) if self.rng.random() < 0.1 else mutator.next()

    def feed(self, items: Input) -> bool:
        """Read the headers, and judge."""
        self._now += 1e-6
        known = [self._header(data) for data in items]
        joined, size = b"".join(items), max(1, len(items[0]))
        cut = list(wire.by_connection([(joined, size, _ADDRESS)]))
        assert b"".join([data for data, _size, _address in cut]) == joined
        for data, each, _address in cut:
            # A last datagram of one byte has nothing to compare.
            starts = {data[at + 1 : at + 9] for at in range(0, len(data) - 1, each or 1)}
            assert each >= len(data) or (len(starts) == 1 and data[0] < 0x80), "two connections in one"
        return any(known)

    def _header(self, data: bytes) -> bool:
        header = wire.long_header(data)
        short = wire.is_short(data)
        number, length = wire.varint(data)
        assert length in {0, 1, 2, 4, 8}
        assert 0 <= number < 1 << 62
        if header is None:
            return short
        assert not short
        assert header.initial == wire.is_initial(data)
        assert header.initial or not header.token
        at = 6 + data[5]
        assert data[6:at] == header.destination
        assert data[at + 1 : at + 1 + data[at]] == header.source
        assert len(header.destination) == data[5]
        assert len(header.source) == data[at]
        if header.initial:
            number, length = wire.varint(data[at + 1 + data[at] :])
            assert header.token == data[at + 1 + data[at] + length :][:number]
            assert len(header.token) == number
        original = self._tokens.redeem(header.token, header.destination, _ADDRESS, self._now) if header.token else None
        if original is not None:
            assert (header.token, header.destination, original) == (self._token, _SOURCE, _ORIGINAL), "forged"
            self.notes["proved"] += 1
        retried = Retried(original, header.destination) if original is not None else None
        assert self._admission.judge(header, len(data), _ADDRESS[0], retried, self._now) in _VERDICTS
        return True
