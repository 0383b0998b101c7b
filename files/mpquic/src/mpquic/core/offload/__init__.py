# SPDX-License-Identifier: GPL-3.0-or-later
"""Between a TUN device and DATAGRAM payloads: what one read holds becomes payloads, payloads become writes.

A device with offload (IFF_VNET_HDR) hands over and takes TCP and UDP packets of up to 64 kB, which must be cut and
merged; a device without hands over one packet at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mpquic.core.offload.bare import BareCodec
from mpquic.core.offload.codec import VnetCodec

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.gate import Gate
    from mpquic.core.types import Frame

__all__ = ["BareCodec", "Codec", "VnetCodec"]


class Codec(Protocol):
    """How one TUN device speaks. What is refused counts in ``drops`` by reason."""

    #: Bytes of a read before the IP packet.
    header: int
    #: Bytes of a payload before the IP packet.
    front: int

    def ingress(self, reads: Sequence[bytes], drops: Counter[str], ends: list[int] | None = None) -> list[bytes]:
        """Return the DATAGRAM payloads, context id included, of what was read from the device, in order.

        ``ends`` gets how many there are after each read.
        """

    def egress(self, payloads: Sequence[bytes], drops: Counter[str], gate: Gate) -> tuple[list[Frame], int, int]:
        """Return what to write to the device for those of a peer's payloads that ``gate`` lets pass.

        And how many IP packets and bytes they are.
        """
