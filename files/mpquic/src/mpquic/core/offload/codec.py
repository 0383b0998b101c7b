# SPDX-License-Identifier: GPL-3.0-or-later
"""A TUN device with offload (IFF_VNET_HDR)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import wire
from mpquic.core.offload import vnet
from mpquic.core.offload.merge import Merger
from mpquic.core.offload.split import split

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.gate import Gate
    from mpquic.core.types import Frame


class VnetCodec:
    """See mpquic.core.offload.Codec."""

    header = vnet.SIZE
    front = wire.OVERHEAD

    def __init__(self, *, udp: bool) -> None:
        """Merge UDP as well if the device takes it (USO, Linux 6.2)."""
        self._udp = udp

    def ingress(self, reads: Sequence[bytes], drops: Counter[str], ends: list[int] | None = None) -> list[bytes]:
        """Return the payloads of the packets that were read, packets of many segments cut."""
        return split(reads, drops, ends)

    def egress(self, payloads: Sequence[bytes], drops: Counter[str], gate: Gate) -> tuple[list[Frame], int, int]:
        """Return as few writes as may be."""
        merger = Merger(drops, gate, udp=self._udp)
        merger.merge(payloads)
        return merger.frames, merger.packets, merger.octets
