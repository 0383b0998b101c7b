# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way a packet takes through this host, read from the live kernel and held against the plan.

`path.explain` is the entry. It changes nothing.
"""
