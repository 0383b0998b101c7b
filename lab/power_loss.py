# SPDX-License-Identifier: GPL-3.0-or-later
"""Take from a machine's network what goes with its power; run in its network namespace, with its NICs as arguments.

A machine without power has no links, rules, routes, addresses, TUN devices, nft tables or connections. Here they are in
a network namespace, which outlives the machine and would go on to forward packets.
"""

import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
NETLINK_NETFILTER = 12
NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_DELETE = 2
NLM_F_REQUEST_ACK = 5

SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/src_valid_mark": "0",
    "net/ipv6/conf/all/forwarding": "0",
}


def ip(*argv: str) -> None:
    """Run an ip command; what is not there need not go."""
    subprocess.run(["ip", *argv], stderr=subprocess.DEVNULL, check=False)


def flush_connections() -> None:
    """Forget every tracked connection: a delete without a filter."""
    message = struct.pack(
        "=IHHIIBBH",
        20,
        NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
        NLM_F_REQUEST_ACK,
        1,
        0,
        socket.AF_INET,
        0,
        0,
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.send(message)
        netlink.recv(4096)


def main(nics: list[str]) -> int:
    """Leave nothing but the NICs, off."""
    if Path("/proc/self/ns/net").readlink() == Path(f"/proc/{os.getppid()}/ns/net").readlink():
        print("power_loss: expected to be in a network namespace of its own, not in the caller's", file=sys.stderr)
        return 1
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    found = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
    for name in (link["ifname"] for link in found if link["ifname"] != "lo"):
        if name in nics:
            ip("address", "flush", "dev", name)
            ip("link", "set", name, "down", "mtu", "1500")
        else:
            ip("link", "delete", name)
    for family in ("-4", "-6"):
        ip(family, "rule", "flush")
        ip(family, "route", "flush", "table", "all")
        # As the kernel makes them: systemd-networkd deletes rules of an unknown origin.
        ip(family, "rule", "add", "priority", "32766", "lookup", "main", "protocol", "kernel")
    ip("-4", "rule", "add", "priority", "32767", "lookup", "default", "protocol", "kernel")
    ip("link", "set", "lo", "down")
    ip("link", "set", "lo", "up")
    for key, value in SYSCTLS.items():
        with suppress(OSError):  # a kernel without IPv6
            Path("/proc/sys", key).write_text(value)
    flush_connections()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
