# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemons of one tunnel over several WANs, from this checkout, as their units start them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import yaml

from tests.bench.errors import BenchError
from tests.bench.shell import Process, inside, run, wait_until
from tests.trials.net import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.trials.net import Net

PORT = 45017
TUN = "mp1"
INNER = {"client": "10.200.17.1", "server": "10.200.17.2"}
ROLES = ("client", "server")
_COMMAND = (sys.executable, "-m", "mpquic")


class Ends:
    """Client and server of one tunnel."""

    def __init__(self, net: Net, folder: Path) -> None:
        """Write the configuration of both; the client's has one path for each WAN, ``wan1`` and so on."""
        self.net = net
        self.folder = folder
        self.processes: dict[str, Process] = {}
        self.namespace = {"client": net.client, "server": net.server}
        self._starts = 0
        pins = {role: self._identity(role) for role in ROLES}
        common = {"tun_name": TUN, "tun_mtu": 1300, "log_level": "info", "telemetry_interval": 0}
        self.config: dict[str, dict[str, Any]] = {
            "server": {
                **common,
                **self._files("server"),
                "role": "server",
                "bind_ip": SERVER,
                "remote_port": PORT,
                "tun_cidr": f"{INNER['server']}/30",
                "peers": [{"name": "client", "pins": [pins["client"]], "allowed": [f"{INNER['client']}/32"]}],
            },
            "client": {
                **common,
                **self._files("client"),
                "role": "client",
                "tun_cidr": f"{INNER['client']}/30",
                "tls_server_pin": pins["server"],
                "multipath_enabled": True,
                "multipath_paths": [self.path(isp.number) for isp in net.isps],
            },
        }

    @staticmethod
    def path(number: int, **keys: Any) -> dict[str, Any]:
        """Return the path of a WAN."""
        return {"name": f"wan{number}", "bind_ip": f"if:w{number}", "remote_addr": SERVER, "remote_port": PORT, **keys}

    def set_paths(self, **keys: list[Any]) -> None:
        """Give all paths some keys: a list has a value for each of them."""
        for key, values in keys.items():
            for path, value in zip(self.config["client"]["multipath_paths"], values, strict=True):
                path[key] = value

    def _files(self, role: str) -> dict[str, str]:
        folder = self.folder / f"identity-{role}"
        return {"tls_cert_file": str(folder / "cert.pem"), "tls_key_file": str(folder / "key.pem")}

    def _identity(self, role: str) -> str:
        folder = self.folder / f"identity-{role}"
        made = json.loads(run(*_COMMAND, "identity", "ensure", "--dir", folder, "--owner", "root", "--json"))
        pin: str = made["fingerprint"]
        return pin

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, *roles: str) -> None:
        """Start daemons, both if none is named."""
        for role in roles or ("server", "client"):
            path = self.write(role)
            words = ("--name", TUN, "--cidr", self.config[role]["tun_cidr"], "--mtu", "1300")
            run(*inside(self.namespace[role], *_COMMAND, "tun", "ensure", *words))
            control = self._control(role)
            control.parent.mkdir(parents=True, exist_ok=True)
            command = inside(self.namespace[role], *_COMMAND, "run", "--config", path, "--control", control)
            self._starts += 1
            self.processes[role] = Process(f"mpquic {role}", command, self.folder / f"{role}-{self._starts}.log")

    def write(self, role: str) -> Path:
        """Write the configuration of an end."""
        path = self.folder / f"{role}.yaml"
        path.write_text(yaml.safe_dump(self.config[role], sort_keys=False))
        return path

    def reload(self, role: str) -> None:
        """Let a daemon read its configuration anew."""
        self.write(role)
        os.kill(self.processes[role].pid, signal.SIGHUP)

    def kill(self, role: str) -> None:
        """End a daemon without a word."""
        process = self.processes.pop(role)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)

    def stop(self) -> None:
        """End both."""
        for process in self.processes.values():
            process.stop()
        self.processes.clear()

    def log(self, role: str) -> str:
        """Return what the last daemon of an end has logged."""
        return self.processes[role].output()

    # --- what they say ----------------------------------------------------------------------------------------------

    def _control(self, role: str) -> Path:
        return self.folder / "run" / role / "control.sock"

    def status(self, role: str) -> dict[str, Any]:
        """Return what an end says of itself, of the client if it is a server; empty while nobody answers."""
        from mpquic.io.control import ask  # noqa: PLC0415 - this folder's own code needs no daemon

        try:
            found: dict[str, Any] = ask(self._control(role), "status")
        except OSError:
            return {}
        if role == "server":
            peers = found.get("peers") or [{}]
            return {**found, **peers[0]}
        return found

    def paths(self, role: str) -> dict[str, dict[str, Any]]:
        """Return what an end says of its paths, by their names."""
        return {path["name"]: path for path in self.status(role).get("paths", ())}

    def states(self, role: str) -> dict[str, str]:
        """Return the state of each path."""
        return {name: path["state"] for name, path in self.paths(role).items()}

    def all_up(self, *numbers: int) -> bool:
        """Tell whether both ends call these paths up, or all paths."""
        names = [f"wan{number}" for number in numbers or range(1, len(self.net.isps) + 1)]
        for role in ROLES:
            states = self.states(role)
            if any(states.get(name) != "up" for name in names):
                return False
        return True

    def wait_up(self, *numbers: int, seconds: float = 15.0) -> float:
        """Wait until both ends call these paths up, or all; return how long it took (s)."""
        begin = time.monotonic()
        wait_until(
            lambda: self.all_up(*numbers), seconds, lambda: f"not all paths up within {seconds:g} s: {self.tell()}"
        )
        return time.monotonic() - begin

    def tell(self) -> str:
        """Return both ends' states and the ends of their logs."""
        said = {role: self.states(role) or self.status(role).get("state") for role in ROLES}
        logs = {role: process.output()[-1500:] for role, process in self.processes.items()}
        return f"{said}\n" + "\n".join(f"--- {role}\n{text}" for role, text in logs.items())

    def expect_alive(self) -> None:
        """Raise BenchError when a daemon has ended."""
        for process in self.processes.values():
            process.expect_alive()


@contextlib.contextmanager
def tunnel(net: Net, folder: Path) -> Iterator[Ends]:
    """Prepare a tunnel; whatever runs of it is stopped in the end."""
    ends = Ends(net, folder)
    try:
        yield ends
        ends.expect_alive()
    except BenchError as error:
        raise BenchError(f"{error}\n{ends.tell()}") from error
    finally:
        ends.stop()
