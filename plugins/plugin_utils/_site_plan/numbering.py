# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The numbers a tunnel has when the operator gives nothing but its id."""

from __future__ import annotations

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork

# 10.200.i.0/30 and 172.16.i.0/30 leave one octet for the id.
IDS = range(1, 256)
# 10.200.(10n).0/24 leaves one octet for ten times the id.
LINK_IDS = range(1, 26)
# 10.200.(16+n).0/30 leaves room for more; the ids of tunnels with one WAN go on behind them.
MULTIPATH_IDS = range(1, 65)
# A mark has four bits for 1 + the number of a class, a link eight rule priorities.
CLASS_NUMBERS = range(8)
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


def tun_network6(number: int) -> IPNetwork:
    """Return the same for IPv6; the number stands there in decimal digits, to be read, not counted."""
    return IPNetwork(f"fd6d:7071:0:{number}::/126")


def link_port(number: int) -> int:
    """Return the UDP port at which all classes of a link arrive on the VPS."""
    return 45000 + 10 * number


def link_tun_name(number: int) -> str:
    """Return the name of the one TUN device that a link has on the VPS."""
    return f"mt{number}"


def link_network(number: int) -> IPNetwork:
    """Return the network of a link's TUN devices."""
    return IPNetwork(f"10.200.{10 * number}.0/24")


def link_network6(number: int) -> IPNetwork:
    """Return the same for IPv6, the number in decimal digits."""
    return IPNetwork(f"fd6d:7071:{10 * number}::/64")


def class_table(link: int, number: int) -> int:
    """Return the routing table of a class on its client."""
    return 46000 + 16 * link + number


def class_priority(link: int, number: int) -> int:
    """Return the priority of a class's rules on its client; before those of tunnels without classes."""
    return 200 + 8 * (link - 1) + number


def class_mark(link: int, number: int) -> int:
    """Return the mark of a class's packets, under the mask 0x0fff0000."""
    return (link << 4 | number + 1) << 16


def shaper_minor(link: int) -> int:
    """Return the minor number of a link's inner class in tc; its classes follow it."""
    return 0x100 * link


def class_minor(link: int, number: int) -> int:
    """Return the minor number of a class in tc."""
    return shaper_minor(link) + number + 1


def rest_minor(link: int) -> int:
    """Return the minor number in tc of what is in no class of a link."""
    return shaper_minor(link) + 0xFF


def multipath_port(number: int) -> int:
    """Return the UDP port of a tunnel over several WANs on its VPS."""
    return 45016 + number


def multipath_table(number: int) -> int:
    """Return its routing table on its client."""
    return 47000 + number


def multipath_priority(number: int) -> int:
    """Return the priority of its rule on its client; after those of classes, before those of tunnels with one WAN."""
    return 400 + number


def multipath_tun_name(number: int) -> str:
    """Return the name of its TUN device, the same on both ends, and of its instances."""
    return f"mp{number}"


def multipath_network(number: int) -> IPNetwork:
    """Return the network between its two TUN devices."""
    return IPNetwork(f"10.200.{16 + number}.0/30")


def multipath_network6(number: int) -> IPNetwork:
    """Return the same for IPv6, the number in decimal digits."""
    return IPNetwork(f"fd6d:7071:1:{number}::/126")
