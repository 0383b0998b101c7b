# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``mpquic status`` shows of a server with many peers: real sockets, tunnels that are only told of."""

from __future__ import annotations

import argparse
import asyncio
import json
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


def test_the_connection_table(serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]) -> None:
    peers = [
        PEER | {"name": "client1.df10", "shared": ["172.16.5.0/24", "fd00:5::/64"]},
        PEER | {"name": "client1.df5", "shared": ["172.16.5.0/24"], "address": "10.200.10.1"},
        GONE | {"name": "client1.bk5", "shared": [], "address": "10.200.10.9"},
    ]
    reason = "2 of 3 peers up"
    folder = serve({"mt1": SERVER | {"reason": reason, "peers": peers}})
    head, line, _empty, title, table_head, *table = lines(shown(capsys, folder, "mt1"))
    found = dict(zip(head, line, strict=False))
    # What is one connection's is in its own line.
    assert [found[key] for key in ("remote", "rtt", "session")] == ["-"] * 3
    assert found["plane"] == "native"
    assert " ".join(line).endswith(reason)
    assert title == ["peers", "of", "mt1:"]
    assert " ".join(table_head) == "peer address shared state since remote rtt tx rx drops session reason"
    assert [row[:4] for row in table] == [
        ["client1.bk5", "10.200.10.9", "-", "waiting"],
        ["client1.df5", "10.200.10.1", "172.16.5.0/24", "up"],
        ["client1.df10", "10.200.10.5", "172.16.5.0/24,fd00:5::/64", "up"],
    ]
    assert table[1][4:] == ["71s", "198.51.100.7:40001", "41.2ms", "1.5MB", "900B", "3", "0badcafe", "connected"]
    everything = json.loads(shown(capsys, folder, "mt1", "--json"))
    assert everything["instances"][0]["peers"] == peers


def test_columns_without_a_word_are_left_out(
    serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = serve({"mt1": SERVER | {"reason": "", "peers": [PEER | {"name": name, "shared": []} for name in "ab"]}})
    assert "shared" not in shown(capsys, folder)


def test_one_peer_is_the_line_of_its_instance(
    serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = serve({"4": SERVER | {"reason": "connected", "peers": [PEER | {"name": "client1", "shared": []}]}})
    head, *rest = lines(shown(capsys, folder))
    assert len(rest) == 1
    assert dict(zip(head, rest[0], strict=True))["session"] == "0badcafe"


def test_as_many_peers_as_one_likes(serve: Callable[[Answers], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """More than fits a megabyte."""
    peers = [PEER | {"name": f"client{number}", "shared": []} for number in range(5000)]
    folder = serve({"mt1": SERVER | {"reason": "", "peers": peers}})
    assert len(lines(shown(capsys, folder))) == 5 + 5000
