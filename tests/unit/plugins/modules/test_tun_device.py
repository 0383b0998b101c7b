# SPDX-License-Identifier: GPL-3.0-or-later
"""mpquic.tunnel.tun_device on real devices."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.netns

WANTED = {"name": "mpq4", "cidr": "10.200.4.1/30", "mtu": 1350, "owner": "nobody"}


def test_creates_then_changes_nothing(run, netns):
    first = run("tun_device", **WANTED)
    assert first["changed"] is True
    assert first["device"]["addresses"] == ["10.200.4.1/30"]
    assert first["diff"]["before"] == {}
    assert first["diff"]["after"] == first["device"]
    assert "mtu 1350" in netns.ip("link show mpq4")
    second = run("tun_device", **WANTED)
    assert second["changed"] is False
    assert second["actions"] == []
    assert "diff" not in second
    assert second["device"] == first["device"]


def test_ipv6(run, netns):
    both = {**WANTED, "cidr": "10.200.10.1/32", "cidr6": "fd6d:7071:10::1/128"}
    promised = run("tun_device", check=True, **both)["device"]
    done = run("tun_device", **both)["device"]
    assert done["addresses"] == ["10.200.10.1/32", "fd6d:7071:10::1/128"]
    assert promised == done
    assert run("tun_device", **both)["changed"] is False
    missing = run("tun_device", check=True, executable="/nowhere/mpquic", **both)
    assert missing["device"]["addresses"] == done["addresses"]
    gone = run("tun_device", **{**both, "cidr6": ""})
    assert gone["actions"] == ["delete fd6d:7071:10::1/128 from mpq4"]
    assert "inet6" not in netns.ip("address show mpq4")


def test_check_mode_promises_what_comes_and_changes_nothing(run, netns):
    planned = run("tun_device", check=True, **WANTED)
    assert planned["changed"] is True
    assert "mpq4" not in netns.ip("link")
    done = run("tun_device", **WANTED)
    for key in ("device", "actions", "diff"):
        assert planned[key] == done[key]


def test_diff_shows_what_changes_in_the_operators_terms(run):
    run("tun_device", **WANTED)
    diff = run("tun_device", **{**WANTED, "mtu": 1280})["diff"]
    assert {key for key in diff["after"] if diff["before"][key] != diff["after"][key]} == {"mtu"}


def test_absent_removes(run, netns):
    run("tun_device", **WANTED)
    assert run("tun_device", name="mpq4", state="absent", check=True)["changed"] is True
    gone = run("tun_device", name="mpq4", state="absent")
    assert gone["changed"] is True
    assert gone["device"] is None
    assert "mpq4" not in netns.ip("link")
    assert run("tun_device", name="mpq4", state="absent")["changed"] is False


def test_an_error_of_the_command_is_the_message(run, netns):
    netns.veth("mpq4")
    failed = run("tun_device", **WANTED)
    assert failed["failed"] is True
    assert failed["msg"] == "mpq4 exists and is of kind veth; expected a TUN or nothing"
    assert failed["rc"] == 1
    wrong = run("tun_device", **{**WANTED, "cidr": "10.200.4.0/30"})
    assert wrong["msg"].startswith("cidr 10.200.4.0/30: expected a host address")


def test_present_needs_a_cidr(run):
    assert "cidr" in run("tun_device", name="mpq4")["msg"]


def test_a_target_without_the_command(run):
    nowhere = {**WANTED, "executable": "/nonexistent/mpquic"}
    planned = run("tun_device", check=True, **nowhere)
    assert planned["changed"] is True
    assert planned["diff"]["after"]["addresses"] == ["10.200.4.1/30"]
    assert run("tun_device", check=True, state="absent", **nowhere)["changed"] is False
    failed = run("tun_device", **nowhere)
    assert failed["failed"] is True
    assert "/nonexistent/mpquic: no such command; install it first" in failed["msg"]
