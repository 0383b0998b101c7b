# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic tun ensure`` on real devices."""

from __future__ import annotations

import fcntl
import os
import struct
import time

import pytest

pytestmark = pytest.mark.netns

ENSURE = ("tun", "ensure", "--json", "--name", "mpq4")
PRESENT = (*ENSURE, "--cidr", "10.200.4.1/30", "--owner", "nobody", "--mtu", "1350")


def hold(name: str, *, tap: bool = False) -> int:
    """Attach to a device and stay."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), (2 if tap else 1) | 0x1000))
    time.sleep(60)
    return 0


def carrier(netns, name):
    return "NO-CARRIER" not in netns.ip(f"link show {name}")


def test_makes_a_device_with_all_its_properties(netns):
    done = netns.mpquic(*PRESENT)
    assert done.rc == 0
    assert done.json["changed"]
    found = netns.ip("-d address show mpq4")
    for part in ("tun type tun pi off", "persist on user nobody", "mtu 1350", "qlen 100", "inet 10.200.4.1/30", ",UP>"):
        assert part in found
    assert "inet6" not in found
    assert done.json["after"]["settings"]["ipv4/rp_filter"] == 2


def test_makes_a_device_with_ipv6(netns):
    done = netns.mpquic(*PRESENT, "--cidr6", "fd6d:7071:0:4::1/126")
    assert done.rc == 0
    assert done.json["after"]["addresses"] == ["10.200.4.1/30", "fd6d:7071:0:4::1/126"]
    assert done.json["after"]["settings"]["ipv6/disable_ipv6"] == 0
    found = netns.ip("address show mpq4")
    assert "inet6 fd6d:7071:0:4::1/126 scope global nodad" in found
    assert "fe80" not in found
    assert "fd6d:7071:0:4::/126 dev mpq4" in netns.ip("-6 route")
    again = netns.mpquic(*PRESENT, "--cidr6", "fd6d:7071:0:4::1/126").json
    assert again["changed"] is False
    assert again["actions"] == []


@pytest.mark.parametrize("words", [(), ("--cidr6", "")])
def test_without_a_cidr6_there_is_no_ipv6_address(netns, words):
    """Nothing is what an environment variable holds that is not there."""
    netns.mpquic(*PRESENT, "--cidr6", "fd6d:7071:0:4::1/126")
    done = netns.mpquic(*PRESENT, *words)
    assert done.json["actions"] == ["delete fd6d:7071:0:4::1/126 from mpq4"]
    assert "inet6" not in netns.ip("address show mpq4")


def test_a_new_ipv6_address_in_the_same_prefix_keeps_its_route(netns, monitor):
    netns.mpquic(*PRESENT, "--cidr6", "fd6d:7071:0:4::1/126")
    events = monitor.events(lambda: netns.mpquic(*PRESENT, "--cidr6", "fd6d:7071:0:4::2/126"))
    assert any("fd6d:7071:0:4::2" in event for event in events)
    assert not [event for event in events if event.startswith("Deleted fd6d:7071:0:4::/126")]
    assert "fd6d:7071:0:4::/126 dev mpq4" in netns.ip("-6 route")


def test_an_unchanged_device_is_not_touched_at_all(netns, monitor):
    netns.mpquic(*PRESENT)
    netns.ip("route add default dev mpq4 table 77")
    second = None

    def again():
        nonlocal second
        second = netns.mpquic(*PRESENT)

    assert monitor.events(again) == []
    assert second.json["changed"] is False
    assert second.json["actions"] == []
    assert second.json["before"] == second.json["after"]


def test_check_plans_and_changes_nothing(netns):
    before = netns.snapshot()
    done = netns.mpquic(*PRESENT, "--check")
    assert done.rc == 2
    assert done.json["before"] is None
    assert done.json["after"]["mtu"] == 1350
    assert netns.snapshot() == before
    netns.mpquic(*PRESENT)
    assert netns.mpquic(*PRESENT, "--check").rc == 0


def test_a_new_address_in_the_same_prefix_keeps_the_routes_through_the_device(netns):
    netns.mpquic(*PRESENT)
    netns.ip("route add default dev mpq4 table 77")
    done = netns.mpquic(*ENSURE, "--cidr", "10.200.4.2/30", "--owner", "nobody")
    assert done.json["after"]["addresses"] == ["10.200.4.2/30"]
    found = netns.ip("address show mpq4")
    assert "10.200.4.2/30" in found
    assert "10.200.4.1" not in found
    assert "default dev mpq4" in netns.ip("route show table 77")
    assert "mtu 1350" in found, "an MTU that was not asked for changed"


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        ("link set mpq4 down", "up"),
        ("link set mpq4 mtu 1200", "mtu"),
        ("link set mpq4 txqueuelen 500", "queue_length"),
        ("address add 192.0.2.9/32 dev mpq4", "addresses"),
        ("address flush dev mpq4", "addresses"),
    ],
)
def test_repairs_only_what_differs(netns, drift, expected):
    wanted = netns.mpquic(*PRESENT).json["after"]
    netns.ip(drift)
    done = netns.mpquic(*PRESENT).json
    differing = {key for key in wanted if done["before"][key] != wanted[key]}
    assert expected in differing
    assert differing <= {expected, "settings"}
    assert done["after"] == wanted
    assert netns.mpquic(*PRESENT).json["before"] == wanted


def test_gives_a_free_device_to_another_user(netns):
    netns.mpquic(*PRESENT)
    done = netns.mpquic(*ENSURE, "--cidr", "10.200.4.1/30", "--owner", "daemon")
    assert done.json["actions"] == ["give mpq4 from nobody to daemon"]
    assert "user daemon" in netns.ip("-d link show mpq4")


def test_does_not_take_a_device_away_from_a_running_program(netns):
    netns.mpquic(*PRESENT)
    netns.background(lambda: hold("mpq4"))
    while not carrier(netns, "mpq4"):
        time.sleep(0.01)
    before = netns.snapshot()
    done = netns.mpquic(*ENSURE, "--cidr", "10.200.4.2/30", "--owner", "daemon")
    assert done.rc == 1
    assert done.err == "mpquic: give mpq4 from nobody to daemon: a running program is attached to it\n"
    assert netns.snapshot() == before


def held(netns):
    netns.mpquic(*PRESENT)
    netns.background(lambda: hold("mpq4"))
    while not carrier(netns, "mpq4"):
        time.sleep(0.01)


@pytest.mark.parametrize("low", [1300, 1200])
def test_a_lower_mtu_of_a_held_device_is_no_drift(netns, low):
    """The daemon fits it to the path; below 1280 the kernel ends IPv6 on the device, and above begins it anew."""
    held(netns)
    for mtu in (low, 1310):
        netns.ip(f"link set mpq4 mtu {mtu}")
        done = netns.mpquic(*PRESENT).json
        assert done["actions"] == []
        assert done["changed"] is False
        assert done["after"]["mtu"] == mtu
    netns.ip("link set mpq4 mtu 1400")
    assert netns.mpquic(*PRESENT).json["actions"] == ["set MTU of mpq4 from 1400 to 1350"]


def test_a_device_that_nobody_holds_gets_its_mtu_back(netns):
    wanted = netns.mpquic(*PRESENT).json["after"]
    netns.ip("link set mpq4 mtu 1200")
    netns.ip("link set mpq4 mtu 1300")
    done = netns.mpquic(*PRESENT).json
    assert done["after"] == wanted
    assert netns.mpquic(*PRESENT).json["before"] == wanted


def test_a_failure_half_way_leaves_nothing_behind(netns, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    before = netns.snapshot()
    monkeypatch.setattr("mpquic.host.sysctl.write", refuse)
    done = netns.mpquic(*PRESENT)
    assert done.rc == 1
    assert done.err == "mpquic: set ipv4.rp_filter of mpq4 to 2: Operation not permitted\n"
    assert netns.snapshot() == before


def test_takes_over_a_persistent_tun_of_another_tool(netns):
    netns.ip("tuntap add mode tun name mpq4")
    assert netns.mpquic(*PRESENT).rc == 0
    assert "alias mpquic" in netns.ip("link show mpq4")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("link add mpq4 type veth peer name other", "mpq4 exists and is of kind veth; expected a TUN or nothing"),
        ("tuntap add mode tap name mpq4", "mpq4 exists and is a TAP; expected a TUN or nothing"),
    ],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_leaves_a_foreign_device_alone(netns, make, message, state):
    netns.ip(make)
    before = netns.snapshot()
    done = netns.mpquic(*PRESENT, "--state", state)
    assert (done.rc, done.err) == (1, f"mpquic: {message}\n")
    assert netns.snapshot() == before


def test_leaves_the_tun_of_a_running_program_alone(netns):
    netns.background(lambda: hold("mpq4"))
    while "mpq4" not in netns.ip("link"):
        time.sleep(0.01)
    done = netns.mpquic(*PRESENT)
    assert done.rc == 1
    assert "belongs to a running program" in done.err


def test_absent_removes_only_a_device_of_ours(netns):
    netns.ip("tuntap add mode tun name mpq4")
    refused = netns.mpquic(*ENSURE, "--state", "absent")
    assert refused.rc == 1
    assert "was not made by mpquic" in refused.err
    netns.mpquic(*PRESENT)
    assert netns.mpquic(*ENSURE, "--state", "absent", "--check").rc == 2
    assert netns.mpquic(*ENSURE, "--state", "absent").json["changed"]
    assert "mpq4" not in netns.ip("link")
    assert netns.mpquic(*ENSURE, "--state", "absent").json["changed"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--name", "mpq4"), "tun ensure: --cidr is required"),
        (("--name", "a-name-that-is-too-long", "--cidr", "10.0.0.1/30"), "name 'a-name-that-is-too-long': expected"),
        (("--name", "a/b", "--cidr", "10.0.0.1/30"), "name 'a/b': expected"),
        (("--name", "mpq4", "--cidr", "10.0.0.1"), "cidr 10.0.0.1: expected"),
        (("--name", "mpq4", "--cidr", "10.0.0.0/30"), "cidr 10.0.0.0/30: expected a host address"),
        (("--name", "mpq4", "--cidr", "10.0.0.3/30"), "cidr 10.0.0.3/30: expected a host address"),
        (("--name", "mpq4", "--cidr", "10.0.0.300/30"), "cidr 10.0.0.300/30: expected"),
        (("--name", "mpq4", "--cidr", "10.0.0.1/30", "--mtu", "200"), "mtu 200: expected 576 to 65535"),
        (
            ("--name", "mpq4", "--cidr", "10.0.0.1/30", "--cidr6", "fd00::1/126", "--mtu", "1279"),
            "mtu 1279: expected at least 1280 because there is a cidr6",
        ),
        *(
            (("--name", "mpq4", "--cidr", "10.0.0.1/30", "--cidr6", wrong), f"cidr6 {wrong}: expected an IPv6 host")
            for wrong in (
                "10.0.0.1/30",
                "fd00::1",
                "fd00::/64",
                "fe80::1/64",
                "fd00::1%lo/64",
                "ff02::1/128",
                "fd00::/129",
            )
        ),
        (("--name", "mpq4", "--cidr", "10.0.0.1/30", "--owner", "nosuchuser"), "owner nosuchuser: there is no such"),
    ],
)
def test_refuses_arguments_in_one_line(netns, arguments, message):
    done = netns.mpquic("tun", "ensure", *arguments)
    assert done.rc == 64
    assert done.err.startswith(f"mpquic: {message}")
    assert done.err.count("\n") == 1
    assert "mpq4" not in netns.ip("link")
