# SPDX-License-Identifier: GPL-3.0-or-later
"""Our daemon in a network namespace, and in another a foreign peer without a TUN, which makes its packets itself."""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml
from foreign import HERE, Program
from wan import ADDRESS, OUTER, PORT, TUN, Wan, sh

#: What the client has: its TUN's address, and the networks behind it.
OWN = ["10.200.9.1/32", "172.16.9.0/30", "fd00:9::/64"]
CLIENT, CLIENT_LAN, CLIENT_6 = "10.200.9.1", "172.16.9.2", "fd00:9::2"
#: The server's end of the tunnel, and the first port of two on which it echoes.
SERVER, SERVER_6 = ADDRESS["server"], "fd00:9:1::1"
ECHO_PORT = 7007
#: Largest inner packet that every stack can take.
TUN_MTU = 1216
#: Addresses of strangers on the client's side.
STRANGERS = ["10.98.9.101", "10.98.9.102"]


class World(Wan):
    """The wire, our end, and programs that stand in for the other end."""

    def __init__(self) -> None:
        """Make nothing yet."""
        super().__init__()
        self.server_pin = ""

    def identify(self, role: str) -> str:
        """Note the server's pin."""
        pin = super().identify(role)
        if role == "server":
            self.server_pin = pin
        return pin

    def make(self) -> None:
        """Lay the wire; addresses of both families at the server's end of the tunnel."""
        super().make()
        for address in STRANGERS:
            self.ip("client", f"addr add {address}/24 dev {self.veth['client']}")
        # The device keeps an MTU that IPv6 can live with; it is the daemon that makes no larger datagrams.
        self.configure("server", tun_mtu=TUN_MTU)
        self.ip("server", f"addr add {SERVER_6}/128 dev {TUN} nodad")
        for prefix in OWN[1:]:
            self.ip("server", f"route add {prefix} dev {TUN}")

    def reconfigure(self, role: str, *, without: tuple[str, ...] = (), **keys: Any) -> None:
        """Set keys of a daemon's file, and take others out."""
        path = self.configure(role, **keys)
        left = {key: value for key, value in yaml.safe_load(path.read_text()).items() if key not in without}
        path.write_text(yaml.safe_dump(left))

    def run_peer(self, role: str, command: tuple[str, ...], address: str, plan: object) -> Program:
        """Run a foreign peer in the namespace of ``role``; ``plan`` is its last argument."""
        argument = plan if isinstance(plan, str) else json.dumps(plan)
        return Program(["ip", "netns", "exec", self.ns[role], *command, address, argument])

    def echo_service(self) -> Program:
        """Run two UDP echo services behind our server; the report says how many packets each got."""
        line = [sys.executable, str(HERE / "echo.py"), str(ECHO_PORT), str(ECHO_PORT + 1)]
        program = Program(["ip", "netns", "exec", self.ns["server"], *line])
        assert program.said() == {"ready": True}
        return program

    def knock(self, count: int, *sources: str) -> None:
        """Begin ``count`` handshakes from each source and never go on."""
        line = [sys.executable, str(HERE / "knock.py"), OUTER["server"], str(PORT), str(count), *sources]
        sh(" ".join(["ip", "netns", "exec", self.ns["client"], *line]))
