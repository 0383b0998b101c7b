# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults and loads on real daemons with several WANs: how long packets fail, and what becomes of them."""
