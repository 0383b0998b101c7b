# SPDX-License-Identifier: GPL-3.0-or-later
"""What the picture is made of: both ends, classes that are tunnels, quotas, and daemons that do not answer."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import yaml
from mpquic.host.history.changes import Event
from mpquic.host.history.figures import Minute, Series
from mpquic.host.history.store import Store
from mpquic.page import day, drift, plan, site
from mpquic.page.looks import Looks
from mpquic.page.names import node
from mpquic.page.plan import Lan, Plan

if TYPE_CHECKING:
    from pathlib import Path


def end(state: str = "up", tx: int | None = 1000, **more: Any) -> dict[str, Any]:
    recent = None if tx is None else {"tx_bps": tx, "rx_bps": 2 * tx}
    return {"state": state, "reason": "because", "since_s": 5.0, "rtt_ms": 20.0, "recent": recent, **more}


def peer(name: str, state: str = "up", **more: Any) -> dict[str, Any]:
    address = f"10.200.{len(name)}.1"
    allowed = [f"{address}/32", f"172.16.{len(name)}.0/30"]
    return end(state, name=name, address=address, allowed=allowed, shared=[], legacy=False, **more)


def picture(*statuses: dict[str, Any], known: Plan | None = None, wans: Any = ()) -> tuple[dict[str, Any], set[Any]]:
    """Return the nodes by their ids, and the links with their levels."""
    found = site.picture(statuses, wans, known or Plan())
    nodes = {one["id"]: one for one in found["nodes"]}
    links = {(one["from"], one["to"], one["level"]) for one in found["links"]}
    assert {key for one in links for key in one[:2]} <= nodes.keys()
    return nodes, links


def test_a_client_of_one_wan_from_lan_to_vps() -> None:
    status = end(id="1", role="client", bind="if:enp7s3", remote="203.0.113.10:45001")
    nodes, links = picture(status, known=Plan({"1": Lan(("172.16.1.0/30", "fd00::/64"), "enp6s20")}))
    lan = "lan:172.16.1.0/30:fd00%3a%3a/64"
    assert links == {
        (lan, "tunnel:1", "good"),
        ("tunnel:1", "wan:enp7s3", "good"),
        ("wan:enp7s3", "vps:203.0.113.10", "good"),
    }
    assert nodes[lan]["about"] == "enp6s20 and fd00::/64"
    assert {(one["tx"], one["rx"]) for one in nodes.values()} == {(1000, 2000)}


def test_what_several_use_is_only_broken_when_all_of_it_is() -> None:
    fine = end(id="1", role="client", bind="if:enp7s3", remote="203.0.113.10:45001")
    lost = end("connecting", None, id="2", role="client", bind="if:enp7s3", remote="203.0.113.10:45002")
    gone = end("down", None, id="3", role="client", bind="if:enp7s4", remote="203.0.113.10:45003")
    nodes, links = picture(fine, lost, gone)
    assert nodes["vps:203.0.113.10"]["level"] == "good"
    assert nodes["wan:enp7s3"]["level"] == "good"
    assert nodes["wan:enp7s4"]["level"] == "bad"
    assert ("tunnel:2", "wan:enp7s3", "unsure") in links
    assert ("wan:enp7s4", "vps:203.0.113.10", "bad") in links
    broken, _links = picture(fine, gone | {"bind": "if:enp7s3"})
    assert broken["wan:enp7s3"]["level"] == "unsure"
    assert nodes["tunnel:3"]["fault"] == "because"


def test_a_fault_of_what_is_up_is_told_and_an_old_one_is_not() -> None:
    recent = {"tx_bps": 0, "rx_bps": 0, "loss": 0.2, "judged": 100}
    ill = end(id="1", role="client", bind="if:a", remote="192.0.2.1:1") | {"recent": recent}
    nodes, _links = picture(ill, end(id="2", last_fault={"reason": "x", "ago_s": 90000.0}))
    assert (nodes["tunnel:1"]["level"], nodes["tunnel:1"]["fault"]) == ("unsure", "20% of the packets are lost")
    assert (nodes["tunnel:2"]["level"], nodes["tunnel:2"]["last"]) == ("good", None)


def test_a_server_shows_its_peers_by_where_they_come_from() -> None:
    peers = [peer("one", remote="198.51.100.7:40000"), peer("three", "waiting", tx=None, remote=None)]
    status = end("listening", id="mt1", role="server", bind="203.0.113.10", local="203.0.113.10:45010", peers=peers)
    nodes, links = picture(status)
    assert links == {
        ("lan:172.16.3.0/30", "tunnel:mt1:one", "good"),
        ("tunnel:mt1:one", "wan:198.51.100.7", "good"),
        ("wan:198.51.100.7", "vps:203.0.113.10", "good"),
        ("lan:172.16.5.0/30", "tunnel:mt1:three", "bad"),
        ("tunnel:mt1:three", "vps:203.0.113.10", "bad"),
    }
    assert nodes["tunnel:mt1:three"]["about"] == "server three"


def test_the_only_peer_of_a_server_is_the_tunnel() -> None:
    path = end(name="wan1", remote="198.51.100.7:40000", local="203.0.113.10:45017", loss=0.0, peer_loss=0.0)
    only = peer("one", paths=[path], classes=[])
    status = end("listening", None, id="mp1", role="server", local=None, bind="203.0.113.10", peers=[only])
    nodes, links = picture(status)
    assert ("path:mp1:one:wan1", "wan:198.51.100.7", "good") in links
    assert nodes["tunnel:mp1"]["tx"] == 1000
    nodes, _links = picture(status | {"peers": [peer("one", "waiting", tx=None)]})
    assert (nodes["tunnel:mp1"]["state"], nodes["tunnel:mp1"]["level"]) == ("waiting", "bad")


def test_a_daemon_that_says_nothing_is_down() -> None:
    nodes, _links = picture({"id": "1", "state": "down", "reason": "not running"})
    assert (nodes["tunnel:1"]["level"], nodes["tunnel:1"]["fault"]) == ("bad", "not running")


def test_a_quota_is_told_of_its_wan() -> None:
    used = {"wan": "enp7s3", "interface": "enp7s3", "metered": False, "since": "2027-01-12", "until": "2027-02-12"}
    used |= {"used_bytes": 83, "quota_bytes": 100, "percent": 83.0, "level": "warn"}
    status = end(id="1", role="client", bind="if:enp7s3", remote="203.0.113.10:45001")
    nodes, _links = picture(status, wans=[used, used | {"wan": "other", "interface": None}])
    assert nodes["wan:enp7s3"]["level"] == "unsure"
    assert "(83%) used since 2027-01-12, soon used up" in nodes["wan:enp7s3"]["about"]


def test_the_plan_is_what_can_be_read_of_the_files(tmp_path: Path) -> None:
    instances = tmp_path / "instances"
    instances.mkdir()
    for name, lan in {"1": {"interface": "lan1", "cidrs": ["172.16.1.0/30"]}, "voice": {"mark": 65536}}.items():
        (instances / f"{name}.yaml").write_text(yaml.safe_dump({"lan_routing": {"cidrs": ["172.16.9.0/24"]} | lan}))
    (instances / "odd.yaml").write_text("lan_routing: {cidrs: [1, 2], interface: 3}")
    (instances / "bad.yaml").write_text("a: [")
    (instances / "none.yaml").write_text("role: server")
    one = {"name": "voice", "tun": "mt1c0", "mark": 65536, "match": []}
    link = {
        "name": "wan4",
        "lans": [{"interface": "lan9", "cidrs4": ["172.16.9.0/24"]}],
        "classes": [one],
        "default": "voice",
    }
    classes = tmp_path / "classes.yaml"
    classes.write_text(yaml.safe_dump({"links": [link]}))
    found = plan.read(instances, classes)
    assert found.links == {"voice": "wan4"}
    assert found.lans["1"] == Lan(("172.16.1.0/30",), "lan1")
    assert found.lans["voice"] == Lan(("172.16.9.0/24",), "lan9")
    assert found.lans["odd"] == Lan(())
    assert {"bad", "none"}.isdisjoint(found.lans)
    classes.write_text("links: [1]")
    assert plan.read(instances, classes).links == {}
    status = end(id="voice", role="client", bind="if:enp7s4", remote="203.0.113.10:45010")
    _nodes, links = picture(status, known=found)
    assert {("lan:172.16.9.0/24", "class:voice", "good"), ("class:voice", "tunnel:voice", "good")} <= links


def test_what_the_watch_could_not_repair_comes_first_and_old_repairs_are_not_told(tmp_path: Path) -> None:
    file = tmp_path / "watch.json"
    assert drift.read(file, 5000) == []
    lost = {"tunnel": "4", "code": "rule_missing", "message": "no '504: ...'"}
    repairs = [lost | {"at": at} for at in (1000, 4000, 4900)] + [lost, 3, lost | {"at": "x"}]
    file.write_text(json.dumps({"pid": 1, "repairs": repairs, "remaining": [lost | {"tunnel": None}]}))
    assert drift.read(file, 5000) == [
        {"level": "bad", "text": "rule_missing: no '504: ...'"},
        {"level": "", "text": "repaired: tunnel 4: rule_missing: no '504: ...'", "at": 4900},
        {"level": "", "text": "repaired: tunnel 4: rule_missing: no '504: ...'", "at": 4000},
    ]
    for odd in ("[]", "{", '{"repairs": 3, "remaining": {"a": 1}}', "[" * 100000):
        file.write_text(odd)
        assert drift.read(file, 5000) == []


def test_names_do_not_run_into_each_other() -> None:
    assert node("path", "a:b", "c") != node("path", "a", "b:c")


def test_one_that_hangs_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "1" / "control.sock"))
        hanging.listen()
        (tmp_path / "2.yaml").touch()
        looks = Looks(tmp_path, tmp_path)
        began = time.monotonic()
        first, second = looks.now()
        assert time.monotonic() - began < 1.9
        assert (first["id"], first["state"]) == ("1", "connecting")
        assert second["reason"].startswith("not running")
        while looks.now()[0]["state"] == "connecting":
            assert time.monotonic() - began < 20
            time.sleep(0.1)
        assert looks.now()[0]["reason"] == "control socket: no whole answer in time" or "timed out" in str(looks.now())


def test_a_day_has_a_value_for_each_step_and_gaps_where_nothing_was_recorded(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    now = 1_800_000_000.0 + 600
    assert "nothing was recorded" in day.read(file, now)["why"]
    minutes = []
    for ago, state in ((20, "up_s"), (40, "doubt_s"), (60, "down_s"), (1600, "down_s")):
        found = Minute(
            Series("mp1", "", "path", "wan1"), int(now // 60) - ago, [900, 1800, 1, 1], rtts=[ago], losses=[0.1]
        )
        setattr(found, state, 60.0)
        minutes.append(found)
    with contextlib.closing(Store(file)) as store, store.transaction() as connection:
        events = [Event(now - ago, "path_down", "down", "no answer", "mp1", "", "wan1") for ago in range(300)]
        store.add(connection, minutes, [*events, Event(now - 90000, "path_up", "up", "", "mp1", "", "wan1")])
    found = day.read(file, now)
    (line,) = found["lines"]
    assert (line["id"], line["down_s"], line["doubt_s"], line["rtt_max"]) == ("path:mp1:wan1", 60, 60, 60)
    assert found["since"] + found["steps"] * found["step_s"] >= now
    levels = line["level"]
    assert len(levels) == found["steps"] == 96
    assert [level for level in levels if level] == ["bad", "unsure", "good"]
    assert line["tx"][levels.index("good")] == 900 * 8 // 900
    told = day.events(file, now)
    assert (len(told["events"]), told["more"], told["events"][0]["level"]) == (200, 100, "bad")
    file.write_bytes(b"no database" * 1000)
    assert "history.db" in day.read(file, now)["why"]
