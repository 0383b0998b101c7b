# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that reads or changes the host: TUN devices, rules, routes, the shaper, health and identity.

Readers return plain data (:mod:`mpquic.host.state`), planners are pure, and only :mod:`mpquic.host.netlink`,
:mod:`mpquic.host.shaper.netlink`, :mod:`mpquic.host.tuntap` and :mod:`mpquic.host.sysctl` touch the kernel.
"""
