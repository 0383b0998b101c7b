# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check there is of a host, each finding with why it matters and what mends it.

`examine.examine` is the entry. It changes nothing.
"""
