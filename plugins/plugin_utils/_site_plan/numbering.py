# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The numbers a tunnel has when the operator gives nothing but its id."""

from __future__ import annotations

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork

# 10.200.i.0/30 and 172.16.i.0/30 leave one octet for the id.
IDS = range(1, 256)
# What a path of 1500 bytes carries: IPv4 20, UDP 8, QUIC 30 and one byte of ours are around each packet. The daemons
# lower it to what the path of their tunnel carries.
TUN_MTU = 1441
LOG_LEVEL = "info"


def port(number: int) -> int:
    """Return the UDP port of the tunnel on its VPS."""
    return 45000 + number


def table(number: int) -> int:
    """Return the routing table of the tunnel on its client."""
    return 45000 + number


def priority(number: int) -> int:
    """Return the priority of the tunnel's rule on its client."""
    return 500 + number


def tun_name(number: int) -> str:
    """Return the name of the TUN device, the same on both ends."""
    return f"mpq{number}"


def tun_network(number: int) -> IPNetwork:
    """Return the network between the two TUN devices: the client has its first address, the VPS its second."""
    return IPNetwork(f"10.200.{number}.0/30")


def lan_network(number: int) -> IPNetwork:
    """Return the prefix of the LAN behind the client."""
    return IPNetwork(f"172.16.{number}.0/30")
