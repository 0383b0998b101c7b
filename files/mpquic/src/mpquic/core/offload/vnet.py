# SPDX-License-Identifier: GPL-3.0-or-later
"""The header before each packet of a TUN device with offload: struct virtio_net_hdr (linux/virtio_net.h), 10 bytes.

    flags, gso_type: 1 byte each; hdr_len, gso_size, csum_start, csum_offset: 2 bytes each, little endian

Offsets count from the start of the IP packet. hdr_len is a hint: how much the kernel should keep in one piece.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("<BBHHHH")
SIZE = HEADER.size

#: flags: the transport checksum holds the sum of the pseudo header, complete it.
NEEDS_CSUM = 1

#: gso_type: what kind of packet of many segments this is.
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
#: Flag in gso_type: the first segment has CWR set. The TCP header says so as well.
GSO_ECN = 0x80
