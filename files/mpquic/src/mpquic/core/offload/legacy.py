# SPDX-License-Identifier: GPL-3.0-or-later
"""Payloads of the protocol ``mpquic-ip``: bare IP packets without a context id, checksums complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.offload.bare import complete

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.gate import Gate
    from mpquic.core.offload import Codec
    from mpquic.core.types import Frame

_BARE = bytes([wire.CONTEXT_IP])


class LegacyCodec:
    """See mpquic.core.offload.Codec; stands before the codec of the device."""

    front = 0

    def __init__(self, device: Codec) -> None:
        """Speak to the device by its own codec."""
        self._device = device
        self.header = device.header

    def ingress(self, reads: Sequence[bytes], drops: Counter[str], ends: list[int] | None = None) -> list[bytes]:
        """Return the packets that were read."""
        packets = []
        for payload in self._device.ingress(reads, drops, ends):
            body = payload[wire.OVERHEAD :]
            packet = body if payload[: wire.OVERHEAD] == _BARE else complete(body)
            if packet is not None:
                packets.append(packet)
        return packets

    def egress(self, payloads: Sequence[bytes], drops: Counter[str], gate: Gate) -> tuple[list[Frame], int, int]:
        """Return what to write to the device."""
        return self._device.egress(wire.wrap(payloads), drops, gate)
