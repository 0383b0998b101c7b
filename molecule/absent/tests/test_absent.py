# SPDX-License-Identifier: GPL-3.0-or-later
"""What uninstall.yml leaves: nothing; and the site can be built again."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TUNNELS, WEB, all_up, capture, out, play, recap, run, wait_for

HOSTS = ("client1", "vps1")
SNAPSHOT = (Path(__file__).parent.parent / "snapshot.sh").read_text()
UNINSTALL = "playbooks/uninstall.yml"


def snapshot(host: str) -> set[str]:
    return set(out(host, SNAPSHOT).splitlines())


@pytest.fixture(scope="module")
def gone():
    """Look at the preview, then uninstall, while a LAN keeps asking for the internet."""
    before = {host: snapshot(host) for host in HOSTS}
    preview = play("--check", "--diff", playbook=UNINSTALL)
    untouched = {host: snapshot(host) for host in HOSTS}
    result = play(playbook=UNINSTALL)
    after = {host: snapshot(host) for host in HOSTS}
    return {"before": before, "preview": preview, "untouched": untouched, "result": result, "after": after}


def test_the_preview_names_what_goes_and_touches_nothing(gone):
    assert all(counts["changed"] > 0 for counts in recap(gone["preview"]).values())
    for thing in (
        "unit mpquic@1.service",
        "tun mpq1",
        "nft inet mpquic",
        "file /etc/mpquic",
        "user mpquic",
        "shaper enp7s7",
    ):
        assert thing in gone["preview"].stdout
    assert gone["untouched"] == gone["before"]


@pytest.mark.parametrize("host", HOSTS)
def test_the_machine_is_as_it_was(gone, host):
    recap(gone["result"])
    bare = set(out(host, "cat /var/tmp/bare").splitlines())
    assert len(bare) > 500
    assert (sorted(gone["after"][host] - bare), sorted(bare - gone["after"][host])) == ([], [])


def test_the_lan_goes_the_way_of_the_operators_own_rules(gone):
    del gone
    with capture() as seen:
        run("lan1", f"ping -c2 -W1 {WEB}", check=False)
    assert any(seen.plain(wan) for wan in TUNNELS)


def test_a_second_time_changes_nothing(gone):
    del gone
    counts = recap(play(playbook=UNINSTALL))
    assert [counts[host]["changed"] for host in HOSTS] == [0, 0]


def test_keys_can_stay_and_the_site_can_be_built_again(gone):
    del gone
    recap(play())
    wait_for(all_up, seconds=30, what="packets of every LAN cross")
    key = out("client1", "sha256sum </etc/mpquic/identity/key.pem")
    recap(play("--limit", "client1", "-e", "mpquic_keep_keys=true", playbook=UNINSTALL))
    assert out("client1", "ls -A /etc/mpquic").split() == ["identity"]
    assert out("client1", "stat -c '%U %a' /etc/mpquic/identity/key.pem").split() == ["root", "600"]
    assert out("vps1", "systemctl is-active mpquic@1").strip() == "active"
    recap(play())
    assert out("client1", "sha256sum </etc/mpquic/identity/key.pem") == key
    wait_for(all_up, seconds=30, what="packets of every LAN cross")
