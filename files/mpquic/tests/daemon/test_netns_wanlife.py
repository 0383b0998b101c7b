# SPDX-License-Identifier: GPL-3.0-or-later
"""A WAN whose address, link or interface changes under a tunnel: the session goes on over another socket."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from meter import Meter
from wan import OUTER, sh, until

if TYPE_CHECKING:
    from multiwan import MultiWan
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OLD, NEW = OUTER["client"], "10.98.9.33"
WAYS = ["remove, add", "add, remove", "at once"]


def batch(wan: Wan, *commands: str) -> None:
    """Run commands of ip(8) one right after the other, as a DHCP client does."""
    line = ["ip", "-n", wan.ns["client"], "-batch", "-"]
    subprocess.run(line, input="\n".join(commands) + "\n", text=True, check=True, timeout=20, capture_output=True)


def readdress(wan: Wan, way: str, device: str, old: str, new: str, *more: str) -> None:
    """Change the address of the client's device; ``more`` commands follow the new one."""
    # As systemd's own settings have it: a second address of a network survives the first.
    sh(f"ip netns exec {wan.ns['client']} sysctl -q net.ipv4.conf.all.promote_secondaries=1")
    add, remove = f"addr add {new}/24 dev {device}", f"addr del {old}/24 dev {device}"
    if way == "at once":
        batch(wan, f"addr flush dev {device}", add, *more)
    elif way == "remove, add":
        # While there is no address, nobody can send anything to it: that is to be short for the packets to be counted.
        batch(wan, remove, add, *more)
    else:
        for command in (add, *more, remove):
            wan.ip("client", command)


def kept(wan: Wan) -> tuple[object, object]:
    """Return what shows that no new connection was made."""
    status = wan.status("client")
    return status["session"], status["connects"]


def lost(meter: Meter) -> int:
    """Return the most packets that one of the ends did not get."""
    return max(len(meter.missing(role)) for role in ("client", "server"))


def one_way(wan: Wan, way: str, count: int, most: int) -> None:
    device = wan.veth["client"]
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, count) as meter:
        readdress(wan, way, device, OLD, NEW)
        until(lambda: (wan.status("client")["local"] or "").startswith(f"{NEW}:"), 3, lambda: wan.log("client")[-900:])
    assert lost(meter) <= most, wan.log("client")[-1500:]
    assert kept(wan) == before
    assert wan.status("server")["peers"][0]["remote"].startswith(f"{NEW}:")
    assert "info moved reason=" in wan.log("client")


@pytest.mark.parametrize("way", WAYS)
def test_another_address_loses_nothing(wan: Wan, way: str) -> None:
    """Or one packet: on a busy machine the daemon hears of it late, and so does its server."""
    one_way(wan, way, 40, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_another_address_loses_none_of_four_hundred(wan: Wan, way: str) -> None:
    one_way(wan, way, 400, 0)


def test_what_leaves_waits_for_an_address_that_is_late(wan: Wan) -> None:
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 40, senders=("client",)) as meter:
        wan.ip("client", f"addr del {OLD}/24 dev {wan.veth['client']}")
        time.sleep(0.03)
        wan.ip("client", f"addr add {NEW}/24 dev {wan.veth['client']}")
        time.sleep(0.5)
    assert kept(wan) == before
    # On a busy machine it may be late by more than packets wait for.
    waited = "waiting reason=" not in wan.log("client")
    assert not (waited and meter.missing("server")), wan.log("client")[-1500:]


def test_an_idle_client_says_at_once_where_it_is(wan: Wan) -> None:
    """Only the server sends, so that nothing else tells it."""
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 60, senders=("server",)) as meter:
        readdress(wan, "at once", wan.veth["client"], OLD, NEW)
    assert len(meter.missing("client")) <= 1
    assert kept(wan) == before


def test_an_address_that_is_named_and_given_again_loses_nothing(wan: Wan) -> None:
    """A DHCP client that starts anew takes the address away and gives the same one."""
    wan.configure("client", bind_ip=OLD)
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 40) as meter:
        readdress(wan, "at once", wan.veth["client"], OLD, OLD)
        time.sleep(0.5)
    assert lost(meter) <= 1
    assert kept(wan) == before


def test_a_link_that_is_down_and_has_another_address(wan: Wan) -> None:
    device = wan.veth["client"]
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 100) as meter:
        wan.ip("client", f"link set {device} down")
        wan.ip("client", f"addr flush dev {device}")
        time.sleep(1)
        wan.ip("client", f"link set {device} up")
        time.sleep(0.2)
        wan.ip("client", f"addr add {NEW}/24 dev {device}")
        moment = time.time()
    assert meter.at["client"].after(moment) < 2
    assert meter.at["server"].after(moment) < 2
    assert kept(wan) == before


@pytest.mark.parametrize("bind", ["interface", "address"])
def test_a_cable_that_is_pulled_and_plugged(wan: Wan, bind: str) -> None:
    if bind == "address":
        wan.configure("client", bind_ip=OLD)
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 100) as meter:
        wan.ip("server", f"link set {wan.veth['server']} down")
        time.sleep(1)
        wan.ip("server", f"link set {wan.veth['server']} up")
        moment = time.time()
    assert meter.at["client"].after(moment) < 2
    assert meter.at["server"].after(moment) < 2
    assert kept(wan) == before


@pytest.mark.parametrize("bind", ["interface", "address"])
def test_an_interface_that_is_made_anew(wan: Wan, bind: str) -> None:
    if bind == "address":
        wan.configure("client", bind_ip=OLD)
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 100) as meter:
        wan.ip("client", f"link del {wan.veth['client']}")
        time.sleep(0.5)
        wan.join()
        moment = time.time()
    assert meter.at["client"].after(moment) < 2
    assert meter.at["server"].after(moment) < 2
    assert kept(wan) == before


def test_an_interface_that_is_renamed(wan: Wan) -> None:
    device = wan.veth["client"]
    wan.bring_up()
    before = kept(wan)
    with Meter(wan, 120) as meter:
        wan.ip("client", f"link set {device} down")
        wan.ip("client", f"link set {device} name renamed0")
        wan.ip("client", "link set renamed0 up")
        time.sleep(1)
        wan.ip("client", "link set renamed0 down")
        wan.ip("client", f"link set renamed0 name {device}")
        wan.ip("client", f"link set {device} up")
        moment = time.time()
    assert meter.at["client"].after(moment) < 1
    assert meter.at["server"].after(moment) < 1
    assert kept(wan) == before


def test_a_server_that_forgot_the_session_gets_a_new_one(wan: Wan) -> None:
    wan.bring_up()
    session = wan.status("client")["session"]
    wan.ip("client", f"link set {wan.veth['client']} down")
    wan.stop("server")
    wan.start("server")
    wan.wait_started("server")
    wan.ip("client", f"link set {wan.veth['client']} up")
    assert until(lambda: wan.ping("client", "-c 1 -W 0.2"), 8, lambda: wan.log("client")[-1500:]) < 5
    assert wan.status("client")["session"] != session


# --- several WANs ----------------------------------------------------------------------------------------------------


def several(wans: MultiWan, way: str, count: int, most: int) -> None:
    wans.bring_up()
    sessions = [wans.path(name)["session"] for name in ("wan1", "wan2")]
    connects = wans.status("client")["connects"]
    with Meter(wans, count) as meter:
        default = f"route replace default via 10.98.1.254 dev {wans.wans[0]} metric 101"
        readdress(wans, way, wans.wans[0], "10.98.1.1", "10.98.1.77", default)
        until(
            lambda: (wans.path("wan1")["local"] or "").startswith("10.98.1.77:"), 3, lambda: wans.log("client")[-900:]
        )
        wans.wait_path("wan1", "up", 10)
    assert lost(meter) <= most, wans.log("client")[-2500:]
    assert [wans.path(name)["session"] for name in ("wan1", "wan2")] == sessions
    assert wans.status("client")["connects"] == connects


@pytest.mark.parametrize("way", WAYS)
def test_another_address_of_one_wan_loses_nothing(wans: MultiWan, way: str) -> None:
    """Or one packet, as above."""
    several(wans, way, 60, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_another_address_of_one_wan_loses_none_of_four_hundred(wans: MultiWan, way: str) -> None:
    several(wans, way, 400, 0)


@pytest.mark.parametrize("fault", ["carrier", "interface"])
def test_a_wan_that_goes_and_comes_loses_nothing_and_is_back_soon(wans: MultiWan, fault: str) -> None:
    wans.bring_up()
    sessions = [wans.path(name)["session"] for name in ("wan1", "wan2")]
    with Meter(wans, 100) as meter:
        if fault == "carrier":
            wans.plug(1, "down")
        else:
            wans.ip("client", f"link del {wans.wans[0]}")
        wans.wait_path("wan1", "down", 3)
        time.sleep(0.5)
        if fault == "carrier":
            wans.plug(1, "up")
        else:
            wans.lay(1)
        back = until(lambda: wans.path("wan1")["session"] == sessions[0], 5, lambda: str(wans.path("wan1")))
    assert back < 2
    # What was sent into the dead link before it was noticed cannot be saved: one packet in 50 ms each way.
    assert len(meter.missing("server")) <= 1
    assert len(meter.missing("client")) <= 3
    assert wans.path("wan2")["session"] == sessions[1]
