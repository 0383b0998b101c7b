# SPDX-License-Identifier: GPL-3.0-or-later
"""A tunnel between two daemons, and a third network, a crowd of strangers with a way to the server."""

from __future__ import annotations

import itertools
import os
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import places
from caller import Caller
from mpquic.quic import Identity
from wan import ADDRESS, OUTER, PEER, PORT, TUN, Wan, sh

if TYPE_CHECKING:
    import socket

    from mpquic.core.types import Network

SERVER = (OUTER["server"], PORT)
#: UDP source addresses of strangers: each is theirs.
CROWD = ip_network("10.64.0.0/16")
_NEAR, _FAR = "10.96.9.2", "10.96.9.1"


class Hosts(Wan):
    """Client, server, and where everybody else comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.outside = f"mqd{os.getpid()}x"
        self.pins: dict[str, str] = {}
        self._strangers = (str(address) for address in itertools.islice(CROWD.hosts(), 256, None))
        self._sockets: list[socket.socket] = []

    def join(self) -> None:
        super().join()
        sh(f"ip netns add {self.outside}")
        one, other = f"mqx{os.getpid()}", f"mqy{os.getpid()}"
        sh(f"ip link add {one} netns {self.outside} type veth peer name {other} netns {self.ns['server']}")
        sh(f"ip -n {self.outside} addr add {_FAR}/24 dev {one}")
        for device in ("lo", one):
            sh(f"ip -n {self.outside} link set {device} up")
        self.ip("server", f"addr add {_NEAR}/24 dev {other}")
        self.ip("server", f"link set {other} up")
        self.ip("server", f"route add {CROWD} via {_FAR}")
        sh(f"ip -n {self.outside} route add {OUTER['server']} via {_NEAR}")
        sh(f"ip -n {self.outside} route add local {CROWD} dev lo")
        # What one of these sends is seen as it is on the wire, datagram by datagram.
        for namespace, device in ((self.ns["client"], self.veth["client"]), (self.outside, one)):
            sh(f"ip netns exec {namespace} ethtool -K {device} tx-udp-segmentation off")

    def make(self) -> None:
        super().make()
        self.pins["client"] = self.peers()[0]["pins"][0]

    # --- peers ------------------------------------------------------------------------------------------------------

    def know(self, name: str, *allowed: str, **limits: Any) -> None:
        """Give somebody a key, and put it into the server's list of peers."""
        if name not in self.pins:
            self.pins[name] = self.make_key(name)
        peer = {"name": name, "pins": [self.pins[name]], "allowed": list(allowed), **limits}
        self.configure("server", peers=[*(item for item in self.peers() if item["name"] != name), peer])

    def peers(self) -> list[dict[str, Any]]:
        """Return the server's list of peers."""
        listed: list[dict[str, Any]] = self.configured("server")["peers"]
        return listed

    def identity(self, name: str) -> Identity:
        """Return somebody's key; that of a stranger is made, that of an end is the one it has now."""
        if name in ADDRESS:
            files = self.configured(name)
            return Identity(Path(files["tls_cert_file"]), Path(files["tls_key_file"]))
        if name not in self.pins:
            self.pins[name] = self.make_key(name)
        return Identity(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    @property
    def server_pin(self) -> str:
        """The key that clients expect."""
        pin: str = self.configured("client")["tls_server_pin"]
        return pin

    # --- strangers --------------------------------------------------------------------------------------------------

    def stranger(self, source: str | None = None) -> socket.socket:
        """Return a UDP socket of a stranger to the server, from an address that nobody has used."""
        sock = places.udp(self.outside, (source or next(self._strangers), 0), SERVER)
        self._sockets.append(sock)
        return sock

    def caller(
        self, who: str | Identity | None, *prefixes: Network, source: str | None = None, **options: Any
    ) -> Caller:
        """Return a client that shows somebody's key, or none, and wants these prefixes."""
        identity = self.identity(who) if isinstance(who, str) else who
        return Caller(self.stranger(source), SERVER, identity, self.server_pin, prefixes, **options)

    def tap(self, role: str, device: str = TUN) -> socket.socket:
        """Listen to a device of an end."""
        sock = places.tap(self.ns[role], device)
        self._sockets.append(sock)
        return sock

    def inner(self, role: str, port: int = 0, remote: tuple[str, int] | None = None) -> socket.socket:
        """Return a UDP socket inside the tunnel."""
        sock = places.udp(self.ns[role], (ADDRESS[role], port), remote)
        self._sockets.append(sock)
        return sock

    # --- what the server says ---------------------------------------------------------------------------------------

    def peer(self, name: str = PEER) -> dict[str, Any]:
        """Return what the server's status says of a peer."""
        return next(item for item in self.status("server")["peers"] if item["name"] == name)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        super().close()
        sh(f"ip netns del {self.outside}", check=False)
