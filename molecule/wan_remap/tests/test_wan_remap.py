# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels 2 and 3 swap their WANs by two edited lines while every LAN is busy; nothing else moves."""

from __future__ import annotations

import shutil

import pytest
from conftest import INVENTORY, TUNNELS, WEB, capture, instances, out, play, recap, wait_for
from flows import load

VARIABLES = "host_vars/client1.yml"
REMAP = "playbooks/remap.yml"
HOSTS = ("client1", "vps1")
MOVED = {"2", "3"}


def site(folder, *edits):
    """Return a copy of the inventory with edits of the client's variables."""
    inventory = folder / "inventory"
    shutil.copytree(INVENTORY, inventory, dirs_exist_ok=True)
    path = inventory / VARIABLES
    text = path.read_text()
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    return inventory


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Swap the WANs of tunnels 2 and 3, and bring them back afterwards."""
    swapped = (("id: 2, wan: enp7s4", "id: 2, wan: enp7s5"), ("id: 3, wan: enp7s5", "id: 3, wan: enp7s4"))
    inventory = site(tmp_path_factory.mktemp("site"), *swapped)
    announced = play("--check", inventory=inventory, playbook=REMAP)
    before = {host: instances(host) for host in HOSTS}
    rules = out("client1", "ip rule show; ip route show table all")
    with load(*(f"lan{i}" for i in TUNNELS), "lan5 6") as flows:
        result = play("--diff", inventory=inventory, playbook=REMAP)
    after = {host: instances(host) for host in HOSTS}
    yield {
        "before": before,
        "after": after,
        "result": result,
        "announced": announced,
        "rules": rules,
        "flows": flows,
        "inventory": inventory,
    }
    recap(play())
    recap(play("--check"))


def test_the_preview_says_what_moves(moved):
    counts = recap(moved["announced"])
    assert (counts["vps1"]["changed"], counts["client1"]["changed"] > 0) == (0, True)
    for line in ("client1 tunnel 2: enp7s4 -> enp7s5", "client1 tunnel 3: enp7s5 -> enp7s4"):
        assert line in moved["announced"].stdout


def test_only_the_two_change(moved):
    counts = recap(moved["result"])
    assert (counts["vps1"]["changed"], counts["client1"]["changed"] > 0) == (0, True)
    for host in HOSTS:
        for name in moved["before"][host].keys() - MOVED:
            was, now = moved["before"][host][name], moved["after"][host][name]
            assert (was["session"], was["pid"], was["connects"]) == (now["session"], now["pid"], now["connects"])


def test_the_others_lose_nothing_and_the_two_hardly_anything(moved):
    lost = {lan: found["lost"] for lan, found in moved["flows"].items()}
    assert all(found["sent"] > 500 for found in moved["flows"].values())
    assert {lan: count for lan, count in lost.items() if lan not in {"lan2", "lan3"}} == dict.fromkeys(
        ("lan1", "lan4", "lan5", "lan6", "lan5 6"), 0
    )
    # A new daemon is connected by the new WAN before the old one goes.
    assert max(lost["lan2"], lost["lan3"]) <= 2, lost


@pytest.mark.parametrize(("tunnel", "wan", "not_wan"), [(2, 3, 2), (3, 2, 3)])
def test_traffic_leaves_by_the_other_wan(moved, tunnel, wan, not_wan):
    del moved
    with capture() as seen:
        out(f"lan{tunnel}", f"curl -sS --max-time 20 -o /dev/null http://{WEB}/bytes/300000")
    assert 45000 + tunnel in seen.ports(wan)
    assert 45000 + tunnel not in seen.ports(not_wan)


def test_nothing_of_the_old_place_is_left(moved):
    assert sorted(out("client1", "ip rule show; ip route show table all").splitlines()) == sorted(
        moved["rules"].splitlines()
    )
    sockets = [line.split()[2] for line in out("client1", "ss -Hunp").splitlines() if ":45002 " in line]
    assert [socket.rsplit(":", 1)[0] for socket in sockets] == ["100.64.3.10%enp7s5"]
    wait_for(lambda: instances("vps1")["2"]["state"] == "up", seconds=10, what="tunnel 2 up at the VPS")


def test_more_than_other_wans_is_refused(moved, tmp_path):
    inventory = site(tmp_path, ("{id: 6, wan: enp7s8,", "{id: 6, wan: enp7s8, log_level: debug,"))
    before = instances("client1")["6"]["config"]
    result = play(inventory=inventory, playbook=REMAP)
    assert result.returncode
    assert "tunnel 6: log_level info -> debug" in result.stdout
    assert "run site.yml" in " ".join(result.stdout.split())
    assert instances("client1")["6"]["config"] == before


def test_a_play_that_died_before_its_restarts_is_made_good(moved):
    """What runs counts, not what a run writes: here the file is right already and the daemon still runs another."""
    path = "/etc/mpquic/instances/6.yaml"
    out("client1", f"cp -p {path} /run/6.yaml; echo '# other' >> {path}; systemctl restart mpquic@6")
    out("client1", f"cp -p /run/6.yaml {path}")
    recap(play(inventory=moved["inventory"], playbook=REMAP))
    digest = out("client1", f"sha256sum < {path}").split()[0]
    assert instances("client1")["6"]["config"] == digest
