# SPDX-License-Identifier: GPL-3.0-or-later
"""A client with several WANs, a router where all of them end, and a server behind it with one address."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import yaml
from wan import ADDRESS, PORT, Wan, sh, until

if TYPE_CHECKING:
    from pathlib import Path

#: The server's address, and the router's beside it.
SERVER, NEAR_SERVER = "10.97.9.2", "10.97.9.254"


class MultiWan(Wan):
    """Paths are called wan1, wan2, ...; the interface of wan1 is wans[0]."""

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.router = f"mqd{os.getpid()}r"
        self.wans = [f"mqw{number}x{os.getpid()}"[:15] for number in range(1, count + 1)]
        self.near = [f"mqn{number}x{os.getpid()}"[:15] for number in range(1, count + 1)]

    def make(self) -> None:
        sh(f"ip netns add {self.router}")
        super().make()
        self.configure("server", bind_ip=SERVER, multi_conn_enabled=False, telemetry_interval=0)
        self.write("client", {**self.configured("client"), "multipath_enabled": True, "telemetry_interval": 0})
        self.paths(*[{} for _wan in self.wans])

    def join(self) -> None:
        for number in range(1, len(self.wans) + 1):
            self.lay(number)
        near = f"mqs{os.getpid()}"[:15]
        far = f"{self.veth['server']} netns {self.ns['server']}"
        sh(f"ip link add {far} type veth peer name {near} netns {self.router}")
        self.ip("server", f"addr add {SERVER}/24 dev {self.veth['server']}")
        self.ip("server", f"link set {self.veth['server']} up")
        self.route(f"addr add {NEAR_SERVER}/24 dev {near}")
        self.route(f"link set {near} up")
        self.ip("server", f"route add default via {NEAR_SERVER}")
        forward = "sysctl -q net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
        sh(f"ip netns exec {self.router} {forward}")

    def lay(self, number: int) -> None:
        """Lay a WAN's wire, with addresses and a way to the server."""
        wan, near = self.wans[number - 1], self.near[number - 1]
        sh(f"ip link add {wan} netns {self.ns['client']} type veth peer name {near} netns {self.router}")
        self.route(f"addr add 10.98.{number}.254/24 dev {near}")
        self.route(f"link set {near} up")
        self.address(number)
        self.ip("client", f"link set {wan} up")
        self.default(number)

    def address(self, number: int, last: int = 1, action: str = "add") -> None:
        """Give the client an address in a WAN, or take it away."""
        self.ip("client", f"addr {action} 10.98.{number}.{last}/24 dev {self.wans[number - 1]}")

    def default(self, number: int, action: str = "add") -> None:
        """Let the client reach the server by a WAN, or no more."""
        way = f"default via 10.98.{number}.254 dev {self.wans[number - 1]} metric {100 + number}"
        self.ip("client", f"route {action} {way}")

    def plug(self, number: int, state: str) -> None:
        """Set the far end of a WAN's wire ``up`` or ``down``: without it there is no carrier."""
        self.route(f"link set {self.near[number - 1]} {state}")
        if state == "up":
            # The address is still there, the connected route as well; nothing else is lost with the carrier.
            until(lambda: "LOWER_UP" in sh(f"ip -n {self.ns['client']} link show {self.wans[number - 1]}").stdout, 5)

    def route(self, command: str) -> None:
        sh(f"ip -n {self.router} {command}")

    def block(self, number: int) -> None:
        """Let nothing through a WAN any more, both ways, without a word."""
        near = self.near[number - 1]
        rules = f"add table ip hole{number}; add chain ip hole{number} f {{ type filter hook forward priority 0; }}; "
        rules += f"add rule ip hole{number} f iifname {near} drop; add rule ip hole{number} f oifname {near} drop"
        self._nft(rules)

    def unblock(self, number: int) -> None:
        self._nft(f"delete table ip hole{number}")

    def _nft(self, rules: str) -> None:
        line = ["ip", "netns", "exec", self.router, "nft", rules]
        subprocess.run(line, check=True, timeout=20, capture_output=True)

    # --- configuration ----------------------------------------------------------------------------------------------

    def write(self, role: str, keys: dict[str, Any]) -> Path:
        """Make these the whole configuration of an end."""
        path = self.folder / f"{role}.yaml"
        path.write_text(yaml.safe_dump(keys))
        return path

    def paths(self, *more: dict[str, Any] | None) -> None:
        """Make the client's paths wan1, wan2, ... with these keys beside the usual; None leaves one out."""
        listed = [
            {
                "name": f"wan{number}",
                "bind_ip": f"if:{self.wans[number - 1]}",
                "remote_addr": SERVER,
                "remote_port": PORT,
            }
            | keys
            for number, keys in enumerate(more, 1)
            if keys is not None
        ]
        rest = {key: value for key, value in self.configured("client").items() if key not in _OF_ONE_PATH}
        self.write("client", {**rest, "multipath_paths": listed})

    # --- what the daemons say ---------------------------------------------------------------------------------------

    def path(self, name: str, role: str = "client") -> dict[str, Any]:
        """Return what an end says of a path, with the state ``absent`` when it does not know it."""
        status = self.status(role)
        peers = status.get("peers") or [{}]
        listed = status.get("paths", []) if role == "client" else peers[0].get("paths", [])
        found: dict[str, Any] = next((entry for entry in listed if entry["name"] == name), {"state": "absent"})
        return found

    def wait_path(self, name: str, state: str, seconds: float = 10, role: str = "client") -> float:
        """Return how long it took from when the daemon answered."""
        self.wait_started(role)
        return until(
            lambda: self.path(name, role)["state"] == state,
            seconds,
            lambda: f"{name} {state} at the {role}, but {self.path(name, role)}, log: {self.log(role)[-1500:]}",
        )

    def bring_up(self) -> None:
        """Start both ends and wait for all paths that are configured."""
        self.start("server")
        self.start("client")
        names = [entry["name"] for entry in self.configured("client")["multipath_paths"]]
        for role in ADDRESS:
            for name in names:
                self.wait_path(name, "up", role=role)

    def close(self) -> None:
        super().close()
        sh(f"ip netns del {self.router}", check=False)


_OF_ONE_PATH = {"bind_ip", "remote_addr", "remote_port"}
