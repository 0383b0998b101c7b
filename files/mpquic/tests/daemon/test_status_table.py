# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``mpquic status`` shows of a server with many peers: real sockets, tunnels that are only told of."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.cli import status
from mpquic.io.control import ControlServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PEER: dict[str, Any] = {
    "address": "10.200.10.5",
    "allowed": ["10.200.10.5/32"],
    "shared": [],
    "outer_dscp": 0,
    "connects": 1,
    "key": None,
    "tx_packets": 1000,
    "rx_packets": 10,
    "state": "up",
    "reason": "connected",
    "since_s": 71.2,
    "session": "0badcafe",
    "remote": "198.51.100.7:40001",
    "rtt_ms": 41.25,
    "legacy": False,
    "tx_bytes": 1_500_000,
    "rx_bytes": 900,
    "drops": {"source": 2, "martian": 1},
}
GONE = PEER | {"state": "waiting", "session": None, "remote": None, "rtt_ms": None, "reason": "client stops"}
SERVER: dict[str, Any] = {
    "id": "mt1",
    "role": "server",
    "state": "up",
    "since_s": 80.0,
    "tun": "mt1",
    "mtu": 1441,
    "dataplane": "native",
    "dataplane_reason": None,
    "local": "203.0.113.10:45010",
    "remote": "198.51.100.7:40001",
    "rtt_ms": 41.25,
    "session": "0badcafe",
    "tx_bytes": 0,
    "rx_bytes": 0,
    "drops": {},
}
Answers = dict[str, dict[str, Any]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answers], Path]]:
    """Return what makes instances answer, in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers = []

    def start(answers: Answers) -> Path:
        for name, answer in answers.items():
            (tmp_path / name).mkdir()
            servers.append(ControlServer(tmp_path / name / "control.sock", {"status": lambda answer=answer: answer}))
            asyncio.run_coroutine_threadsafe(servers[-1].start(), loop).result(5)
        return tmp_path

    yield start
    for server in servers:
        loop.call_soon_threadsafe(server.stop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def shown(capsys: pytest.CaptureFixture[str], run_dir: Path, *arguments: str) -> str:
    parser = argparse.ArgumentParser()
    status.configure(parser)
    assert status.run(parser.parse_args([*arguments, "--run-dir", str(run_dir)])) == 0
    return capsys.readouterr().out


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_peers_of_a_server(serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]) -> None:
    peers = [
        PEER | {"name": "client1.df10", "shared": ["172.16.5.0/24", "fd00:5::/64"]},
        PEER | {"name": "client1.df5", "shared": ["172.16.5.0/24"], "address": "10.200.10.1"},
        GONE | {"name": "client1.bk5", "shared": [], "address": "10.200.10.9"},
    ]
    reason = "2 of 3 peers up"
    folder = serve({"mt1": SERVER | {"reason": reason, "peers": peers}})
    text = shown(capsys, folder)
    head, line, *table = lines(text)[:5]
    assert head == ["tunnel", "state", "since", "way", "rtt", "mtu", "fault"]
    assert line[:3] == ["mt1", "server", "up"]
    assert " ".join(line).endswith(reason)
    assert [row[:4] for row in table] == [
        ["client1.bk5", "waiting", "1m11s", "10.200.10.9"],
        ["client1.df5", "up", "1m11s", "10.200.10.1,172.16.5.0/24"],
        ["client1.df10", "up", "1m11s", "10.200.10.5,172.16.5.0/24,fd00:5::/64"],
    ]
    assert " ".join(table[0]).endswith("client stops")
    assert text.splitlines()[-1] == "1 of 1 up"
    everything = json.loads(shown(capsys, folder, "mt1", "--json"))
    assert everything["instances"][0]["peers"] == peers


def test_what_is_wrong_now_and_what_was_last(
    serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recent = {"tx_bps": 12_345_678, "rx_bps": 900, "loss": 0.25, "judged": 40, "rtt_ms": 41.0, "rtt_best_ms": 40.0}
    recent |= {"datagram_best": 1472}
    lossy = SERVER | {"role": "client", "reason": "connected", "recent": recent, "datagram": 1372}
    calm = {"recent": recent | {"loss": 0.0, "datagram_best": 1372}}
    calm |= {"last_fault": {"reason": "no answer", "ago_s": 4000.0}}
    folder = serve({"1": lossy, "2": lossy | calm, "3": lossy | {"state": "waiting", "reason": "no answer"}})
    text = shown(capsys, folder)
    one, two, three = text.splitlines()[1:4]
    assert "25.0%" in one
    assert "12.3Mbit/s" in one
    assert one.endswith(
        "25% of the packets are lost; the path carries datagrams of 1372 bytes, and carried 1472 before"
    )
    assert two.endswith("1h6m ago: no answer")
    assert three.endswith("  no answer")
    assert text.splitlines()[-1] == "2 of 3 up, 2 with faults: mpquic doctor says more"
    assert "dropped       nothing" in shown(capsys, folder, "2")


def test_a_pipe_gets_no_colours(serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = serve({"4": SERVER | {"reason": "", "peers": []}})
    assert "\x1b" not in shown(capsys, folder)


def test_a_terminal_gets_colours(serve: Callable[[Answers], Path]) -> None:
    folder = serve({"4": SERVER | {"reason": "", "peers": []}})
    master, slave = pty.openpty()
    line = [sys.executable, "-m", "mpquic", "status", "--run-dir", str(folder), "--instances", "/nonexistent"]
    environment = os.environ | {"TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    subprocess.run(line, stdout=slave, env=environment, check=True, timeout=60)
    os.close(slave)
    found = os.read(master, 65536).decode()
    os.close(master)
    assert "\x1b[32mup" in found


def test_one_peer_is_the_line_of_its_instance(
    serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = serve({"4": SERVER | {"reason": "connected", "peers": [PEER | {"name": "client1", "shared": []}]}})
    assert len(shown(capsys, folder).splitlines()) == 4
    assert "session       0badcafe" in shown(capsys, folder, "4")


def test_as_many_peers_as_one_likes(serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """More than fits a megabyte."""
    peers = [PEER | {"name": f"client{number}", "shared": []} for number in range(5000)]
    folder = serve({"mt1": SERVER | {"reason": "", "peers": peers}})
    assert len(shown(capsys, folder).splitlines()) == 4 + 5000
