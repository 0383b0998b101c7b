# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a site: complete, well-formed, closed in itself, and deaf to what hostile hosts say."""

from __future__ import annotations

import copy
import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import report_site as hosts
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import plots, site_report
from multipath_sites import with_dataplane
from sites import reference

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT / "scripts"))

import scale  # noqa: E402 - what `make scale` plans

INVENTORIES = [ROOT / "inventories/lab", ROOT / "inventories/example", *sorted(ROOT.glob("molecule/*/inventory"))]
INVENTORIES = [folder for folder in INVENTORIES if (folder / "hosts.yml").exists()]
VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = '</text></svg><script>alert(1)</script><img src=http://evil.example/x onerror="x">{{ 7*7 }}\'\x00\ud800'


class Page(HTMLParser):
    """Holds a page to be well-formed, and remembers what is in it."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), tag
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def planned(groups, hostvars):
    plan = site_plan(groups, hostvars)
    assert plan["errors"] == []
    return plan


def all_well(plan):
    return {
        name: hosts.brought({"status": hosts.status_of(part), **hosts.well()})
        for name, part in plan["hosts"].items()
        if not part["legacy"]
    }


def shown(plan, seen):
    html = site_report(plan, seen, hosts.NOW)
    page = Page(html)
    # Nothing is loaded from anywhere, and nothing runs.
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "action", "data", "xlink:href", "srcset", "poster"}:
            assert value.startswith("#"), value
    assert not re.search(r"url\(|@import", html)
    html.encode()
    return page


def reference_site():
    return planned(*reference())


def expected(plan):
    """Yield every name, address and number of a plan that an operator may look for."""
    for name, part in plan["hosts"].items():
        yield name
        for instance in part["instances"]:
            config = instance["config"]
            yield config["tun_name"]
            yield config["tun_cidr"]
            yield from [config[key] for key in ("tun_cidr6", "remote_addr") if key in config]
            for path in config.get("multipath_paths", [config]):
                yield str(path["bind_ip"]).removeprefix("if:")
                yield f":{path['remote_port']}"
            led = config.get("lan_routing", {})
            yield from led.get("cidrs", [])
            yield from [str(led[key]) for key in ("interface", "table", "priority") if key in led]
            yield from [f"{led[key]:#x}" for key in ("mark",) if key in led]
        for link in part.get("classes", {}).get("links", []):
            yield from itertools.chain.from_iterable(lan["cidrs4"] + lan["cidrs6"] for lan in link["lans"])
        yield from part.get("wans", {}).get("wans", {})


@pytest.mark.parametrize("folder", INVENTORIES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_all_of_the_plan_is_in_it(folder):
    plan = planned(*hosts.inventory(folder))
    for seen in (all_well(plan), {}):
        page = shown(plan, seen)
        missing = [word for word in expected(plan) if word not in page.text]
        assert missing == []


def test_of_many_sites_each_has_a_drawing():
    plan = planned(*scale.site(11))
    page = shown(plan, all_well(plan))
    assert [word for word in expected(plan) if word not in page.text] == []
    assert "11 of 11 sites well" in page.text
    drawn = [value for name, value in page.attributes if name == "aria-label" and " to vps1: " in value]
    assert len(drawn) == 11


def test_a_site_that_is_well_needs_no_attention():
    page = shown(plan := reference_site(), all_well(plan))
    assert "1 of 1 site well" in page.text
    assert "Nothing: every host that was asked is well" in page.text
    assert "The host is as planned, and as the last run left it." in page.text
    assert "192.0.2.103" in page.text


def test_a_fault_is_in_every_place():
    plan = reference_site()
    status = hosts.client_status(plan["hosts"]["client1"])
    status["instances"][3] |= {"state": "connecting", "reason": "no answer from 203.0.113.10:45004", "since_s": 754.0}
    status["instances"][1]["last_fault"] = {"reason": "interface enp7s4 has no carrier", "ago_s": 7980.0}
    found = hosts.doctor_of(("tunnel 4", "no_answer", "no answer for 12 min", {"id": "4", "wan": "enp7s6"}))
    seen = all_well(plan)
    seen["client1"] = hosts.brought({"status": status, **hosts.well(), "doctor": found})
    page = shown(plan, seen)
    assert "0 of 1 site well" in page.text
    assert "client1, tunnel 4 : no answer for 12 min" in page.text
    assert "ping -I enp7s6 SERVER" in page.text
    assert "5 of 6 up" in page.text
    assert "tunnel 4 connecting 12 min 34 s" in page.text
    assert "2 h 13 min ago: interface enp7s4 has no carrier" in page.text
    classes = [value for name, value in page.attributes if name == "class"]
    assert classes.count("wire bad") == 2  # to its WAN, and from there
    assert classes.count("wire good") == 10


def test_a_path_is_told_apart_from_its_tunnel():
    plan = planned(*with_dataplane())
    status = hosts.client_status(plan["hosts"]["client1"])
    status["instances"][-1]["paths"][1] |= {"state": "lossy", "reason": "loss", "loss": 0.21}
    seen = all_well(plan)
    seen["client1"] = hosts.brought({"status": status, **hosts.well()})
    page = shown(plan, seen)
    assert "lossy · 31.2 ms · 21.0 % lost" in page.text
    assert [value for name, value in page.attributes if name == "class"].count("wire doubt") == 2
    # What the classes take.
    assert "calls: protocol udp, dst ports 5060 10000-20000, dscp 46" in page.text
    assert "rest: all else" in page.text


def test_a_host_that_cannot_be_reached_is_told_by_its_vps():
    plan = reference_site()
    seen = all_well(plan) | {"client1": hosts.unreached()}
    page = shown(plan, seen)
    assert "client1 cannot be reached: Failed to connect to the host via ssh: No route to host" in page.text
    assert "What follows of its tunnels is what vps1 says" in page.text
    assert "1 not reached" in page.text
    assert "6 of 6 up" in page.text
    # As the client sees it: what the VPS sends comes.
    health = page.text[page.text.index("tunnel 1 up") :]
    assert health.index("23.4 Mbit/s") < health.index("4.1 Mbit/s")


def test_a_tunnel_that_is_down_is_told_where_nobody_says_why():
    plan = planned(*with_dataplane())
    part = plan["hosts"]["client1"]
    status = hosts.client_status(part)
    status["instances"][2] = {"id": "3", "state": "down", "reason": "not running"}
    status["instances"][-1]["paths"][0] |= {"state": "down", "reason": "no carrier"}
    seen = all_well(plan)
    seen["client1"] = hosts.brought({"status": status, **hosts.well()})
    page = shown(plan, seen)
    assert "client1, tunnel 3 : down: not running" in page.text
    assert "client1, tunnel mp1, path enp7s3 : down: no carrier" in page.text
    assert "2 of 3 paths well" in page.text
    # The VPS says it of a client that cannot be reached.
    status = hosts.server_status(plan["hosts"]["vps1"])
    status["instances"][0]["peers"][0] |= {"state": "down", "reason": "no acknowledgement"}
    page = shown(plan, {"client1": hosts.unreached(), "vps1": hosts.brought({"status": status, **hosts.well()})})
    assert "client1, tunnel 1 : down, as vps1 sees it: no acknowledgement" in page.text


def test_hosts_that_were_not_asked_or_do_not_answer_are_told():
    plan = reference_site()
    page = shown(plan, {"vps1": hosts.unreached("")})
    assert "client1 was not asked: this run was not for it." in page.text
    assert "vps1 cannot be reached: it does not answer" in page.text
    assert "not known" in page.text


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"rc": 1, "stderr": "mpquic: /var/lib/mpquic/history.db: no such file"}, "history.db: no such file"),
        ({"rc": 124, "stderr": ""}, "no answer within a minute"),
        ({"rc": 127, "stderr": "timeout: failed to run command"}, "mpquic is not installed there"),
        ({"rc": 0, "stdout": "half a {"}, "something else than JSON"),
        ({"rc": 0, "stdout": "[" * 100000}, "something else than JSON"),
        ({"rc": 0, "stdout": "[]"}, "something else than JSON"),
        ({"unreachable": True, "msg": "Connection reset"}, "Connection reset"),
    ],
)
def test_an_answer_that_is_missing_is_told(how, told):
    plan = reference_site()
    seen = all_well(plan)
    said = {"status": hosts.client_status(plan["hosts"]["client1"]), **hosts.well()}
    seen["client1"] = hosts.brought(said, failed={"history": how})
    page = shown(plan, seen)
    assert f"it did not say what it recorded: {told}" in page.text or told in page.text
    assert "6 of 6 up" in page.text


def test_a_day_is_plotted(tmp_path, capsys):
    plan = planned(*with_dataplane())
    part = plan["hosts"]["client1"]
    events = [
        hosts.event(5.5, "tunnel_down", "connecting", "no answer", instance="4"),
        hosts.event(2, "path_doubt", "lossy", "21 % lost", instance="mp1", path="enp7s4"),
    ]
    history = hosts.history_of(tmp_path, part, capsys, events=events, down=((5, 5.5),))
    seen = all_well(plan)
    seen["client1"] = hosts.brought({"status": hosts.client_status(part), **hosts.well(), "history": history})
    page = shown(plan, seen)
    for title in ("tunnel 1: throughput", "tunnel mp1, path enp7s4: round trip", "tunnel mp1, class calls: throughput"):
        assert title in page.text
    assert "tunnel mp1, class calls: round trip" not in page.text
    assert "2027-01-15 02:30 tunnel 4 tunnel down connecting: no answer" in page.text
    # Newest first.
    assert page.text.index("path doubt lossy: 21 % lost") < page.text.index("tunnel down connecting")
    lines = [value for name, value in page.attributes if name == "points"]
    assert max(len(line.split()) for line in lines) == 2 * 96
    for line in lines:
        for point in line.split():
            x, y = map(float, point.split(","))
            assert plots.LEFT <= x <= plots.RIGHT
            assert plots.TOP <= y <= plots.BOTTOM
    assert [value for name, value in page.attributes if name == "class"].count("bar bad") >= 2
    labels = [value for name, value in page.attributes if name == "aria-label"]
    # 20 MB in a minute at most, and in the mean of a quarter of an hour.
    assert "tunnel 1: throughput of 24 hours, at most 3.2 Mbit/s" in labels


def test_a_vps_tells_the_day_of_a_client_that_is_away(tmp_path, capsys):
    plan = reference_site()
    part = plan["hosts"]["vps1"]
    history = hosts.history_of(tmp_path, part, capsys, hours=6)
    seen = {"client1": hosts.unreached()}
    seen["vps1"] = hosts.brought({"status": hosts.server_status(part), **hosts.well(), "history": history})
    page = shown(plan, seen)
    assert "tunnel 6: throughput" in page.text


def test_a_gap_stays_a_gap():
    steps = [(float(at * 900), 1e6) for at in (1, 2, 3, 10, 11)]
    drawing = plots._Drawing("t", 900.0, [], 86400.0)
    assert [len(piece.split()) for piece in drawing._pieces(steps, 2e6)] == [6, 4]


def test_differences_are_those_that_the_hosts_tell():
    plan = reference_site()
    drift = {"tunnel": "4", "code": "rule_missing", "message": "no '504: from 172.16.4.0/30'", "ms": 62}
    said = {
        "status": hosts.client_status(plan["hosts"]["client1"]),
        **hosts.well(),
        "mark": {"plan": "a", "pins": {}, "own": [], "faults": ["/etc/mpquic/instances/4.yaml: changed"]},
        "watch": {"running": False, "repairs": [drift | {"at": hosts.NOW - 3600}], "remaining": [drift]},
    }
    seen = all_well(plan)
    seen["client1"] = hosts.brought(said, changes=[{"text": "tunnel 2: enp7s4 -> enp7s5"}])
    page = shown(plan, seen)
    for line in (
        "site.yml would change tunnel 2: enp7s4 -> enp7s5",
        "since the last run /etc/mpquic/instances/4.yaml: changed",
        "the watch it does not run",
        "the watch could not repair tunnel 4: no '504: from 172.16.4.0/30'",
        "the watch repaired at 2027-01-15 07:00 tunnel 4: no '504",
        "not as planned: 1 change to make ansible-playbook site.yml --check --diff",
    ):
        assert line in page.text


def test_quotas_are_told_planned_or_counted():
    plan = planned(*hosts.inventory(ROOT / "inventories/lab"))
    groups, hostvars = hosts.inventory(ROOT / "inventories/lab")
    hostvars["client1"]["mpquic_wans"] = {
        "enp7s4": {"quota": "50G", "billing_day": 12, "metered": True},
        "enp7s5": {"quota": "10G"},
    }
    plan = planned(groups, hostvars)
    seen = all_well(plan)
    status = hosts.client_status(plan["hosts"]["client1"])
    status["wans"] = [hosts.usage("enp7s4", 83.0, "warn", warned=80)]
    seen["client1"] = hosts.brought({"status": status, **hosts.well()})
    page = shown(plan, seen)
    assert "client1, WAN enp7s4 : 41.5 GB of 50.0 GB used" in page.text
    assert "enp7s4 41.5 GB 50.0 GB 83 % 2027-01-12 to 2027-02-12 kept as a backup" in page.text
    assert "10.0 GB from day 1 of each month" in page.text


def test_another_implementation_is_left_alone():
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_legacy_from"] = ["192.0.2.0/24"]
    plan = planned(groups, hostvars)
    page = shown(plan, all_well(plan))
    assert "it runs the Go implementation, and is left alone" in page.text


def poisoned(value, poison):
    """Return an answer in which every text is hostile, but for those that say what an entry is about."""
    kept = {"id", "name", "instance", "kind", "level", "wan", "peer"}
    if isinstance(value, dict):
        return {key: item if key in kept else poisoned(item, poison) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, poison) for item in value]
    return poison if isinstance(value, str) else value


def test_what_peers_say_stays_text(tmp_path, capsys):
    plan = planned(*with_dataplane())
    part = plan["hosts"]["client1"]
    found = hosts.doctor_of(("tunnel 1", "no_answer", "", {"id": "1", "wan": "w"}), ("host", "dns_silent", "", {}))
    event = hosts.event(1, "path_down", "down", "gone", instance="mp1", path="enp7s3")
    said = {
        "status": hosts.client_status(part),
        **hosts.well(),
        "doctor": found,
        "history": hosts.history_of(tmp_path, part, capsys, events=[event], hours=2),
        "mark": {"faults": ["changed"]},
        "watch": {"running": True, "repairs": [], "remaining": [{"tunnel": "1", "message": "gone"}]},
    }
    for instance in said["status"]["instances"]:
        instance["last_fault"] = {"reason": "gone", "ago_s": 5.0}
    brought = hosts.brought({}, changes=[{"text": HOSTILE}])
    brought["answers"]["results"] = [
        {"item": {"name": name}, "rc": 0, "stdout": json.dumps(poisoned(told, HOSTILE))} for name, told in said.items()
    ] + [{"item": {"name": "another"}, "rc": 1, "stderr": HOSTILE}]
    page = shown(plan, {"client1": brought, "vps1": hosts.unreached(HOSTILE)})
    text = " ".join(page.texts)
    for place in ("site.yml would change", "since the last run", "the watch could not repair"):
        assert place in text
    assert text.count("<script>alert(1)</script>") > 10
    assert "49" not in re.findall(r"onerror=\"x\">(\d+)", text)


@pytest.mark.parametrize("junk", [None, 5, "text", [], [1, None, "x"], {"a": 1}, True, 10**400, -1e308, [[{}]]])
def test_an_answer_of_another_form_is_as_good_as_none(junk, tmp_path, capsys):
    groups, hostvars = with_dataplane()
    hostvars["client1"]["mpquic_tunnels"] = []
    plan = planned(groups, hostvars)
    part = plan["hosts"]["client1"]
    history = hosts.history_of(tmp_path, part, capsys, hours=1)
    status = hosts.client_status(part)
    for told in ({"status": status}, {"history": history}, {"doctor": hosts.doctor_of(("host", "dns_silent", "", {}))}):
        ((name, answer),) = told.items()
        for broken in mutants(answer, junk):
            brought = hosts.brought({})
            brought["answers"]["results"] = [{"item": {"name": name}, "rc": 0, "stdout": json.dumps(broken)}]
            site_report(plan, {"client1": brought}, hosts.NOW)


def mutants(answer, junk):
    """Yield copies of an answer in which one key of the first entries is something else."""
    for key, value in answer.items():
        yield {**answer, key: junk}
        if isinstance(value, list) and value:
            for inner in value[-1]:
                changed = copy.deepcopy(answer)
                changed[key] = [*value[:-1], {**value[-1], inner: junk}]
                yield changed


def test_there_are_no_keys_in_it():
    groups, hostvars = reference()
    plan = planned(groups, hostvars)
    seen = all_well(plan)
    page = shown(plan, seen)
    assert "sha256:" not in page.text
    assert "key.pem" not in page.text
