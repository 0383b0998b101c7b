# SPDX-License-Identifier: GPL-3.0-or-later
"""Which class an inner packet is of. Looked at only when packets must wait for each other.

The class follows the packet's own DSCP (RFC 2474), so hosts, applications and the LAN's router decide. The marks are
read as RFC 8325 section 4 maps them to the queues of a wireless LAN, after the service classes of RFC 4594:

=========  =============================================  =====================================================
class      code points                                    carries
=========  =============================================  =====================================================
critical   CS4 to CS7, AF41 to AF43, VOICE-ADMIT, EF      voice, its signalling, conferences, routing protocols
default    all others, unmarked ones among them           the rest
bulk       CS1, LE (RFC 8622)                             what may take long: backups, updates
=========  =============================================  =====================================================

Streams that are watched (CS3, AF3x) have buffers of seconds and are no conversation: they are default.
"""

from __future__ import annotations

from typing import Final

from mpquic.core import wire

CRITICAL: Final = 0
DEFAULT: Final = 1
BULK: Final = 2

_CRITICAL_DSCP = {32, 34, 36, 38, 40, 44, 46, 48, 56}
_BULK_DSCP = {1, 8}


def _class_of_dscp(dscp: int) -> int:
    if dscp in _CRITICAL_DSCP:
        return CRITICAL
    return BULK if dscp in _BULK_DSCP else DEFAULT


#: By the whole octet: the lower two bits are ECN (RFC 3168).
_BY_OCTET = bytes(_class_of_dscp(octet >> 2) for octet in range(256))


def classify(payload: bytes, front: int = wire.OVERHEAD) -> int:
    """Return the class of a DATAGRAM payload: ``front`` octets, then an IP packet that inner.valid() took."""
    if payload[front] >> 4 == 4:
        return _BY_OCTET[payload[front + 1]]
    # RFC 8200 section 3: the traffic class spans the first two octets.
    return _BY_OCTET[(payload[front] & 0x0F) << 4 | payload[front + 1] >> 4]
