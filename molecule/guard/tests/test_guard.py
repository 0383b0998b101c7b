# SPDX-License-Identifier: GPL-3.0-or-later
"""The client is cut off, in every way that a play can do it, and comes back without help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest
from conftest import INVENTORY, ROOT, TUNNELS, all_up, instances, lab, out, play, recap, run, wait_for

SSH_CONFIG = "/var/lib/mpquic-lab/lab/ssh_config"
#: Seconds; long enough for the tasks between arming and confirming.
GUARD = 15
MANAGEMENT = "198.18.0.0/24"
STATE = "ip -4 rule; ip -6 rule; ip route show table all; nft -s list ruleset; ls -lR --time-style=+ /etc/mpquic"


def state() -> list[str]:
    return sorted(out("client1", STATE).splitlines())


def status(host: str = "client1") -> dict[str, Any]:
    found = json.loads(out(host, "mpquic guard status --json"))
    assert isinstance(found, dict)
    return found


def reachable() -> bool:
    """Whether a new SSH connection comes to be."""
    command = ["ssh", "-F", SSH_CONFIG, "-o", "ConnectTimeout=2", "-o", "ControlPath=none", "client1", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def change(command: str) -> subprocess.CompletedProcess[str]:
    return play("-e", json.dumps({"change": command, "change_seconds": GUARD}), playbook="molecule/guard/change.yml")


def back(since: float) -> None:
    """Wait until the client has gone back; `since` is when the play began, in seconds of the wall clock."""
    wait_for(lambda: status()["armed"] is None, seconds=GUARD + 30, what="the client went back")
    last = status()["last"]
    at = out("client1", f"date -d {last['at']} +%s")
    assert int(at) >= int(since)


@pytest.fixture(autouse=True)
def _in_order():
    """Begin each test with a host that is in order, and leave one behind."""
    wait_for(lambda: status()["armed"] is None, seconds=GUARD + 30, what="no guard of an earlier test")
    wait_for(all_up, seconds=30, what="all six tunnels pass packets")
    yield
    wait_for(lambda: status()["armed"] is None, seconds=GUARD + 30, what="the guard of this test is over")


LOCKOUT = (
    "add table inet lockout; add chain inet lockout input { type filter hook input priority -5; };"
    " add rule inet lockout input tcp dport 22"
)
CUTS = {
    "new SSH connections dropped": (
        f"nft '{LOCKOUT} ct state new drop'",
        "removed the nft table inet lockout",
    ),
    "all of SSH dropped": (
        f"nft '{LOCKOUT} drop'",
        "removed the nft table inet lockout",
    ),
    "management route deleted": (f"ip route del {MANAGEMENT}", f"put back the route {MANAGEMENT} dev mgmt0 table main"),
    "all routes deleted": ("ip route flush table main", f"put back the route {MANAGEMENT} dev mgmt0 table main"),
    "answers sent nowhere": (
        f"ip route add unreachable {MANAGEMENT} table 4242; ip rule add priority 1 lookup 4242",
        "removed the rule 1: from all lookup 4242",
    ),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_is_undone_by_the_host_alone(cut: str):
    command, undone = CUTS[cut]
    before, sessions, begin = state(), {i: instances("client1")[str(i)]["session"] for i in TUNNELS}, time.time()
    result = change(command)
    assert result.returncode != 0
    said = result.stdout[result.stdout.index("TASK [Check that every armed host is confirmed") :]
    assert "client1: " in said
    assert "its state of 20" in said
    assert "vps1: " not in said
    back(begin)
    assert reachable()
    assert undone in status()["last"]["undone"]
    assert status()["last"]["failed"] == []
    assert undone in out("client1", "journalctl -u mpquic-guard.service --no-pager -o cat")
    assert state() == before
    assert {i: instances("client1")[str(i)]["session"] for i in TUNNELS} == sessions
    assert status("vps1")["armed"] is None


def test_a_play_that_is_well_leaves_no_guard_behind():
    recap(change("true"))
    assert status()["armed"] is None
    assert out("client1", "ls /var/lib/mpquic/guard").split() in ([], ["last.json"])
    assert run("client1", "systemctl is-active mpquic-guard.timer", check=False).stdout.strip() == "inactive"


def test_a_failed_task_lets_the_host_go_back():
    begin = time.time()
    result = change("ip rule add priority 77 lookup 4242; false")
    assert result.returncode != 0
    assert "goes back by itself to its state of 20" in result.stdout
    back(begin)
    assert "77:" not in out("client1", "ip rule")


def test_a_killed_controller_lets_the_host_go_back():
    begin = time.time()
    extra = json.dumps({"change": "ip rule add priority 77 lookup 4242; sleep 60", "change_seconds": GUARD})
    process = subprocess.Popen(
        ["ansible-playbook", "-i", str(INVENTORY), "molecule/guard/change.yml", "-e", extra],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: "77:" in out("client1", "ip rule"), seconds=60, what="the play changes the client")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    back(begin)
    assert "77:" not in out("client1", "ip rule")
    assert "removed the rule 77: from all lookup 4242" in status()["last"]["undone"]
    recap(change("true"))


def test_an_unchanged_host_is_not_touched():
    before, sessions = state(), {i: instances("client1")[str(i)]["session"] for i in TUNNELS}
    starts = out("client1", "systemctl show -p InvocationID 'mpquic@*'")
    out("client1", "mpquic guard arm --seconds 5")
    wait_for(lambda: status()["armed"] is None, seconds=30, what="the guard's time is over")
    last = status()["last"]
    assert (last["undone"], last["failed"]) == ([], [])
    assert state() == before
    assert {i: instances("client1")[str(i)]["session"] for i in TUNNELS} == sessions
    assert out("client1", "systemctl show -p InvocationID 'mpquic@*'") == starts


def test_a_changed_tunnel_goes_back_alone():
    others = {i: instances("client1")[str(i)]["session"] for i in TUNNELS if i != 3}
    before = state()
    out("client1", "mpquic guard arm --seconds 20")
    out("client1", "sed -i s/enp7s5/enp7s6/ /etc/mpquic/instances/3.yaml; systemctl restart mpquic@3")
    out("client1", "cd /etc/mpquic/instances; sed s/45003/45099/ 3.yaml >99.yaml; cp 3.env 99.env")
    wait_for(lambda: status()["armed"] is None, seconds=60, what="the guard's time is over")
    assert "put back /etc/mpquic/instances/3.yaml" in status()["last"]["undone"]
    assert "removed /etc/mpquic/instances/99.yaml" in status()["last"]["undone"]
    wait_for(all_up, seconds=20, what="all six tunnels pass packets")
    assert instances("client1")["3"]["bind"] == "if:enp7s5"
    assert state() == before
    assert {i: instances("client1")[str(i)]["session"] for i in TUNNELS if i != 3} == others


def test_a_boot_while_armed_lets_the_host_go_back():
    before = out("client1", "cat /etc/mpquic/instances/2.yaml")
    out("client1", "mpquic guard arm --seconds 600")
    out("client1", "sed -i s/enp7s4/enp7s5/ /etc/mpquic/instances/2.yaml; rm /etc/mpquic/mpquic.nft; sync")
    lab("crash", "client1")
    lab("start", "client1")
    wait_for(lambda: status()["armed"] is None, seconds=60, what="the client went back")
    last = status()["last"]
    assert last["reason"] == "the host was started anew"
    assert "put back /etc/mpquic/mpquic.nft" in last["undone"]
    assert out("client1", "cat /etc/mpquic/instances/2.yaml") == before
    wait_for(all_up, seconds=60, what="all six tunnels pass packets")
    assert run("client1", "nft list table inet mpquic", check=False).returncode == 0


def test_confirm_wants_the_right_token_in_time():
    token = json.loads(out("client1", "mpquic guard arm --seconds 5 --json"))["token"]
    wrong = run("client1", "mpquic guard confirm --token 0123", check=False)
    assert (wrong.returncode, "token" in wrong.stderr) == (1, True)
    wait_for(lambda: status()["armed"] is None, seconds=30, what="the guard's time is over")
    late = run("client1", f"mpquic guard confirm --token {token}", check=False)
    assert late.returncode == 1
    assert "too late: not confirmed within 5 s, so at 20" in late.stderr


def test_arming_again_keeps_the_first_state_and_begins_the_time_anew():
    first = json.loads(out("client1", "mpquic guard arm --seconds 60 --json"))
    out("client1", "ip rule add priority 78 lookup 4242")
    second = json.loads(out("client1", "mpquic guard arm --seconds 600 --json"))
    assert second["since"] == first["since"]
    assert status()["armed"]["seconds_left"] > 500
    out("client1", "mpquic guard restore || test $? = 2")
    assert "78:" not in out("client1", "ip rule")


def test_check_mode_arms_nothing():
    before = status()["last"]
    result = play("--check", "-e", "change=true", playbook="molecule/guard/change.yml")
    recap(result)
    assert "Would arm the guard for 120 s" in result.stdout
    assert (status()["armed"], status()["last"]) == (None, before)
