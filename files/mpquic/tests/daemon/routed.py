# SPDX-License-Identifier: GPL-3.0-or-later
"""A WAN with a router in the middle, whose path MTU changes without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from wan import ADDRESS, OTHER, TUN, Wan, sh, until

if TYPE_CHECKING:
    from typing import Self

#: Inner MTU on a path of 1500 bytes.
CEILING = 1441
#: Bytes around an inner packet: IPv4 20, UDP 8, QUIC 30, context 1.
AROUND = 59
FAR = {"client": "10.98.9.1", "server": "10.97.9.2"}
FAR6 = {"client": "fd00:98::1", "server": "fd00:97::2"}
NEAR6 = {"client": "fd00:98::fe", "server": "fd00:97::fe"}
NEAR = {"client": "10.98.9.254", "server": "10.97.9.254"}

#: Takes a stream and writes down when how much of it had arrived.
_SINK = """
import socket, sys, time
server = socket.create_server((sys.argv[1], 8000))
print("ready", flush=True)
sock, total = server.accept()[0], 0
while data := sock.recv(65536):
    total += len(data)
    print(time.monotonic(), total, flush=True)
"""
_SOURCE = """
import socket, sys
sock = socket.create_connection((sys.argv[1], 8000), 10)
while True:
    sock.sendall(bytes(65536))
"""


class RoutedWan(Wan):
    """Client and server behind a router; the daemons may set the MTU of their TUN."""

    def __init__(self) -> None:
        super().__init__()
        self.router = f"mqd{os.getpid()}r"
        self.near = {role: f"mqr{role[0]}{os.getpid()}"[:15] for role in ADDRESS}
        self.capabilities = ["dac_read_search", "net_admin"]

    def make(self) -> None:
        sh(f"ip netns add {self.router}")
        super().make()
        for role in ADDRESS:
            self.ip(role, f"link set {TUN} mtu {CEILING}")
        self.configure("client", remote_addr=FAR["server"], tun_mtu=CEILING)
        self.configure("server", bind_ip=FAR["server"], tun_mtu=CEILING)
        # The router says nothing when a packet is too big.
        rules = "table ip quiet { chain o { type filter hook output priority 0; icmp type 3 drop; }; }"
        self.in_router(["nft", rules])

    def join(self) -> None:
        for role in ADDRESS:
            sh(
                f"ip link add {self.veth[role]} netns {self.ns[role]} type veth peer name {self.near[role]}"
                f" netns {self.router}"
            )
            self.ip(role, f"addr add {FAR[role]}/24 dev {self.veth[role]}")
            self.ip(role, f"link set {self.veth[role]} up")
            sh(f"ip -n {self.router} addr add {NEAR[role]}/24 dev {self.near[role]}")
            sh(f"ip -n {self.router} link set {self.near[role]} up")
            self.ip(role, f"route add default via {NEAR[role]}")
            self.ip(role, f"addr add {FAR6[role]}/64 dev {self.veth[role]} nodad")
            sh(f"ip -n {self.router} addr add {NEAR6[role]}/64 dev {self.near[role]} nodad")
            self.ip(role, f"route add default via {NEAR6[role]}")
        self.in_router(["sysctl", "-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])

    def in_router(self, command: list[str]) -> None:
        subprocess.run(["ip", "netns", "exec", self.router, *command], check=True, timeout=20, capture_output=True)

    def narrow(self, mtu: int, *roles: str) -> None:
        """Set the path MTU towards these ends, towards both if none is given."""
        for role in roles or ADDRESS:
            sh(f"ip -n {self.router} link set {self.near[role]} mtu {mtu}")

    def tun_mtu(self, role: str) -> int:
        shown = sh(f"ip -n {self.ns[role]} -j link show {TUN}").stdout
        mtu: int = json.loads(shown)[0]["mtu"]
        return mtu

    def full_ping(self, role: str, mtu: int, extra: str = "-c 1 -W 1") -> bool:
        return self.ping(role, f"{extra} -M do -s {mtu - 28}")

    def close(self) -> None:
        super().close()
        sh(f"ip netns del {self.router}", check=False)


class Stream:
    """An endless TCP stream through the tunnel; use as a context manager."""

    def __init__(self, wan: RoutedWan, source: str) -> None:
        self._wan = wan
        self._source = source
        self._log = wan.folder / "stream"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._log.write_bytes(b"")
        self._start(OTHER[self._source], _SINK)
        until(lambda: "ready" in self._log.read_text(), 10)
        self._start(self._source, _SOURCE)
        until(lambda: self.arrivals(0) > 0, 10)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)

    def arrivals(self, since: float) -> int:
        """Return how many reads of the sink brought something after ``since`` (seconds, monotonic)."""
        lines = self._log.read_text().rpartition("\n")[0].splitlines()[1:]
        return sum(float(line.split()[0]) > since for line in lines[-100:])

    def _start(self, role: str, script: str) -> None:
        line = ["ip", "netns", "exec", self._wan.ns[role], sys.executable, "-c", script]
        with self._log.open("ab") as log:
            self._processes.append(subprocess.Popen([*line, ADDRESS[OTHER[self._source]]], stdout=log, stderr=log))
