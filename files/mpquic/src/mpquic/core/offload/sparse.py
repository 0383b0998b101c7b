# SPDX-License-Identifier: GPL-3.0-or-later
"""Small packets first, where that reorders no flow: a call need not wait until 64 kB of a download are sealed.

The idea of sparse flows in RFC 8290, within what one wake-up has read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes. Voice, DNS, a ping, a bare acknowledgement.
SMALL = 400
#: A version 4 header without options.
_IPV4 = 0x45
#: More fragments, and the fragment offset (RFC 791 section 3.1).
_FRAGMENT = 0x3F
#: IPv6 next headers whose first four bytes tell flows apart: TCP, UDP, ESP, ICMPv6.
_TOLD_APART = {6, 17, 50, 58}


def sparse_first(reads: Sequence[bytes], at: int) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the small packets that may overtake the others, and the others; packets begin at ``at`` of their read."""
    small = SMALL + at
    if len(reads) < 2 or min(map(len, reads)) >= small or max(map(len, reads)) < small:
        return (), reads
    first: list[bytes] = []
    rest: list[bytes] = []
    waiting: set[bytes] = set()
    for position, read in enumerate(reads):
        flow = _flow(read, at)
        if flow is None:
            # It may belong to any flow: nothing overtakes it.
            rest += reads[position:]
            break
        if len(read) < small and flow not in waiting:
            first.append(read)
        else:
            waiting.add(flow)
            rest.append(read)
    return first, rest


def _flow(read: bytes, at: int) -> bytes | None:
    """Return addresses and the four bytes behind the header, ports or the like; None for what cannot be told apart."""
    if len(read) < at + 24:
        return None
    if read[at] == _IPV4:
        return None if read[at + 6] & _FRAGMENT or read[at + 7] else read[at + 12 : at + 24]
    if read[at] >> 4 == 6 and read[at + 6] in _TOLD_APART:
        return read[at + 8 : at + 44]
    return None
