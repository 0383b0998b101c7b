# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic shaper`` on real qdiscs and classes, on veth devices in a network namespace."""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml

# The namespaces belong to the tests of the command; a second copy of them would only drift.
sys.path.insert(0, str(Path(__file__).parents[1] / "cli_host"))

from host_netns import Namespace
from shaper_link import LINK

pytestmark = pytest.mark.netns


CLASS = re.compile(r"class htb (\S+) .*?(?:prio (\d) )?rate (\S+)bit ceil (\S+)bit")


def bits(found):
    """Return what tc means by 5880K."""
    return int(found.rstrip("KMG")) * {"K": 10**3, "M": 10**6, "G": 10**9}.get(found[-1], 1)


class Host(Namespace):
    """A namespace with a shaper file."""

    def __init__(self, folder):
        super().__init__(folder)
        self.file = folder / "shaper.yaml"

    def tc(self, command):
        return subprocess.run(
            ["tc", "-n", self.name, *command.split()], check=True, capture_output=True, text=True
        ).stdout

    def qdiscs(self, device):
        return json.loads(self.tc(f"-j -d qdisc show dev {device}"))

    def classes(self, device):
        """Return rate and ceil (bits per second) and priority by class."""
        return {
            handle: (bits(rate), bits(ceil), int(priority) if priority else None)
            for handle, priority, rate, ceil in CLASS.findall(self.tc(f"class show dev {device}"))
        }

    def root(self, device):
        return next(item for item in self.qdiscs(device) if item.get("root"))

    def wants(self, *links):
        self.file.write_text(yaml.safe_dump({"links": list(links)}))

    def shaper(self, *arguments):
        return self.mpquic("shaper", *arguments, "--file", str(self.file), "--json")

    def fix(self, *links):
        self.wants(*links)
        done = self.shaper("fix")
        assert done.err == ""
        return done

    def send(self, address, count):
        def work():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for _ in range(count):
                    sock.sendto(bytes(100), (address, 9))
            return 0

        os.waitpid(self.fork(work), 0)

    def packets(self, device, classid):
        """Return how many packets a class has sent."""
        lines = self.tc(f"-s class show dev {device}").split("class htb ")
        part = next(part for part in lines if part.startswith(f"{classid} "))
        return int(part.split(" Sent ")[1].split()[2])


@pytest.fixture
def host(tmp_path):
    with closing(Host(tmp_path)) as namespace:
        namespace.veth("wan7", "192.0.2.1/24")
        namespace.veth("wan8", "198.51.100.1/24")
        yield namespace


def link(**changes):
    return copy.deepcopy(LINK) | changes


def codes(done):
    return [problem["code"] for found in done.json["interfaces"] for problem in found["problems"]]


def test_fix_builds_it_and_a_second_one_does_nothing(host):
    host.wants(link())
    planned = host.shaper("fix", "--check")
    assert (planned.rc, planned.json["changed"], planned.json["degraded"]) == (2, True, 1)
    assert host.root("wan7")["kind"] == "noqueue"
    done = host.shaper("fix")
    assert (done.rc, done.json["changed"], done.json["degraded"]) == (0, True, 0)
    assert done.json["after"] == planned.json["after"]
    assert done.json["before"] == {"wan7": None}
    assert host.root("wan7")["handle"] == "6d71:"
    assert host.root("wan7")["options"]["default"] == "0x1ff"
    used = 19_600_000
    assert host.classes("wan7") == {
        "6d71:100": (used, used, None),
        "6d71:101": (used * 30 // 100, used, 0),
        "6d71:102": (used * 65 // 100, used, 2),
        "6d71:1ff": (used * 5 // 100, used, 7),
    }
    leaves = {item["parent"]: (item["kind"], item["handle"]) for item in host.qdiscs("wan7") if not item.get("root")}
    assert {handle for _kind, handle in leaves.values()} == {"101:", "102:", "1ff:"}
    assert {kind for kind, _handle in leaves.values()} <= {"fq_codel", "bfifo"}
    before = host.tc("-d qdisc show") + host.tc("-d class show dev wan7")
    again = host.shaper("fix")
    assert (again.rc, again.json["changed"]) == (0, False)
    assert [found["actions"] for found in again.json["interfaces"]] == [[]]
    assert host.tc("-d qdisc show") + host.tc("-d class show dev wan7") == before
    assert host.shaper("check").rc == 0
    assert host.shaper("fix", "--check").rc == 0


def test_a_rate_changes_in_place(host):
    host.fix(link())
    host.ip("neigh replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev wan7")
    host.send("192.0.2.9", 10)
    sent = host.packets("wan7", "6d71:1ff")
    assert sent >= 10
    done = host.fix(link(rate=10_000_000))
    assert (done.rc, done.json["changed"]) == (0, True)
    assert host.packets("wan7", "6d71:1ff") >= sent
    assert host.classes("wan7")["6d71:100"][0] == 9_800_000
    assert host.classes("wan7")["6d71:101"][:2] == (2_940_000, 9_800_000)
    assert not any("remove" in action or "shape" in action for action in done.json["interfaces"][0]["actions"])
    assert host.fix(link(rate=10_000_000)).json["changed"] is False


def test_a_class_is_removed_and_its_share_given_away(host):
    host.fix(link())
    less = link()
    del less["classes"][1]
    less["classes"][0]["share"] = 95
    planned = (host.wants(less), host.shaper("fix", "--check"))[1]
    done = host.fix(less)
    assert sorted(host.classes("wan7")) == ["6d71:100", "6d71:101", "6d71:1ff"]
    assert done.json["after"] == planned.json["after"]
    assert [item["code"] for item in done.json["interfaces"][0]["repaired"]] == ["class_wrong", "stale_class"]


def test_what_was_meddled_with_is_mended(host):
    host.fix(link())
    host.tc("qdisc replace dev wan7 parent 6d71:101 handle 8001: pfifo limit 7")
    host.tc("class add dev wan7 parent 6d71: classid 6d71:999 htb rate 1mbit")
    host.tc("qdisc del dev wan7 parent 6d71:102")
    found = host.shaper("check")
    assert (found.rc, found.json["changed"]) == (2, False)
    assert codes(found) == ["queue_wrong", "queue_wrong", "stale_class"]
    assert host.shaper("check").out == found.out
    done = host.shaper("fix")
    assert (done.rc, codes(done)) == (0, [])
    assert host.shaper("fix").json["changed"] is False


def test_a_queue_of_our_number_and_another_kind_is_exchanged(host):
    host.fix(link())
    host.tc("qdisc del dev wan7 parent 6d71:101")
    host.tc("qdisc add dev wan7 parent 6d71:101 handle 101: pfifo limit 7")
    assert host.shaper("fix").rc == 0
    assert "pfifo 101:" not in host.tc("qdisc show dev wan7").replace("bfifo", "")


def test_another_default_is_built_anew(host):
    host.fix(link())
    done = host.fix(link(default=False))
    assert (done.rc, codes(done)) == (0, [])
    assert host.root("wan7")["options"]["default"] == "0"


@pytest.mark.parametrize("command", ["root handle 1: htb", "root pfifo limit 10", "root handle 6d71: pfifo"])
def test_a_foreign_qdisc_is_left_alone_and_the_others_are_shaped(host, command):
    host.tc(f"qdisc add dev wan7 {command}")
    before = host.tc("-d qdisc show dev wan7")
    other = link(name="mt2", on="if:wan8", inner=0x200)
    for entry in other["classes"]:
        entry["minor"] += 0x100
    done = host.fix(link(), other)
    assert (done.rc, codes(done)) == (2, ["foreign_qdisc"])
    assert host.tc("-d qdisc show dev wan7") == before
    assert host.root("wan8")["handle"] == "6d71:"
    # Nor is it taken away when nothing is wanted any more.
    done = host.fix()
    assert (done.rc, done.json["interfaces"][0]["name"]) == (0, "wan8")
    assert host.tc("-d qdisc show dev wan7") == before


@pytest.mark.parametrize("how", ["no file", "no links", "elsewhere"])
def test_what_is_not_wanted_any_more_gets_its_default_back(host, how):
    default = host.tc("-d qdisc show dev wan7")
    host.fix(link())
    if how == "no file":
        host.file.unlink()
    else:
        host.wants(*([link(on="if:wan8")] if how == "elsewhere" else []))
    found = host.shaper("check")
    assert "stale_shaper" in codes(found)
    done = host.shaper("fix")
    assert (done.rc, codes(done), done.json["changed"]) == (0, [], True)
    assert host.tc("-d qdisc show dev wan7") == default
    assert done.json["after"]["wan7"] is None


def test_two_links_on_one_interface_by_its_addresses(host):
    host.ip("address add 2001:db8::1/64 dev wan7 nodad")
    one = link(on="192.0.2.1", default=False)
    two = link(name="mt2", on="2001:db8::1", inner=0x200, rate=5_000_000, default=False)
    for entry in two["classes"]:
        entry["minor"] += 0x100
    done = host.fix(one, two)
    assert done.rc == 0
    assert [found["links"] for found in done.json["interfaces"]] == [["mt1", "mt2"]]
    classes = host.classes("wan7")
    assert (classes["6d71:100"][0], classes["6d71:200"][0]) == (19_600_000, 4_900_000)
    assert host.root("wan7")["options"]["default"] == "0"
    # One goes, the other stays as it is.
    done = host.fix(two)
    assert sorted(host.classes("wan7")) == ["6d71:200", "6d71:201", "6d71:202", "6d71:2ff"]
    assert host.fix(two).json["changed"] is False


def test_an_interface_that_comes_later(host):
    missing = link(on="if:wan9")
    done = host.fix(
        missing,
        link(
            name="mt2",
            on="203.0.113.10",
            inner=0x300,
            default=False,
            classes=[{"name": "a", "minor": 0x301, "priority": 0, "share": 100}],
        ),
    )
    assert (done.rc, codes(done), done.json["changed"]) == (2, ["interface_missing", "address_missing"], False)
    assert [found["found"] for found in done.json["interfaces"]] == [False, False]
    host.veth("wan9")
    assert host.fix(missing).rc == 0
    assert host.root("wan9")["handle"] == "6d71:"


def test_an_interface_that_is_down(host):
    host.ip("link add wan9 type veth peer name p-wan9")
    assert host.fix(link(on="if:wan9")).rc == 0
    assert host.fix(link(on="if:wan9")).json["changed"] is False
    host.ip("link set wan9 up")
    assert host.shaper("check").rc == 0


@pytest.mark.parametrize("rate", [32_000, 3_333_333, 100_000_000_000])
def test_every_rate_is_read_back_as_it_was_set(host, rate):
    assert host.fix(link(rate=rate)).rc == 0
    assert host.fix(link(rate=rate)).json["changed"] is False


def test_a_queue_that_the_kernel_has_not(host):
    """Whether it has one is asked without leaving a trace."""
    before = host.tc("-d qdisc show")
    host.wants()
    host.shaper("check")
    assert host.tc("-d qdisc show") == before
    there = subprocess.run(
        ["tc", "-n", host.name, "qdisc", "add", "dev", "wan8", "root", "fq_codel"], capture_output=True, check=False
    )
    host.fix(link())
    kinds = {item["kind"] for item in host.qdiscs("wan7") if not item.get("root")}
    assert kinds == ({"fq_codel"} if there.returncode == 0 else {"bfifo"})


def test_a_step_that_fails_is_a_problem_of_its_interface(host):
    host.fix(link())
    host.tc("class add dev wan7 parent 6d71:102 classid 6d71:50 htb rate 1mbit")
    less = link()
    del less["classes"][1]
    done = host.fix(less)
    assert done.rc == 2
    assert "fix_failed" in codes(done)
    assert "the kernel refused" in done.out


def test_text_is_for_people(host):
    host.wants(link())
    done = host.mpquic("shaper", "fix", "--check", "--file", str(host.file))
    assert done.out.splitlines()[0] == "[PLAN] wan7: shape, unclassified to mt1 class rest (6d71:1ff)"
    host.mpquic("shaper", "fix", "--file", str(host.file))
    done = host.mpquic("shaper", "check", "--file", str(host.file))
    assert done.out.splitlines() == ["[OK]   wan7  mt1: 3 classes in 19600kbit", "degraded=0"]


def test_a_wrong_file_changes_nothing(host):
    host.fix(link())
    before = host.tc("-d class show dev wan7")
    host.wants(link(rate=1))
    done = host.shaper("fix")
    assert done.rc == 78
    assert "shaper.yaml: links[0].rate: found 1, expected bits per second" in done.err
    assert host.tc("-d class show dev wan7") == before
