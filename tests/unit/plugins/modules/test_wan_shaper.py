# SPDX-License-Identifier: GPL-3.0-or-later
"""mpquic.tunnel.wan_shaper on real qdiscs and classes."""

from __future__ import annotations

import subprocess

import pytest
import yaml

pytestmark = pytest.mark.netns


def link(rate=20_000_000, **changes):
    return {
        "name": "mt1",
        "on": "if:wan7",
        "rate": rate,
        "inner": 0x100,
        "default": True,
        "classes": [
            {"name": "cr5", "minor": 0x101, "priority": 0, "share": 95},
            {"name": "rest", "minor": 0x1FF, "priority": 7, "share": 5},
        ],
    } | changes


@pytest.fixture
def wants(netns):
    netns.veth("wan7")

    def write(*links):
        (netns.folder / "shaper.yaml").write_text(yaml.safe_dump({"links": list(links)}))

    write(link())
    return write


@pytest.fixture
def shaper(run, netns, wants):
    return lambda **options: run("wan_shaper", file=str(netns.folder / "shaper.yaml"), **options)


def tc(netns, command):
    return subprocess.run(["tc", "-n", netns.name, *command.split()], check=True, capture_output=True, text=True).stdout


def test_fix_then_nothing_to_do(shaper, netns):
    planned = shaper(check=True)
    assert planned["changed"] is True
    assert "6d71:" not in tc(netns, "qdisc show dev wan7")
    first = shaper()
    assert (first["changed"], first["rc"], first["degraded"]) == (True, 0, 0)
    assert first["diff"] == planned["diff"]
    assert first["diff"]["before"] == {"wan7": None}
    assert first["diff"]["after"]["wan7"]["link mt1 (6d71:100)"] == "19600kbit, burst 9800b"
    second = shaper()
    assert (second["changed"], second["rc"]) == (False, 0)
    assert "diff" not in second
    assert "diff" not in shaper(check=True)


def test_diff_shows_only_what_changes(shaper, wants):
    shaper()
    classes = link()["classes"]
    classes[1]["priority"] = 6
    wants(link(classes=classes))
    changed = shaper()
    (name,) = changed["diff"]["before"]["wan7"]
    assert name == "mt1 class rest (6d71:1ff)"
    assert "priority 7" in changed["diff"]["before"]["wan7"][name]
    assert "priority 6" in changed["diff"]["after"]["wan7"][name]


def test_check_names_problems_and_never_changes_or_fails(shaper, netns):
    shaper()
    tc(netns, "class change dev wan7 parent 6d71: classid 6d71:100 htb rate 1mbit")
    before = tc(netns, "-d class show dev wan7")
    found = shaper(mode="check")
    assert (found["changed"], found["rc"], found["degraded"]) == (False, 2, 1)
    assert [problem["code"] for problem in found["interfaces"][0]["problems"]] == ["class_wrong"]
    assert "failed" not in found
    assert tc(netns, "-d class show dev wan7") == before


def test_what_a_fix_cannot_repair_is_a_warning(shaper, netns, wants):
    wants(link(on="if:wan9"))
    done = shaper()
    assert "failed" not in done
    assert (done["changed"], done["degraded"]) == (False, 1)
    warned = (netns.folder / "module-err").read_text()
    assert warned.strip() == "[WARNING]: interface_missing: interface wan9 of link mt1 does not exist"


def test_a_repair_that_fails_fails_the_module(shaper, netns, wants):
    shaper()
    tc(netns, "class add dev wan7 parent 6d71:101 classid 6d71:50 htb rate 1mbit")
    wants(link(classes=link()["classes"][1:]))
    failed = shaper()
    assert failed["failed"] is True
    assert "fix_failed: wan7: class 6d71:101: remove: the kernel refused: " in failed["msg"]


def test_no_file_takes_the_shaper_away(shaper, netns):
    shaper()
    (netns.folder / "shaper.yaml").unlink()
    done = shaper()
    assert done["diff"]["after"] == {"wan7": None}
    assert "6d71:" not in tc(netns, "qdisc show dev wan7")


def test_a_wrong_file_fails_with_its_message(shaper, wants):
    wants(link(rate=1))
    failed = shaper()
    assert failed["failed"] is True
    assert failed["rc"] == 78
    assert "links[0].rate: found 1, expected bits per second" in failed["msg"]


def test_a_target_without_the_command(shaper):
    nowhere = {"executable": "/nonexistent/mpquic"}
    planned = shaper(check=True, **nowhere)
    assert planned["changed"] is True
    assert planned["degraded"] is None
    assert planned["diff"]["before"] != planned["diff"]["after"]
    assert shaper(check=True, mode="check", **nowhere)["changed"] is False
    assert "no such command" in shaper(**nowhere)["msg"]
