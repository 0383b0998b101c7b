# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic status`` of root against a control socket whose daemon is somebody else's by now."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.cli import main
from mpquic.io import control
from mpquic.io.answer import read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PEER: dict[str, Any] = {
    "name": "client1",
    "address": "10.200.4.1",
    "allowed": ["10.200.4.1/32"],
    "shared": [],
    "outer_dscp": "copy",
    "state": "up",
    "reason": "connected",
    "since_s": 1.5,
    "session": "ab12",
    "connects": 1,
    "remote": "198.51.100.1:4",
    "rtt_ms": None,
    "tx_packets": 1,
    "rx_packets": 1,
    "tx_bytes": 1,
    "rx_bytes": 1,
    "drops": {"source": 3},
    "key": None,
    "legacy": True,
}
PATH: dict[str, Any] = {
    **dict.fromkeys(("bind", "local", "remote", "session", "rtt_ms", "peer_state", "last_up", "last_down")),
    **dict.fromkeys(("datagram", "rate_bps", "held_to_bps")),
    **dict.fromkeys(
        ("number", "since_s", "priority", "weight", "loss", "peer_loss", "consecutive_fails", "switches"), 1
    ),
    **dict.fromkeys(("tx_packets", "rx_packets", "tx_bytes", "rx_bytes", "tx_err", "rx_err"), 1),
    "name": "wan1",
    "state": "up",
    "reason": "connected",
    "drops": {},
}
CLASS: dict[str, Any] = {
    "name": "bulk",
    "policy": "balanced",
    **dict.fromkeys(("tx_packets", "tx_bytes", "tx_err", "tx_dups", "rx_packets", "rx_dups"), 1),
}


class Hostile:
    """A control socket that answers each request with whatever it is told to."""

    def __init__(self, folder: Path) -> None:
        (folder / "9").mkdir()
        self.path = folder / "9" / "control.sock"
        self.reply: Callable[[socket.socket], None] = lambda _sock: None
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(self.path))
        self._sock.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def says(self, answer: object) -> None:
        """Answer this, bytes as they are and anything else as JSON."""
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
        self.reply = lambda sock: sock.sendall(data)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _address = self._sock.accept()
            except OSError:
                return
            with sock:
                try:
                    sock.recv(4096)
                    self.reply(sock)
                except OSError:
                    pass


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    socket_of_it = Hostile(tmp_path)
    yield socket_of_it
    socket_of_it.close()


def _shown(hostile: Hostile, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    folder = str(hostile.path.parent.parent)
    assert main(["status", "9", "--run-dir", folder, *options]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b'{"a":' + b"[" * 200_000 + b"\n", "answer is not JSON"),
        (b"\xff\xfe\n", "answer is not JSON"),
        (b"", "answer is not JSON"),
        (b'{"state": "up", "pid": ' + b"9" * 100_000 + b"}\n", "answer is not JSON"),
        (b'{"state": "' + b"x" * 20_000_000 + b'"}\n', "answer is longer than 16777216 bytes"),
        ([], "answer is not a JSON object"),
        ({}, "state is missing"),
        ({"error": "\x1bno"}, "refused: ?no"),
        ({"state": 5}, "state: expected text"),
        ({"state": None}, "state: expected text"),
        ({"state": "up", "reason": ["x"]}, "reason: expected text"),
        ({"state": "up", "since_s": "x"}, "since_s: expected a number"),
        ({"state": "up", "since_s": float("nan")}, "since_s: expected a number"),
        ({"state": "up", "rtt_ms": float("inf")}, "rtt_ms: expected a number"),
        ({"state": "up", "rtt_ms": True}, "rtt_ms: expected a number"),
        ({"state": "up", "tx_bytes": 10**400}, "tx_bytes: expected a count"),
        ({"state": "up", "tx_bytes": -1}, "tx_bytes: expected a count"),
        ({"state": "up", "drops": 5}, "drops: expected an object"),
        ({"state": "up", "drops": {"x": "y"}}, "drops: expected a count"),
        ({"state": "up", "peers": 5}, "peers: expected a list"),
        ({"state": "up", "peers": [5]}, "peers[0]: expected an object"),
        ({"state": "up", "peers": [{"legacy": True}]}, "peers[0]: name is missing"),
        ({"state": "up", "peers": [PEER, {**PEER, "legacy": "no"}]}, "peers[1]: legacy: expected true or false"),
        ({"state": "up", "peers": [{**PEER, "tx_bytes": None}]}, "peers[0]: tx_bytes: expected a count"),
        ({"state": "up", "paths": {}}, "paths: expected a list"),
        ({"state": "up", "paths": [{"state": "up"}]}, "paths[0]: name is missing"),
        ({"state": "up", "classes": [{**CLASS, "tx_err": -1}]}, "classes[0]: tx_err: expected a count"),
        (
            {"state": "up", "peers": [{**PEER, "paths": [PATH, {**PATH, "loss": "x"}]}]},
            "peers[0]: paths[1]: loss: expected a number",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_answer_is_shown_as_down(
    hostile: Hostile, capsys: pytest.CaptureFixture[str], answer: object, why: str
) -> None:
    hostile.says(answer)
    (found,) = json.loads(_shown(hostile, capsys, "--json"))["instances"]
    assert found == {"id": "9", "state": "down", "reason": f"control socket: {why}"}
    assert why in _shown(hostile, capsys)


def test_a_daemon_cannot_speak_for_another(hostile: Hostile, capsys: pytest.CaptureFixture[str]) -> None:
    hostile.says({"id": "6", "state": "up", "config": "x", "more": "y"})
    (found,) = json.loads(_shown(hostile, capsys, "--json"))["instances"]
    assert found == {"id": "9", "state": "up", "config": "x"}


def test_a_terminal_is_told_no_commands(hostile: Hostile, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\n\r\x9b\u202e\ud800"
    texts = {name: evil for name, value in PEER.items() if isinstance(value, str) or value is None}
    texts.pop("rtt_ms")
    peer = {**PEER, **texts, "drops": {evil: 1}}
    hostile.says({"state": evil, "role": evil, "tun": evil, "local": evil, "drops": {evil: 2}, "peers": [peer]})
    shown = _shown(hostile, capsys)
    assert "?]0;owned" in shown
    assert len(shown.splitlines()) == 17
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    assert evil[:2] not in json.loads(_shown(hostile, capsys, "--json"))["instances"][0]["tun"]


def test_long_texts_are_cut(hostile: Hostile) -> None:
    hostile.says({"state": "up", "reason": "x" * 100_000})
    assert read_status(hostile.path, "9")["reason"] == "x" * 500


def test_one_deadline_for_the_whole_answer(
    hostile: Hostile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "TIMEOUT", 0.5)

    def drip(sock: socket.socket) -> None:
        for _byte in range(20):
            sock.sendall(b" ")
            time.sleep(0.2)
        sock.sendall(b'{"state": "up"}\n')

    hostile.reply = drip
    started = time.monotonic()
    (found,) = json.loads(_shown(hostile, capsys, "--json"))["instances"]
    assert found["state"] == "down"
    # The bytes alone take 4 s.
    assert time.monotonic() - started < 3


def test_an_honest_answer_is_kept(hostile: Hostile) -> None:
    said = {"role": "server", "state": "up", "since_s": 3, "mtu": None, "drops": {"x": 1}, "peers": [PEER]}
    hostile.says({"id": "9", **said})
    assert read_status(hostile.path, "9") == {"id": "9", **said}
