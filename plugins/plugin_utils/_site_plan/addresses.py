# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The names of netaddr that the planner uses, or why there are none."""

from __future__ import annotations

MISSING: ImportError | None = None
try:
    from netaddr import AddrFormatError, IPAddress, IPNetwork
except ImportError as error:
    MISSING = error
    AddrFormatError = IPAddress = IPNetwork = None  # type: ignore[assignment,misc,unused-ignore]

__all__ = ["MISSING", "AddrFormatError", "IPAddress", "IPNetwork"]
