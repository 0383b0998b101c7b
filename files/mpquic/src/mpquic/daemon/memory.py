# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of batches: the allocator keeps it, and does not give it back to the kernel after every one."""

from __future__ import annotations

import ctypes

# mallopt(3) of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: A batch has up to a few hundred kB at a time (bytes); the allocator's own limit for the second is 32 MB.
_KEPT = 16 << 20


def keep() -> None:
    """Keep up to 16 MB of free memory: page faults cost as much as encryption otherwise."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
