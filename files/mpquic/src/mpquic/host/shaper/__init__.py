# SPDX-License-Identifier: GPL-3.0-or-later
"""The shaper of the WANs: an HTB of ours at the root of an interface, whose classes keep the tunnels of a WAN apart.

:mod:`.document` reads what is wanted, :mod:`.sizes` says in numbers what that means, :mod:`.plan` compares it with what
:mod:`.netlink` has found, and :mod:`.repair` does what differs. docs/shaper.md says why.
"""
