# SPDX-License-Identifier: GPL-3.0-or-later
"""A TUN device without offload: one bare IP packet per read and per write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import inner, wire
from mpquic.core.offload import checksum
from mpquic.core.offload.shape import locate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.gate import Gate
    from mpquic.core.types import Frame


class BareCodec:
    """See mpquic.core.offload.Codec."""

    header = 0
    front = wire.OVERHEAD

    def ingress(self, reads: Sequence[bytes], drops: Counter[str], ends: list[int] | None = None) -> list[bytes]:
        """Return the payloads of the packets that were read."""
        if ends is None:
            return wire.wrap(inner.valid(reads, drops))
        payloads: list[bytes] = []
        for read in reads:
            payloads += wire.wrap(inner.valid((read,), drops))
            ends.append(len(payloads))
        return payloads

    def egress(self, payloads: Sequence[bytes], drops: Counter[str], gate: Gate) -> tuple[list[Frame], int, int]:
        """Return one write per packet."""
        packets = gate.passing(inner.valid(wire.unwrap(payloads, drops, complete), drops), 0, drops)
        frames: list[Frame] = [(packet,) for packet in packets]
        return frames, len(packets), sum([len(packet) for packet in packets])


def complete(packet: bytes) -> bytes | None:
    """Return a packet of CONTEXT_PARTIAL with its checksum completed, None when it is not plain TCP or UDP."""
    shape = locate(packet, 0)
    return None if shape is None else checksum.complete(packet, shape.transport, shape.checksum)
