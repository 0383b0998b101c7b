# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol without sockets, clocks or a QUIC library: time and events are arguments."""
