# SPDX-License-Identifier: GPL-3.0-or-later
"""Path MTU on real devices: found, followed by the TUN, and survived when it shrinks."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import pytest
from routed import AROUND, CEILING, FAR6, RoutedWan, Stream
from wan import ADDRESS, OTHER, TUN, made, sh, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
ENDS = tuple(ADDRESS)


@pytest.fixture
def wan() -> Iterator[RoutedWan]:
    with made(RoutedWan()) as world:
        yield world


def fitted(wan: RoutedWan, mtu: int, seconds: float = 3) -> None:
    """Wait until both TUNs have what a path of ``mtu`` bytes carries."""
    inner = mtu - AROUND
    until(lambda: [wan.tun_mtu(role) for role in ENDS] == [inner, inner], seconds, str([wan.tun_mtu(r) for r in ENDS]))


@pytest.mark.parametrize("mtu", [1500, 1492, 1420, 1320, 1280])
def test_every_path_is_used_to_the_full(wan: RoutedWan, mtu: int) -> None:
    wan.narrow(mtu)
    wan.start("server")
    wan.wait_state("server", "listening")
    wan.start("client")
    assert wan.wait_state("client", "up") < 4
    fitted(wan, mtu)
    for role in ENDS:
        assert wan.full_ping(role, mtu - AROUND)
        assert not wan.full_ping(role, mtu - AROUND + 1)
        status = wan.status(role)
        assert (status["mtu"], status["datagram"]) == (mtu - AROUND, mtu - 28)
        data = os.urandom(1_000_000)
        assert wan.transfer(role, data) == hashlib.sha256(data).hexdigest()
    assert wan.status("client")["connects"] == 1


def test_ipv6_outside(wan: RoutedWan) -> None:
    wan.configure("client", bind_ip=FAR6["client"], remote_addr=FAR6["server"])
    wan.configure("server", bind_ip=FAR6["server"])
    wan.narrow(1400)
    wan.bring_up()
    inner = 1400 - AROUND - 20
    until(lambda: [wan.tun_mtu(role) for role in ENDS] == [inner, inner], 3)
    for role in ENDS:
        assert wan.full_ping(role, inner)
    wan.narrow(1300)
    started = time.monotonic()
    wan.full_ping("client", inner, "-c 1 -W 0.1")
    until(lambda: wan.full_ping("client", inner - 100, "-c 1 -W 0.2"), 3)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("source", ENDS)
def test_a_stream_survives_a_path_that_shrinks(wan: RoutedWan, source: str) -> None:
    wan.bring_up()
    fitted(wan, 1500)
    session = wan.status("client")["session"]
    with Stream(wan, source) as stream:
        for mtu in (1400, 1280):
            wan.narrow(mtu)
            changed = time.monotonic()
            # What was on its way arrives within a tenth of a second.
            until(lambda: stream.arrivals(changed + 0.1) > 0, 3, "no packet arrives")  # noqa: B023
            assert time.monotonic() - changed < 2
            until(lambda: wan.tun_mtu(source) == mtu - AROUND, 3)  # noqa: B023
    assert wan.status("client")["session"] == session
    assert wan.status("client")["connects"] == 1


def test_an_idle_tunnel_survives_a_path_that_shrinks_and_finds_one_that_grows(wan: RoutedWan) -> None:
    wan.bring_up()
    fitted(wan, 1500)
    session = wan.status("client")["session"]
    wan.narrow(1400)
    for role in ENDS:
        started = time.monotonic()
        wan.full_ping(role, 1500 - AROUND)
        until(lambda: wan.full_ping(role, 1400 - AROUND, "-c 1 -W 0.2"), 3)  # noqa: B023
        assert time.monotonic() - started < 2
    fitted(wan, 1400)
    wan.narrow(1500)
    fitted(wan, 1500, 12)
    for role in ENDS:
        assert wan.full_ping(role, CEILING)
    assert wan.status("client")["session"] == session


def test_the_own_link_becomes_small(wan: RoutedWan) -> None:
    """The kernel itself refuses what is too big (EMSGSIZE), segmentation offload or not."""
    wan.bring_up()
    fitted(wan, 1500)
    session = wan.status("client")["session"]
    with Stream(wan, "client") as stream:
        wan.ip("client", f"link set {wan.veth['client']} mtu 1350")
        changed = time.monotonic()
        until(lambda: stream.arrivals(changed + 0.1) > 0, 3, "no packet arrives")
        assert time.monotonic() - changed < 2
        until(lambda: wan.tun_mtu("client") == 1350 - AROUND, 3)
    assert wan.status("client")["drops"]["udp_too_big"] > 0
    assert wan.status("client")["session"] == session


def test_a_small_own_link_costs_no_time(wan: RoutedWan) -> None:
    """The kernel refuses all sizes but the last; waiting for each in turn would take 1.4 s."""
    wan.ip("client", f"link set {wan.veth['client']} mtu 1230")
    wan.start("server")
    wan.wait_state("server", "listening")
    wan.start("client")
    until(lambda: wan.status("client")["state"] != "down", 10)
    assert wan.wait_state("client", "up") < 1
    until(lambda: wan.full_ping("client", 1230 - AROUND, "-c 1 -W 0.2"), 3)
    assert wan.tun_mtu("client") == 1230 - AROUND


def test_a_router_that_speaks_is_heard(wan: RoutedWan) -> None:
    """Its "fragmentation needed" arrives as an error of the socket, in the middle of segmentation offload."""
    wan.in_router(["nft", "flush", "ruleset"])
    wan.bring_up()
    fitted(wan, 1500)
    with Stream(wan, "client") as stream:
        wan.narrow(1400)
        changed = time.monotonic()
        until(lambda: wan.tun_mtu("client") == 1400 - AROUND, 2)
        until(lambda: stream.arrivals(changed + 0.1) > 0, 3, "no packet arrives")
        assert time.monotonic() - changed < 2
    assert "segmentation offload refused" not in wan.log("client")


def test_without_the_capability_the_daemon_answers_what_is_too_big(wan: RoutedWan) -> None:
    wan.capabilities = ["dac_read_search"]
    wan.narrow(1400)
    wan.bring_up()
    inner = 1400 - AROUND
    line = f'tun not fitted name={TUN} mtu={inner} reason="Operation not permitted, keeper /run/mpquic/keeper.sock: '
    until(lambda: all(line in wan.log(role) for role in ENDS), 3)
    assert wan.tun_mtu("client") == CEILING
    for role in ENDS:
        command = f"ip netns exec {wan.ns[role]} ping -c 1 -W 1 -M do -s {CEILING - 28} {ADDRESS[OTHER[role]]}"
        said = sh(command, check=False).stdout
        assert f"From {ADDRESS[OTHER[role]]}" in said
        assert f"mtu = {inner}" in said.replace("mtu=", "mtu = ")
        data = os.urandom(300_000)
        assert wan.transfer(role, data) == hashlib.sha256(data).hexdigest()
        assert wan.status(role)["drops"]["too_big"] > 0
    assert "Traceback" not in wan.log("client") + wan.log("server")


def test_a_changed_tun_is_fitted_again(wan: RoutedWan) -> None:
    wan.narrow(1400)
    wan.bring_up()
    fitted(wan, 1400)
    wan.ip("client", f"link set {TUN} mtu 1500")
    wan.ping("client", "-c 1 -W 0.5 -M do -s 1400")
    until(lambda: wan.tun_mtu("client") == 1400 - AROUND, 2)
