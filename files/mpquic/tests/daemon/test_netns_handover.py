# SPDX-License-Identifier: GPL-3.0-or-later
"""Running daemons handed to new processes while packets pass, in network namespaces."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from handing import SECOND, Flow, TwoClients, hand_over
from wan import made, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from multiwan import MultiWan
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

GONE = "the heir has ended, see the log"
NONE_LOST = {"client": 0, "server": 0}


def logs(wan: Wan) -> str:
    return f"client: {wan.log('client')[-3000:]}\nserver: {wan.log('server')[-3000:]}"


@pytest.mark.parametrize("role", ["client", "server"])
def test_nothing_is_lost_when_one_end_is_handed_over(wan: Wan, role: str) -> None:
    wan.bring_up()
    before = wan.status(role)["pid"]
    with Flow(wan) as flow:
        code, answer = hand_over(wan, role)
    assert (code, answer["result"]) == (0, "done"), (answer, logs(wan))
    assert flow.lost == NONE_LOST, (flow, logs(wan))
    assert max(flow.still.values()) < 0.3, flow
    assert wan.status(role)["pid"] != before
    assert wan.status(role)["state"] == "up"
    # The client connected once for itself, and its server knows that nothing went wrong.
    assert "lost" not in wan.log("client")
    assert wan.stop(role) == 0
    assert not wan.control(role).exists()


@pytest.mark.parametrize("role", ["client", "server"])
def test_nothing_is_lost_over_several_paths(wans: MultiWan, role: str) -> None:
    # Packets are on their way on both paths when an end changes.
    spread = {"default_class": "all", "classes": {"all": {"scheduler_policy": "balanced", "spray": True}}}
    wans.write("client", {**wans.configured("client"), "dataplane": spread})
    wans.bring_up()
    with Flow(wans) as flow:
        code, answer = hand_over(wans, role)
        for name in ("wan1", "wan2"):
            wans.wait_path(name, "up")
    assert code == 0, (answer, logs(wans))
    assert flow.lost == NONE_LOST, (flow, logs(wans))


@pytest.fixture
def crowd() -> Iterator[TwoClients]:
    with made(TwoClients()) as world:
        yield world


def test_a_server_of_several_clients_loses_nothing_of_any(crowd: TwoClients) -> None:
    crowd.bring_up()
    with Flow(crowd) as flow, Flow(crowd, client=SECOND, port=7001) as second:
        code, answer = hand_over(crowd, "server")
    assert code == 0, (answer, logs(crowd))
    assert flow.lost == NONE_LOST, (flow, logs(crowd))
    assert second.lost == {SECOND: 0, "server": 0}, (second, crowd.log(SECOND)[-2000:], logs(crowd))
    peers = {peer["name"]: peer["state"] for peer in crowd.status("server")["peers"]}
    assert peers == {"client1": "up", "client2": "up"}


def test_both_ends_at_once_and_again(wan: Wan) -> None:
    wan.bring_up()
    with Flow(wan) as flow, ThreadPoolExecutor(2) as pool:
        for _time in range(2):
            done = list(pool.map(lambda role: hand_over(wan, role), ("client", "server")))
            assert [code for code, _answer in done] == [0, 0], (done, logs(wan))
    assert flow.lost == NONE_LOST, (flow, logs(wan))


def test_both_ends_at_once_over_several_paths(wans: MultiWan) -> None:
    wans.bring_up()
    with Flow(wans) as flow, ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda role: hand_over(wans, role), ("client", "server")))
        assert [code for code, _answer in done] == [0, 0], (done, logs(wans))
    assert flow.lost == NONE_LOST, (flow, logs(wans))


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_path_that_is_dead_is_no_hindrance(wans: MultiWan, role: str) -> None:
    wans.bring_up()
    wans.block(1)
    wans.wait_path("wan1", "down", 15)
    with Flow(wans) as flow:
        code, answer = hand_over(wans, role)
    assert code == 0, (answer, logs(wans))
    assert flow.lost == NONE_LOST, (flow, logs(wans))
    wans.unblock(1)
    wans.wait_path("wan1", "up", 20)


@pytest.fixture
def program(wan: Wan) -> Path:
    """A command of which the present release can be changed."""
    place = wan.folder / "bin" / "mpquic"
    place.parent.mkdir()
    write(place, "")
    for role in wan.program:
        wan.program[role] = str(place)
    return place


def write(place: Path, first: str) -> None:
    place.write_text(f"import sys\n{first}\nfrom mpquic.cli import main\nsys.exit(main())\n")
    text = place.read_text()
    place.write_text(f"#!{sys.executable}\n{text}")
    place.chmod(0o755)


@pytest.mark.parametrize(
    "first", ["raise SystemExit(3)", "import nowhere_at_all", "import os; os.kill(os.getpid(), 9)"]
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_an_heir_that_fails_changes_nothing(wan: Wan, program: Path, role: str, first: str) -> None:
    wan.bring_up()
    write(program, first)
    before = wan.status(role)
    with Flow(wan) as flow:
        code, answer = hand_over(wan, role)
    assert code == 1
    assert (answer["result"], answer["reason"]) == ("failed", GONE)
    after = wan.status(role)
    assert [after[key] for key in ("pid", "session", "connects")] == [
        before[key] for key in ("pid", "session", "connects")
    ]
    assert flow.lost == NONE_LOST, (flow, logs(wan))
    # And nothing stands in the way of the next.
    write(program, "")
    assert hand_over(wan, role)[0] == 0


def test_an_heir_that_fails_in_the_middle_changes_nothing(wan: Wan, program: Path) -> None:
    wan.bring_up()
    # It has the sockets, and reads them for a moment.
    write(
        program,
        "import os\nfrom mpquic.daemon.handover import heir\nheir.Heir._connected = lambda self: os._exit(4)\n",
    )
    before = wan.status("server")
    with Flow(wan) as flow:
        code, answer = hand_over(wan, "server")
    assert (code, answer["reason"]) == (1, GONE)
    assert wan.status("server")["pid"] == before["pid"]
    assert wan.status("client")["session"] == before["session"]
    assert sum(flow.lost.values()) <= 3, (flow, logs(wan))


def test_an_heir_that_does_not_come_up_changes_nothing(wan: Wan) -> None:
    wan.bring_up()
    wan.configure("client", remote_port=45999)
    before = wan.status("client")
    with Flow(wan) as flow:
        code, answer = hand_over(wan, "client")
    assert code == 1
    assert answer["reason"].startswith("the heir does not come up: no answer"), answer
    assert wan.status("client")["session"] == before["session"]
    assert flow.lost == NONE_LOST, (flow, logs(wan))


def test_what_only_a_restart_changes_is_said(wan: Wan) -> None:
    wan.bring_up()
    wan.configure("client", tun_mtu=1280)
    code, answer = hand_over(wan, "client")
    assert (code, answer["result"]) == (2, "needs-restart")
    assert answer["reason"] == "only a restart takes over tun_mtu"
    (wan.folder / "server.env").write_text("MPQUIC_UNIT=other\n")
    code, answer = hand_over(wan, "server")
    assert (code, answer["reason"]) == (2, "only a restart takes over what the unit sets: MPQUIC_UNIT")
    assert wan.ping("client")


def test_a_tunnel_that_is_down_is_handed_over_as_it_is(wan: Wan) -> None:
    wan.start("client")
    wan.wait_started("client")
    assert hand_over(wan, "client")[0] == 0
    wan.start("server")
    wan.wait_state("client", "up", 20)
    until(lambda: wan.ping("client"), 5)
