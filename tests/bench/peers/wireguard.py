# SPDX-License-Identifier: GPL-3.0-or-later
"""wireguard-go, the WireGuard in userspace: Debian 12's, and Debian 13's, which uses the kernel's offloads."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.leftovers import WIREGUARD, device
from tests.bench.peers import debian13
from tests.bench.peers.base import MTU, Peer, Tunnel, carried, inner
from tests.bench.shell import Process, inside, run, started, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.bench.wires import Ends

#: It refuses, or warns, where the kernel could do the same.
_ENV = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"}


class WireguardGo(Peer):
    """Debian 12's package."""

    name = "wireguard-go"
    label = "wireguard-go, Debian 12"
    package = "wireguard-go"

    def program(self) -> Path:
        """Return the program to run."""
        return Path("/usr/bin/wireguard-go")

    @contextlib.contextmanager
    def tunnel(self, ends: Ends, where: Path, number: int = 1, rate: str | None = None) -> Iterator[Tunnel]:
        """Run both ends; it has no use for ``rate``."""
        tunnel = Tunnel(ends, *inner(number))
        keys = {role: run("wg", "genkey").strip() for role in ("server", "client")}
        devices = {role: device(role, number) for role in keys}
        namespaces = {"server": ends.server, "client": ends.client}

        def make(role: str) -> Process:
            words = (self.program(), "-f", devices[role])
            log = where / f"{self.name}-{role}.log"
            return Process(f"{self.name} {role}", inside(namespaces[role], *words), log, _ENV)

        with _sockets(devices.values()), started(lambda: make("server"), lambda: make("client")) as processes:
            for role, process in zip(("server", "client"), processes, strict=True):

                def listens(process: Process = process, role: str = role) -> bool:
                    process.expect_alive()
                    return (WIREGUARD / f"{devices[role]}.sock").exists()

                wait_until(listens, 10, f"{process.name}: does not listen for wg")
            _configure(tunnel, keys, devices, where)
            tunnel.processes = processes
            with carried(tunnel):
                yield tunnel


class WireguardGo13(WireguardGo):
    """The program out of Debian 13's package, run on this machine."""

    name = "wireguard-go-13"
    label = "wireguard-go, Debian 13"
    package = ""

    def prepare(self) -> None:
        """Fetch it, once."""
        debian13.fetch()

    def version(self) -> str:
        """Return the version of the package that the program came from."""
        return debian13.version()

    def program(self) -> Path:
        """Return the program to run."""
        return debian13.PROGRAM


def _configure(tunnel: Tunnel, keys: dict[str, str], devices: dict[str, str], where: Path) -> None:
    ends = tunnel.ends
    public = {
        role: subprocess.run(["wg", "pubkey"], input=key, capture_output=True, text=True, check=True).stdout.strip()
        for role, key in keys.items()
    }
    for role, peer, namespace, mine, theirs, outside in (
        ("server", "client", ends.server, tunnel.server_inner, tunnel.client_inner, ("listen-port", str(ends.port))),
        ("client", "server", ends.client, tunnel.client_inner, tunnel.server_inner, ()),
    ):
        path = where / f"wg-{role}.key"
        path.touch(0o600)
        path.write_text(keys[role])
        endpoint = ("endpoint", f"{ends.remote}:{ends.port}") if role == "client" else ()
        words = ("private-key", path, *outside, "peer", public[peer], "allowed-ips", f"{theirs}/32", *endpoint)
        run(*inside(namespace, "wg", "set", devices[role], *words))
        run("ip", "-n", namespace, "address", "add", f"{mine}/30", "dev", devices[role])
        run("ip", "-n", namespace, "link", "set", devices[role], "mtu", str(MTU), "up")


@contextlib.contextmanager
def _sockets(devices: Iterable[str]) -> Iterator[None]:
    """Leave the directory of the sockets as it was, also after a crash."""
    was_there = WIREGUARD.exists()
    try:
        yield
    finally:
        for name in devices:
            (WIREGUARD / f"{name}.sock").unlink(missing_ok=True)
        if not was_there:
            with contextlib.suppress(OSError):
                WIREGUARD.rmdir()
