# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark: mpquic against the tunnels of Debian, taking turns in one run on wires of its own."""
