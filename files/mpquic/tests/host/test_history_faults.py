# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recorder makes events of beside states: symptoms, late reasons, drift that stays, quotas and resolvers."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.host import watch
from mpquic.host.doctor import dns
from mpquic.host.history import names, usage
from mpquic.host.history.changes import Changes
from mpquic.host.history.faults import OVER, Faults

if TYPE_CHECKING:
    from pathlib import Path

CALM: dict[str, Any] = {"loss": 0.0, "judged": 100, "rtt_ms": 20.0, "rtt_best_ms": 18.0, "datagram_best": 1472}
END: dict[str, Any] = {
    "state": "up",
    "reason": "connected",
    "since_s": 9.0,
    "rtt_ms": 20.0,
    "datagram": 1472,
    "recent": CALM,
}


def seen(faults: Faults, boot: float, **changed: Any) -> list[tuple[float, str, str]]:
    found = faults.look("4", END | changed, 1000 + boot, boot)
    return [(event.at, event.kind, event.what) for event in found]


def test_a_fault_is_told_when_it_begins_and_once_when_it_is_over_for_a_while() -> None:
    faults = Faults()
    lossy = {"recent": CALM | {"loss": 0.2}}
    assert seen(faults, 0) == []
    assert seen(faults, 5, **lossy) == [(1005, "fault", "loss")]
    assert seen(faults, 10) == []
    assert seen(faults, 15, datagram=1252, **lossy) == [(1015, "fault", "mtu_fell")]
    assert seen(faults, 15 + OVER, datagram=1252) == []
    assert seen(faults, 20 + OVER, datagram=1252) == [(1015, "fault_over", "loss")]
    # Nothing is known of one that is down, and another process begins anew.
    faults.keep(set())
    assert seen(faults, 200, datagram=1252) == [(1200, "fault", "mtu_fell")]


def test_paths_and_peers_have_faults_of_their_own() -> None:
    bad = {"name": "wan2", "state": "lossy", "recent": CALM | {"loss": 0.5}}
    away = bad | {"name": "wan1", "state": "down"}
    peer = END | {"name": "client1", "paths": [away, bad]}
    (event,) = Faults().look("4", {"state": "up", "peers": [peer]}, 1.0, 1.0)
    assert (event.what, event.peer, event.path) == ("loss", "client1", "wan2")


def test_drift_that_stays_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "watch.json"
    faults = Faults()
    assert [*faults.drift(file, 1.0)] == []
    rule = {"tunnel": "4", "code": "rule_missing", "message": "no '504: ...'"}
    file.write_text(json.dumps({"remaining": [rule]}))
    (event,) = faults.drift(file, 2.0)
    assert (event.what, event.instance, event.reason) == ("not repaired", "4", "rule_missing: no '504: ...'")
    assert [*faults.drift(file, 3.0)] == []


@pytest.mark.parametrize("content", ["[]", '{"repairs": [1]}', '{"remaining": [{}]}', '{"repairs": 3}', "{"])
def test_a_file_of_the_watch_that_holds_something_else_is_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "watch.json"
    file.write_text(content)
    assert watch.notices(file) == []


def test_a_reason_that_shows_later_is_told_once() -> None:
    changes = Changes(None)
    told = []
    for boot, reason in enumerate(["", "no answer", "server refused: key x is no peer here", "no answer", "x"]):
        found = {"state": "connecting", "reason": reason, "since_s": float(boot), "pid": 1}
        told += [event.reason for event in changes.look("4", found, 1000.0 + boot, float(boot))]
    assert told == ["", "no answer", "server refused: key x is no peer here"]


@pytest.mark.parametrize(
    ("used", "warned", "expected"), [(0, None, 800), (799, None, 1), (800, 80, 200), (1000, 100, None)]
)
def test_what_is_left_until_the_next_warning(used: int, warned: int | None, expected: int | None) -> None:
    found = usage.Usage("lte", "lte", True, "", "", used, 0, used, 1000, 0.0, (80,), warned, "ok")  # noqa: FBT003
    assert usage.left(found) == expected


def test_a_resolver_that_stops_and_one_that_answers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolv, file = tmp_path / "resolv.conf", tmp_path / "names.json"
    resolv.write_text("nameserver 127.0.0.1\n")
    answers = threading.Event()
    answers.set()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

        def serve() -> None:
            while True:
                data, where = sock.recvfrom(512)
                if data == b"end":
                    return
                if answers.is_set():
                    sock.sendto(data[:2] + b"\x81\x80" + data[4:], where)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setattr(dns.faults, "__kwdefaults__", {"port": port})
        monkeypatch.setattr(names, "EVERY", 0.02)
        found = names.Names(file, resolv)
        try:
            _wait(file.exists)
            assert (names.told(file), [*found.fresh()]) == (None, [])
            answers.clear()
            _wait(lambda: names.told(file) is not None)
            (event,) = found.fresh()
            assert (event.kind, event.what) == ("fault", "dns_silent")
            assert event.reason == names.told(file) == "the resolver 127.0.0.1 does not answer"
            answers.set()
            _wait(lambda: names.told(file) is None)
            assert [event.kind for event in found.fresh()] == ["fault_over"]
        finally:
            found.stop()
            sock.sendto(b"end", ("127.0.0.1", port))
            thread.join()


def _wait(condition: Any) -> None:
    pause = threading.Event()
    for _try in range(1000):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail("not within 20 s")
