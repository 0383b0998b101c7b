# SPDX-License-Identifier: GPL-3.0-or-later
"""This project's own daemon, as its unit starts it."""

from __future__ import annotations

import contextlib
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from tests.bench.errors import BenchError, UnavailableError
from tests.bench.peers.base import MTU, Peer, Tunnel, carried, inner
from tests.bench.shell import Process, inside, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.wires import Ends

_COMMAND = (sys.executable, "-m", "mpquic")


class Mpquic(Peer):
    """One level 1 tunnel: client and server."""

    name = "mpquic"
    label = "mpquic"
    #: What must carry packets at both ends: the native library, or pure Python.
    plane = "native"

    def __init__(self, log_level: str = "error") -> None:
        """Log lines of ``log_level`` and above."""
        self._log_level = log_level

    def version(self) -> str:
        """Ask the package."""
        return run(*_COMMAND, "--version").split()[-1]

    @contextlib.contextmanager
    def tunnel(self, ends: Ends, where: Path, number: int = 1, rate: str | None = None) -> Iterator[Tunnel]:
        """Run ``mpquic tun ensure`` and ``mpquic run`` at both ends."""
        server_files, server_pin = _identity(where / "identity-server")
        client_files, client_pin = _identity(where / "identity-client")
        device, port = f"mpq{number}", ends.port + number - 1
        tunnel = Tunnel(ends, *inner(number))
        common: dict[str, Any] = {
            "tun_name": device,
            "tun_mtu": MTU,
            "log_level": self._log_level,
        }
        if rate is not None:
            common["rate"] = rate
        if self.plane == "python":
            common["native"] = "off"
        server: dict[str, Any] = {
            "role": "server",
            "bind_ip": ends.server_address,
            "remote_port": port,
            "tun_cidr": f"{tunnel.server_inner}/30",
            "peers": [{"name": "client", "pins": [client_pin], "allowed": [f"{tunnel.client_inner}/32"]}],
            **server_files,
        }
        client: dict[str, Any] = {
            "role": "client",
            "tun_cidr": f"{tunnel.client_inner}/30",
            "tls_server_pin": server_pin,
            **client_files,
            **self._way(ends, port),
        }
        with contextlib.ExitStack() as stack:
            makers = []
            for namespace, config in ((ends.server, server), (ends.client, client)):
                path = where / f"{config['role']}{number}.yaml"
                path.write_text(yaml.safe_dump(common | config))
                control = self.control(where, config["role"], number)
                control.parent.mkdir(parents=True, exist_ok=True)
                words = ("--name", device, "--cidr", config["tun_cidr"], "--mtu", str(MTU))
                run(*inside(namespace, *_COMMAND, "tun", "ensure", *words))
                stack.callback(run, "ip", "-n", namespace, "link", "delete", device)
                command = inside(namespace, *_COMMAND, "run", "--config", path, "--control", control)
                log = path.with_suffix(".log")
                makers.append(partial(Process, f"mpquic {log.stem}", command, log))
            running = stack.enter_context(carried(tunnel, *makers))
            self._expect_plane(where, number)
            yield running

    def _expect_plane(self, where: Path, number: int) -> None:
        """Raise BenchError when packets are carried by something else than the table says."""
        for role in ("server", "client"):
            status = self.status(where, role, number)
            if status.get("dataplane") != self.plane:
                raise BenchError(f"{role}: {status.get('dataplane_reason') or 'not native'}: run make native")

    def _way(self, ends: Ends, port: int) -> dict[str, Any]:
        """Return how the client gets to the server."""
        return {"bind_ip": ends.client_address, "remote_addr": ends.remote, "remote_port": port}

    @staticmethod
    def control(where: Path, role: str, number: int) -> Path:
        """Return the control socket of an end."""
        return where / "run" / f"{role}{number}" / "control.sock"

    def status(self, where: Path, role: str, number: int = 1) -> dict[str, Any]:
        """Return what ``mpquic status --json`` says of an end."""
        instance = self.control(where, role, number).parent
        answer = json.loads(run(*_COMMAND, "status", instance.name, "--run-dir", instance.parent, "--json"))
        status: dict[str, Any] = answer["instances"][0]
        return status


class MpquicPaths(Mpquic):
    """The same with two paths, of which one stream uses one: what level 3 costs. Both cross the one wire there is."""

    name = "mpquic-paths"
    label = "mpquic, two paths"

    def _way(self, ends: Ends, port: int) -> dict[str, Any]:
        """Return two paths of equal rank."""
        way = super()._way(ends, port)
        paths = [{"name": name, **way} for name in ("one", "two")]
        return {"multipath_enabled": True, "multipath_paths": paths}


class MpquicPython(Mpquic):
    """The same without the native library: the reference, and what a host without the library has."""

    name = "mpquic-python"
    label = "mpquic, pure Python"
    plane = "python"


def _identity(folder: Path) -> tuple[dict[str, str], str]:
    """Return what an end's configuration says about its key, and the pin that the other end knows it by."""
    made = json.loads(run(*_COMMAND, "identity", "ensure", "--dir", folder, "--owner", "root", "--json"))
    return {"tls_cert_file": str(folder / "cert.pem"), "tls_key_file": str(folder / "key.pem")}, made["fingerprint"]


def expect_rate(where: Path, rate: str) -> None:
    """Raise UnavailableError when this daemon does not know the key ``rate``."""
    path = where / "rate.yaml"
    config = {"role": "server", "bind_ip": "0.0.0.0", "remote_port": 45001, "tun_name": "mpq1", "rate": rate}
    path.write_text(yaml.safe_dump(config))
    try:
        run(*_COMMAND, "check-config", path, "--json")
    except BenchError as error:
        # The file lacks other keys, and the daemon names every fault.
        if "rate: unknown key" in str(error):
            raise UnavailableError("this daemon has no key rate") from error
