# SPDX-License-Identifier: GPL-3.0-or-later
"""Half-open connections: knock.py HOST PORT COUNT SOURCE... sends so many Initials from each source and no more."""

from __future__ import annotations

import socket
import sys
import time

from mpquic.quic import ClientEndpoint, Trust


def main(host: str, port: str, count: str, sources: list[str]) -> None:
    """Send them."""
    endpoint = ClientEndpoint(trust=Trust(pins=("sha256:" + "0" * 64,)), identity=None, tun_mtu=1200)
    remote = (host, int(port))
    for source in sources:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            for _number in range(int(count)):
                for data, _to in endpoint.connect(remote, time.monotonic()).seal([], time.monotonic())[0]:
                    sock.sendto(data, remote)


main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
