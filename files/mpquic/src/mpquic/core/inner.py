# SPDX-License-Identifier: GPL-3.0-or-later
"""The least an inner packet must be before it goes on: an IP packet whose header says its true length.

It keeps garbage from a peer out of the TUN, where the kernel would answer EINVAL or, worse, believe it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

_IPV4_HEADER = 20
_IPV6_HEADER = 40


def valid(packets: Iterable[bytes], drops: Counter[str]) -> list[bytes]:
    """Return the well-formed packets; the others count as ``inner_version``, ``inner_short`` or ``inner_length``."""
    good = []
    for packet in packets:
        reason = fault(packet, 0)
        if reason is None:
            good.append(packet)
        else:
            drops[reason] += 1
    return good


def fault(data: bytes, at: int) -> str | None:
    """Return why ``data[at:]`` is no well-formed IP packet, None when it is one."""
    size = len(data) - at
    if size < _IPV4_HEADER:
        return "inner_short"
    first = data[at]
    if 0x45 <= first <= 0x4F:
        # RFC 791 section 3.1: header length in words, total length in bytes 2 and 3.
        if (first & 0x0F) * 4 > size:
            return "inner_short"
        return None if (data[at + 2] << 8 | data[at + 3]) == size else "inner_length"
    if first >> 4 == 6:
        # RFC 8200 section 3: payload length without the header. Jumbograms do not fit a tunnel.
        if size < _IPV6_HEADER:
            return "inner_short"
        return None if (data[at + 4] << 8 | data[at + 5]) + _IPV6_HEADER == size else "inner_length"
    return "inner_version"
