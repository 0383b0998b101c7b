# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnel 2 moves from enp7s4 to enp7s5 by one edited line; nothing else moves."""

from __future__ import annotations

import shutil

import pytest
from conftest import ROOT, TUNNELS, WEB, capture, instances, out, play, recap, wait_for

VARIABLES = "host_vars/client1.yml"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Move tunnel 2, and bring it back afterwards."""
    inventory = tmp_path_factory.mktemp("site") / "inventory"
    shutil.copytree(ROOT / "inventories" / "lab", inventory)
    path = inventory / VARIABLES
    text = path.read_text()
    old = next(line for line in text.splitlines() if "enp7s4" in line)
    path.write_text(text.replace(old, old.replace("enp7s4", "enp7s5")))

    announced = play("--check", "--diff", inventory=inventory)
    before = {host: instances(host) for host in ("client1", "vps1")}
    rules = out("client1", "ip rule show; ip route show table all")
    result = play("--diff", inventory=inventory)
    after = {host: instances(host) for host in ("client1", "vps1")}
    yield {"before": before, "after": after, "result": result, "announced": announced, "rules": rules}
    recap(play())
    recap(play("--check"))


def test_check_and_diff_announce_it(moved):
    assert recap(moved["announced"])["vps1"]["changed"] == 0
    assert "-bind_ip: if:enp7s4" in moved["announced"].stdout
    assert "+bind_ip: if:enp7s5" in moved["announced"].stdout


def test_only_tunnel_2_changes(moved):
    counts = recap(moved["result"])
    assert counts["vps1"]["changed"] == 0
    assert counts["client1"]["changed"] > 0
    for i in set(TUNNELS) - {2}:
        for host in ("client1", "vps1"):
            was, now = moved["before"][host][str(i)], moved["after"][host][str(i)]
            assert (was["session"], was["pid"], was["connects"]) == (now["session"], now["pid"], now["connects"])
            assert now["rx_packets"] >= was["rx_packets"]
            assert now["tx_packets"] >= was["tx_packets"]
    assert moved["before"]["client1"]["2"]["session"] != moved["after"]["client1"]["2"]["session"]


def test_traffic_of_lan_2_leaves_by_wan_3(moved):
    assert moved["after"]["client1"]["2"]["bind"] == "if:enp7s5"
    with capture() as seen:
        out("lan2", f"curl -sS --max-time 20 -o /dev/null http://{WEB}/bytes/300000")
    assert 45002 in seen.ports(3)
    assert 45002 not in seen.ports(2)


def test_nothing_of_the_old_place_is_left(moved):
    assert sorted(out("client1", "ip rule show; ip route show table all").splitlines()) == sorted(
        moved["rules"].splitlines()
    )
    sockets = [line.split()[2] for line in out("client1", "ss -Hunp").splitlines() if ":45002 " in line]
    assert [socket.rsplit(":", 1)[0] for socket in sockets] == ["100.64.3.10%enp7s5"]
    wait_for(lambda: instances("vps1")["2"]["state"] == "up", seconds=10, what="tunnel 2 up at the VPS")


def test_a_play_that_died_before_its_restarts_is_made_good(moved):
    """What runs counts, not what a run writes: here the file is right already and the daemon still runs another."""
    path = "/etc/mpquic/instances/6.yaml"
    del moved
    out("client1", f"cp -p {path} /run/6.yaml; echo '# other' >> {path}; systemctl restart mpquic@6")
    out("client1", f"cp -p /run/6.yaml {path}")
    recap(play())
    digest = out("client1", f"sha256sum < {path}").split()[0]
    assert instances("client1")["6"]["config"] == digest
