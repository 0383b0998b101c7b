# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 12 machines, WANs and an internet on one machine, from a topology file."""
