# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic watch`` in a namespace: what is taken away comes back, and what others own stays theirs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from host_netns import eventually
from mpquic.cli import main
from mpquic.host import drift, firewall, hold, lock, settings, units, watch

if TYPE_CHECKING:
    from pathlib import Path

    from host_netns import Namespace

#: What the role would write for the guard of LAN 4, and a chain that is no guard.
TABLE = """table inet mpquic
delete table inet mpquic
table inet mpquic {
    chain guard {
        type filter hook forward priority filter - 10; policy accept;
        iifname "lan4" ip saddr { 172.16.4.0/30 } oifname != "mpq4" counter drop
    }
    chain clamp {
        type filter hook forward priority mangle; policy accept;
        oifname { "mpq4" } tcp flags syn tcp option maxseg size set rt mtu
    }
}
"""
RULE = "rule add priority 504 from 172.16.4.0/30 iif lan4 lookup 45004 protocol 109"


class Watched:
    """A site under watch."""

    def __init__(self, site: Namespace, log: Path) -> None:
        self.site = site
        self.log = log

    def nft(self, command: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.site.name, "nft", "-f", "-"],
            input=command,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def forwarding(self, value: int | None = None) -> str:
        """Switch it, or leave it, and return what it is then."""
        path = "/proc/sys/net/ipv4/ip_forward"
        command = f"echo {value} > {path}; cat {path}" if value is not None else f"cat {path}"
        return subprocess.run(
            ["ip", "netns", "exec", self.site.name, "sh", "-c", command], check=True, capture_output=True, text=True
        ).stdout.strip()

    def start(self) -> None:
        self.site.children.append(
            self.site.fork(lambda: main(["watch", "--instances", str(self.site.instances)]), out=self.log, err=self.log)
        )
        assert eventually(lambda: watch.FILE.exists() and watch.told(watch.FILE)["pid"] == self.site.children[-1], 20)

    def stop(self) -> None:
        """Stop it in the way of the service manager."""
        child = self.site.children.pop()
        os.kill(child, 15)
        assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 0

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def codes(self) -> set[str]:
        return {repair["code"] for repair in watch.told(watch.FILE)["repairs"]}


@pytest.fixture
def watched(site: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The client with tunnels 4 and 5, watched; its files are old enough to count."""
    monkeypatch.setattr(lock, "LOCK_FILE", str(tmp_path / "lock"))
    monkeypatch.setattr(firewall, "FILE", tmp_path / "mpquic.nft")
    monkeypatch.setattr(firewall, "RECORD", tmp_path / "run" / "nft.json")
    monkeypatch.setattr(settings, "FILES", (tmp_path / "sysctl.conf",))
    monkeypatch.setattr(units, "MANIFEST", tmp_path / "units.sha256")
    monkeypatch.setattr(watch, "FILE", tmp_path / "run" / "watch.json")
    firewall.FILE.write_text(TABLE)
    settings.FILES[0].write_text("net.ipv4.ip_forward = 1\n-net.core.rmem_max = 7500000\n")
    found = Watched(site, tmp_path / "watch.log")
    found.nft(TABLE)
    found.forwarding(1)
    found.start()
    return found


CASES = {
    "rule": (["rule del priority 504"], {"rule_missing"}),
    "route": (["route del default dev mpq4 table 45004"], {"route_missing"}),
    "standing route": (["route del unreachable default table 45004"], {"standing_route_missing"}),
    "whole table": (["route flush table 45004"], {"route_missing", "standing_route_missing"}),
    "TUN": (["link del mpq4"], {"tun_missing", "route_missing"}),
    "TUN down": (["link set mpq4 down"], {"tun_down", "route_missing"}),
    "address": (["address flush dev mpq4"], {"tun_address"}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_taken_away_comes_back(watched, case):
    before = watched.site.snapshot()
    commands, codes = CASES[case]
    for command in commands:
        watched.site.ip(command)
    assert eventually(lambda: watched.site.snapshot() == before)
    assert eventually(lambda: watched.codes() >= codes)
    assert any(line.startswith("info repaired tunnel=4 what=") and " in=" in line for line in watched.lines())


def test_a_rule_flush_leaves_a_way_to_the_main_table(watched):
    """The rules of the operator and of the kernel are not ours to bring back, but the host has to reach somebody."""
    watched.site.ip("rule flush")
    assert eventually(lambda: "32765:" in watched.site.ip("rule"))
    rules = watched.site.ip("rule").splitlines()
    assert all("proto 109" in line or line.startswith("0:") for line in rules), rules
    assert [line.split(":")[0] for line in rules] == ["0", "504", "505", "32765"]
    assert watched.site.routing("fix").json["stale"] == []
    assert "32765:" in watched.site.ip("rule")
    watched.site.ip("rule add priority 32766 lookup main")
    assert eventually(lambda: "32765:" not in watched.site.ip("rule"))


def test_a_way_to_the_main_table_is_made_whatever_else_is_left(watched):
    watched.site.ip("rule del priority 32766")
    assert eventually(lambda: "32765:" in watched.site.ip("rule"))


def test_a_host_that_never_had_one_gets_none(watched):
    watched.stop()
    watched.site.ip("rule del priority 32766")
    watched.start()
    watched.site.ip("rule del priority 504")
    assert eventually(lambda: "504:" in watched.site.ip("rule"))
    assert "32765:" not in watched.site.ip("rule")


def test_another_table_for_all_packets_is_way_enough(watched):
    watched.site.ip("rule add priority 30000 lookup 100")
    watched.site.ip("rule del priority 32766")
    watched.site.ip("rule del priority 504")
    assert eventually(lambda: "504:" in watched.site.ip("rule"))
    assert "32765:" not in watched.site.ip("rule")


def test_the_table_comes_back_whole(watched):
    whole = watched.nft("list table inet mpquic")
    for loss in ("delete table inet mpquic", "flush chain inet mpquic clamp", "flush ruleset"):
        watched.nft(loss)
        assert eventually(lambda: watched.nft("list tables").count("mpquic") == 2), loss
        assert eventually(lambda: watched.nft("list table inet mpquic") == whole), loss
    assert watched.codes() == {"nft_missing", "nft_differs"}


def test_a_table_of_others_is_nobody_s_business(watched):
    watched.nft("table ip stranger { chain a { }; }")
    watched.nft("delete table ip stranger")
    time.sleep(0.3)
    assert watched.codes() == set()


def test_a_flush_does_not_open_the_guard(watched):
    """Both guards at once are gone for nobody: the second one belongs to a socket of the watch."""
    os.kill(watched.site.children[-1], 19)
    try:
        watched.nft("flush ruleset")
        found = watched.nft(f"list table inet {hold.NAME}")
        assert 'iifname "lan4" ip saddr 172.16.4.0/30 oifname != "mpq4" counter' in found
        assert "maxseg" not in found
    finally:
        os.kill(watched.site.children[-1], 18)


def test_the_second_guard_goes_with_the_watch(watched):
    assert f"table inet {hold.NAME}" in watched.nft("list tables")
    watched.stop()
    assert hold.NAME not in watched.nft("list tables")


def test_a_new_file_is_loaded_and_guarded_by(watched):
    firewall.FILE.write_text(TABLE.replace("172.16.4.0/30", "172.16.4.0/24"))
    watched.nft(firewall.FILE.read_text())
    assert eventually(lambda: "172.16.4.0/24" in watched.nft(f"list table inet {hold.NAME}"))
    watched.nft("delete table inet mpquic")
    assert eventually(lambda: "inet mpquic\n" in watched.nft("list tables"))
    assert "172.16.4.0/24" in watched.nft("list table inet mpquic")


def test_files_of_plays_are_adopted_at_once(watched):
    """However many there are: nobody undoes anything."""
    for number in range(10, 20):
        prefix = f"172.16.{number}.0/24"
        firewall.FILE.write_text(TABLE.replace("172.16.4.0/30", prefix))
        watched.nft(firewall.FILE.read_text())
        assert eventually(lambda prefix=prefix: prefix in watched.nft(f"list table inet {hold.NAME}")), prefix
    assert not [line for line in watched.lines() if "pause" in line]


def test_a_good_file_need_not_wait_for_broken_ones(watched):
    for number in range(6):
        firewall.FILE.write_text(f"broken {number}")
        time.sleep(0.3)
    test_a_new_file_is_loaded_and_guarded_by(watched)


def test_forwarding_comes_back(watched):
    watched.forwarding(0)
    assert eventually(lambda: watched.forwarding() == "1")
    assert eventually(lambda: watched.codes() == {"setting_wrong"})


def test_a_file_of_this_minute_is_left_to_the_play(watched):
    """A play that has just written a file is about to make it true itself."""
    path = watched.site.instances / "4.yaml"
    changed = json.loads(path.read_text())
    changed["lan_routing"]["priority"] = 444
    path.write_text(json.dumps(changed))
    watched.site.ip("rule add priority 30000 to 192.0.2.9 lookup 99")  # an event
    time.sleep(0.5)
    assert "504:" in watched.site.ip("rule")
    old = time.time() - drift.SETTLED - 1
    os.utime(path, (old, old))
    watched.site.ip("rule del priority 30000")
    assert eventually(lambda: "444:" in watched.site.ip("rule") and "504:" not in watched.site.ip("rule"))


def test_a_stranger_who_never_gives_up_is_not_fought_for_ever(watched):
    """An undoer takes a rule away each time it is back, as fast as it can."""

    def undone() -> bool:
        command = ["ip", "-n", watched.site.name, "rule", "del", "priority", "504"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def pauses() -> list[str]:
        undone()
        return [line for line in watched.lines() if "undone again and again tunnel=4" in line]

    assert eventually(lambda: pauses() != [], seconds=60)
    assert pauses()[0].endswith("pause=1s")
    end, often = time.monotonic() + 4, 0
    while time.monotonic() < end:
        often += undone()
    assert 1 <= often <= 3
    assert pauses()[1].endswith("pause=2s")
    assert eventually(lambda: "504:" in watched.site.ip("rule"), seconds=10)


def test_status_says_what_was_repaired(watched):
    watched.site.ip("rule del priority 504")
    assert eventually(lambda: "rule_missing" in watched.codes())
    done = watched.site.mpquic("watch", "status", "--json")
    assert done.rc == 0
    entry = done.json["repairs"][-1]
    assert (entry["tunnel"], entry["code"], done.json["running"]) == ("4", "rule_missing", True)
    watched.stop()
    done = watched.site.mpquic("watch", "status")
    assert done.rc == 2
    assert done.out.splitlines()[-1] == "running=no repaired=1 remaining=0"


def test_what_was_repaired_is_remembered_by_the_next_watch(watched):
    watched.site.ip("rule del priority 504")
    assert eventually(lambda: "rule_missing" in watched.codes())
    watched.stop()
    watched.start()
    assert watched.codes() == {"rule_missing"}
