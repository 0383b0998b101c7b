# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit codes of the command (64 and 78 as in BSD sysexits.h)."""

OK = 0
FAILED = 1
DEGRADED = 2
USAGE = 64
CONFIG = 78
