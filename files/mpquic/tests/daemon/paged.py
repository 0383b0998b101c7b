# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's service as its unit runs it, and a site that is only told of: real sockets and a real history."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import yaml
from mpquic.host.history.changes import Event
from mpquic.host.history.figures import Minute, Series
from mpquic.host.history.store import Store
from mpquic.io.control import ControlServer
from mpquic.page import password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The host that it runs on.
HOST = "client1"
PASSWORD = "correct horse battery"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def paging(
    folder: Path, run_dir: Path, *, history: Path, instances: Path, classes: Path | None = None
) -> Iterator[str]:
    """Run ``mpquic page serve`` on a port of its own; yield its address, with user and password."""
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "password").touch(0o600)
    (secrets / "password").write_text(password.Hash.of(PASSWORD).line())
    port = free_port()
    line = ["unshare", "--uts", "sh", "-c", f'hostname {HOST} && exec "$@"', "sh", sys.executable, "-m", "mpquic"]
    line += ["page", "serve", "--secrets", secrets, "--listen", f"127.0.0.1:{port}"]
    line += ["--run-dir", run_dir, "--instances", instances, "--history", history]
    line += ["--classes", folder / "none.yaml"]
    with subprocess.Popen([*map(str, line)]) as process:
        try:
            _answering(port)
            yield f"http://mpquic:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}"
        finally:
            process.terminate()
            assert process.wait(30) == 0


def _answering(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


# --- a site that is only told of ------------------------------------------------------------------------------------


def _end(state: str = "up", **more: Any) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(("rtt_total_s", "queue_age_s"), 0.0)
    figures |= dict.fromkeys(("acknowledged", "judged", "queue_packets", "queue_bytes", "key_updates"), 0)
    return {
        "state": state,
        "reason": "connected" if state == "up" else "no answer",
        "since_s": 11560.0,
        "session": "0badcafe",
        "connects": 1,
        "remote": "203.0.113.10:45001",
        "rtt_ms": 23.4,
        "tx_packets": 1000,
        "rx_packets": 1000,
        "tx_bytes": 10_000,
        "rx_bytes": 10_000,
        "drops": {},
        "mtu": 1441,
        "last_fault": None,
        "figures": figures | {"rtt_counts": [0] * 13},
        **more,
    }


def _recent(tx: int, rx: int, rtt: float | None = 23.0, loss: float | None = 0.0) -> dict[str, Any]:
    measured = {"loss": loss, "judged": 400, "rtt_ms": rtt, "rtt_best_ms": 22.0, "datagram_best": None}
    return {"tx_bps": tx, "rx_bps": rx} | measured


def _path(number: int, state: str, **more: Any) -> dict[str, Any]:
    base = {"name": f"wan{number}", "number": number, "priority": 10, "weight": 1, "bind": f"if:enp7s{number + 2}"}
    lost = {
        "loss": 0.0,
        "peer_loss": 0.0,
        "peer_state": state,
        "rate_bps": None,
        "held_to_bps": None,
        "tx_err": 0,
        "rx_err": 0,
        "consecutive_fails": 0,
    }
    times = {"switches": 0, "last_up": None, "last_down": None, "local": f"198.51.100.{number}:40000"}
    return _end(state) | base | lost | times | more


def _class(name: str, policy: str, tx: int, rx: int) -> dict[str, Any]:
    counts = dict.fromkeys(("tx_packets", "tx_bytes", "tx_err", "tx_dups", "rx_packets", "rx_dups"), 0)
    return {"name": name, "policy": policy, "paths": [], "recent": {"tx_bps": tx, "rx_bps": rx}} | counts


def _client(name: str, **more: Any) -> dict[str, Any]:
    return _end() | {"role": "client", "tun": f"mpq{name}", "version": "0.1.0", "bind": None} | more


def example() -> dict[str, dict[str, Any]]:
    """Return a client with a tunnel over three WANs, of which one is down and one loses packets, and others."""
    gone = _path(2, "down", since_s=42.0, rtt_ms=None, recent=None, remote="203.0.113.10:45017")
    lossy = _path(3, "lossy", since_s=310.0, rtt_ms=611.0, loss=0.083, recent=_recent(410_000, 2_200_000, 640.0))
    lossy |= {"reason": "8 % of the packets are lost"}
    fine = _path(1, "up", recent=_recent(3_900_000, 18_400_000), last_fault={"reason": "no answer", "ago_s": 9e3})
    classes = [
        _class("voice", "priority, copies", 88_000, 91_000),
        _class("default", "balanced", 4_222_000, 20_509_000),
    ]
    several = {"paths": [fine, gone, lossy], "classes": classes, "reorder": {}}
    return {
        "1": _client("1", bind="if:enp7s6", recent=_recent(12_000, 1_250_000)),
        "2": _client("2", bind="if:enp7s7", recent=_recent(0, 0), rtt_ms=38.2),
        "mp1": _client("mp1", recent={"tx_bps": 4_310_000, "rx_bps": 20_600_000}) | several,
    }


_LANS = {"1": ("enp6s20", "172.16.1.0/30"), "2": ("enp6s21", "172.16.2.0/30"), "mp1": ("enp6s22", "172.16.3.0/24")}


class Told:
    """Instances that answer in a thread; what they say is in ``answers``."""

    def __init__(self, folder: Path) -> None:
        self.run_dir, self.instances, self.history = folder / "run", folder / "instances", folder / "history.db"
        self.answers = example()
        for place in (self.run_dir, self.instances):
            place.mkdir()
        for name, (interface, cidr) in _LANS.items():
            lan = {"lan_routing": {"interface": interface, "cidrs": [cidr]}}
            (self.instances / f"{name}.yaml").write_text(yaml.safe_dump(lan))
        _remember(self.history)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._servers = [self._answer(name) for name in self.answers]

    def _answer(self, name: str) -> ControlServer:
        (self.run_dir / name).mkdir()
        server = ControlServer(self.run_dir / name / "control.sock", {"status": lambda: self.answers[name]})
        asyncio.run_coroutine_threadsafe(server.start(), self._loop).result(5)
        return server

    def close(self) -> None:
        for server in self._servers:
            self._loop.call_soon_threadsafe(server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


def _remember(file: Path) -> None:
    """Make a day of history, with an outage of each WAN."""
    now = time.time()
    minute = int(now // 60)
    with contextlib.closing(Store(file)) as store, store.transaction() as connection:
        figures = []
        for name, path in [("1", ""), ("2", ""), ("mp1", ""), ("mp1", "wan1"), ("mp1", "wan2"), ("mp1", "wan3")]:
            for ago in range(1, 1300, 5):
                load = 1 + math.sin(ago / 230 + len(path) + ord(name[-1]))
                series = Series(name, "", "path" if path else "tunnel", path)
                found = Minute(series, minute - ago, [int(load * 4e6), int(load * 2e7), 100, 100], rtts=[20 + 9 * load])
                down = path == "wan2" and (ago < 15 or 400 < ago < 460)
                doubt = (path == "wan3" and ago < 40) or (path == "wan1" and 148 < ago < 152)
                found.losses.append(0.07 if doubt else 0.0)
                found.up_s, found.down_s, found.doubt_s = (0 if down or doubt else 60), 60 * down, 60 * doubt
                figures.append(found)
        events = [
            Event(now - 27600, "path_down", "down", "no answer", "mp1", "", "wan2"),
            Event(now - 24000, "path_up", "up", "connected", "mp1", "", "wan2"),
            Event(now - 9000, "path_doubt", "suspect", "no acknowledgement for 0.4 s", "mp1", "", "wan1"),
            Event(now - 8990, "path_up", "up", "connected", "mp1", "", "wan1"),
            Event(now - 4000, "drift", "rule of tunnel 2 put back", "it was taken away"),
            Event(now - 310, "path_doubt", "lossy", "8 % of the packets are lost", "mp1", "", "wan3"),
            Event(now - 42, "path_down", "down", "no answer", "mp1", "", "wan2"),
        ]
        store.add(connection, figures, events)
