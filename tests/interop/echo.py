# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP echo on the ports of the command line, IPv4 and IPv6; at the end of standard input, how many packets each got."""

from __future__ import annotations

import json
import select
import socket
import sys


def main(ports: list[str]) -> None:
    """Serve until standard input ends."""
    sockets: dict[int, tuple[socket.socket, str]] = {}
    for port in ports:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", int(port)))
        sockets[sock.fileno()] = sock, port
    counts = dict.fromkeys(ports, 0)
    print(json.dumps({"ready": True}), flush=True)
    while True:
        for ready in select.select([*sockets, sys.stdin.fileno()], [], [])[0]:
            if ready not in sockets:
                print(json.dumps(counts), flush=True)
                return
            sock, port = sockets[ready]
            data, source = sock.recvfrom(65535)
            counts[port] += 1
            sock.sendto(data, source)


main(sys.argv[1:])
