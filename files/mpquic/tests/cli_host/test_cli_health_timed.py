# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic health fix --timed``: what a timer repairs, what it leaves alone, and how often it tries."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import time

import mpquic.host.guard.store
import mpquic.host.guard.timer
import mpquic.host.timed
import pytest
from test_cli_health import QUICK, attach, codes, daemon, restarts, tunnel

pytestmark = pytest.mark.netns

ROUND = ("fix", "--timed", *QUICK, "--patience", "0.3")


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(mpquic.host.timed, "CONFIRM", 0.1)
    monkeypatch.setattr(mpquic.host.guard.store, "FOLDER", tmp_path)


@pytest.fixture
def settled(site, systemctl):
    """The site, whose configuration is an hour old; its units run and tunnel 5 is healthy."""
    for name in ("4", "5"):
        (systemctl / f"mpquic@{name}.service").write_text("active")
    settle(site)
    attach(site, "mpq5")
    daemon(site, "5", "up")
    return site


def settle(site, age=3600):
    past = time.time() - age
    for path in (*site.instances.iterdir(), site.instances):
        os.utime(path, (past, past))


def remember(site, **entries):
    (site.folder / "state").mkdir(exist_ok=True)
    (site.folder / "state" / "restarts.json").write_text(json.dumps(entries))


def later(site, seconds):
    """Let time pass, as far as what is remembered goes."""
    path = site.folder / "state" / "restarts.json"
    found = {name: [count, until - seconds] for name, (count, until) in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(found))


def test_a_healthy_site_is_left_alone_in_one_line_of_json(settled, systemctl):
    attach(settled, "mpq4")
    daemon(settled, "4", "up")
    done = settled.health(*ROUND)
    assert done.rc == 0, done
    assert done.out.count("\n") == 1
    assert (done.json["schema"], done.json["timed"], done.json["deferred"]) == (1, True, None)
    assert tunnel(done)["restarts"] == {"count": 0, "wait_s": 0}
    assert restarts(systemctl) == []


def test_a_hung_daemon_is_restarted_less_and_less_often(settled, systemctl):
    done = settled.health(*ROUND)
    assert done.rc == 2
    assert "daemon_silent" in {found["code"] for found in tunnel(done)["found"]}
    assert restarts(systemctl) == ["mpquic@4.service"]
    assert tunnel(done)["restarts"] == {"count": 1, "wait_s": 60}
    (systemctl / "mpquic@4.service").write_text("active")
    assert settled.health(*ROUND).rc == 2
    assert len(restarts(systemctl)) == 1
    later(settled, 61)
    done = settled.health(*ROUND)
    assert len(restarts(systemctl)) == 2
    assert tunnel(done)["restarts"] == {"count": 2, "wait_s": 120}
    assert tunnel(done, "5")["actions"] == []


def test_packets_that_do_not_cross_are_a_reason_only_when_the_daemon_says_up(settled, systemctl):
    daemon(settled, "4", "up")
    assert codes(settled.health(*ROUND)) == {"no_reply"}
    assert restarts(systemctl) == ["mpquic@4.service"]


@pytest.mark.parametrize(("received", "restarted"), [(itertools.count(7).__next__, []), (7, ["mpquic@4.service"])])
def test_a_client_that_receives_is_left_alone_though_nobody_answers_echoes(settled, systemctl, received, restarted):
    daemon(settled, "4", "up", rx_packets=received)
    assert codes(settled.health(*ROUND)) == {"no_reply"}
    assert restarts(systemctl) == restarted


def test_what_changes_within_a_moment_is_left_alone(settled, systemctl, monkeypatch):
    (systemctl / "mpquic@4.service").write_text("failed")
    sleep = time.sleep

    def stopped_meanwhile(seconds):
        if seconds == mpquic.host.timed.CONFIRM:
            (systemctl / "mpquic@4.service").write_text("inactive")
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", stopped_meanwhile)
    settled.health(*ROUND)
    assert restarts(systemctl) == []


def test_files_from_a_clock_that_was_ahead_do_not_keep_it_away(settled, systemctl):
    settle(settled, age=-3600)
    assert settled.health(*ROUND).json["deferred"] is None
    assert restarts(systemctl) == ["mpquic@4.service"]


def test_a_server_is_not_restarted_for_lost_packets(netns, systemctl, tmp_path):
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    netns.instance(4, role="server")
    netns.routing("fix")
    settle(netns)
    (systemctl / "mpquic@4.service").write_text("active")
    daemon(netns, "4", "up")
    assert codes(netns.health(*ROUND)) == {"no_reply"}
    assert restarts(systemctl) == []


@pytest.mark.parametrize(("armed", "woken"), [("{", True), ('{"token": "t"}', True), (None, False)])
def test_it_wakes_a_guard_whose_time_is_over(settled, systemctl, monkeypatch, armed, woken):
    if armed is not None:
        (settled.folder / "armed.json").write_text(armed)
    monkeypatch.setattr(mpquic.host.guard.timer, "SERVICE", "mpquic@guard.service")
    log = settled.folder / "bin" / "systemctl"
    log.write_text(log.read_text().replace("verb=$1", f'echo "$*" >>{settled.folder}/said; verb=$1', 1))
    settled.health(*ROUND, "--check")
    assert "start --no-block" not in (settled.folder / "said").read_text()
    settled.health(*ROUND)
    assert ("start --no-block mpquic@guard.service" in (settled.folder / "said").read_text()) is woken


@pytest.mark.parametrize("state", ["waiting", "connecting"])
def test_a_client_whose_server_is_down_is_left_alone_and_that_costs_no_time(settled, systemctl, state):
    daemon(settled, "4", state)
    start = time.monotonic()
    done = settled.health("fix", "--timed")
    assert time.monotonic() - start < 2
    assert done.rc == 2
    assert codes(done) == {"no_reply"}
    assert tunnel(done)["actions"] == []
    assert restarts(systemctl) == []


def test_a_dead_wan_is_left_alone(settled, systemctl):
    settled.ip("link set p-wan4 down")
    for _round in range(3):
        done = settled.health(*ROUND)
    assert codes(done) >= {"wan_no_carrier", "no_reply"}
    assert tunnel(done)["restarts"] == {"count": 0, "wait_s": 0}
    assert restarts(systemctl) == []


def test_what_somebody_stopped_stays_stopped_and_what_failed_does_not(settled, systemctl):
    (systemctl / "mpquic@4.service").write_text("inactive")
    assert codes(settled.health(*ROUND)) == {"unit_inactive", "no_reply"}
    assert restarts(systemctl) == []
    (systemctl / "mpquic@4.service").write_text("failed")
    settled.health(*ROUND)
    assert restarts(systemctl) == ["mpquic@4.service"]


def test_a_healthy_run_forgets_the_restarts(settled, systemctl):
    remember(settled, **{"4": [3, 1.0], "5": [6, 1.0], "gone": [2, 1.0]})
    daemon(settled, "4", "waiting")
    done = settled.health(*ROUND)
    assert tunnel(done, "5")["restarts"] == {"count": 0, "wait_s": 0}
    assert tunnel(done)["restarts"]["count"] == 3
    assert json.loads((settled.folder / "state" / "restarts.json").read_text()) == {"4": [3, 1.0]}
    assert restarts(systemctl) == []


def test_it_recovers_when_its_file_is_damaged(settled, systemctl):
    remember(settled)
    (settled.folder / "state" / "restarts.json").write_bytes(b"\xff{")
    assert settled.health(*ROUND).rc == 2
    assert restarts(systemctl) == ["mpquic@4.service"]


def test_repairs_need_no_restart(settled, systemctl):
    attach(settled, "mpq4")
    daemon(settled, "4", "up")
    settled.ip("rule del priority 504")
    done = settled.health(*ROUND)
    assert done.rc == 0, done
    assert tunnel(done)["actions"]
    assert restarts(systemctl) == []


@pytest.mark.parametrize("why", ["play", "guard", "other"])
def test_it_stands_back(settled, systemctl, why):
    settled.ip("rule del priority 504")
    before = settled.snapshot()
    if why == "play":
        os.utime(settled.instances / "5.yaml")
    elif why == "guard":
        (settled.folder / "armed.json").write_text("{}")
    else:
        (settled.folder / "state").mkdir()
        lock = (settled.folder / "state" / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    done = settled.health(*ROUND)
    expected = {"play": "a play may be at work", "guard": "guard is armed", "other": "another recovery"}[why]
    assert expected in done.json["deferred"]
    assert done.rc == 2
    assert done.json["changed"] is False
    assert settled.snapshot() == before
    assert restarts(systemctl) == []


def test_a_plan_does_nothing_and_leaves_nothing(settled, systemctl):
    planned = settled.health(*ROUND, "--check")
    assert tunnel(planned)["actions"] == ["restart mpquic@4.service"]
    assert restarts(systemctl) == []
    assert not (settled.folder / "state").exists()


def test_a_peer_that_is_away_is_no_fault_of_the_server(netns, systemctl, tmp_path):
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    netns.instance(4, role="server")
    netns.routing("fix")
    settle(netns)
    (systemctl / "mpquic@4.service").write_text("active")
    daemon(netns, "4", "listening")
    done = netns.health(*ROUND)
    assert done.rc == 0, done
    assert [note["code"] for note in tunnel(done)["notes"]] == ["peer_away"]
    assert restarts(systemctl) == []
    # Whoever asks whether packets cross is told that they do not.
    assert codes(netns.health("check", *QUICK)) == {"peer_away"}


def test_it_is_for_fix_only(site):
    done = site.health("check", "--timed")
    assert done.rc == 64
    assert "expected with fix only" in done.err
