# SPDX-License-Identifier: GPL-3.0-or-later
"""IP over QUIC DATAGRAM tunnels bound to chosen WANs."""

__version__ = "0.1.0"
