# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host gets from what it runs to what is planned, while the other end of its tunnels is not there yet.

PRIVATE to this collection. Pure: plain data in, plain data out.

A play makes four passes: the VPS adds (``server`` with nobody settled), the clients add and switch (``client``), the
VPS switches and prunes (``server`` again), the clients prune. What is to be done is derived from what the host runs
each time, so that a play that died is finished by the next one.
"""
