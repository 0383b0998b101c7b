# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults between whole daemons, over one WAN and over two, and what ``mpquic doctor`` and ``status`` call them."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from ailing import Site
from multiwan import MultiWan
from wan import ADDRESS, TUN, made, sh, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(params=[1, 3], ids=["level1", "level3"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with made(Site(request.param)) as world:
        world.bring_up() if world.level == 3 else super(MultiWan, world).bring_up()
        yield world


def test_nothing_is_wrong_where_nothing_is(site: Site) -> None:
    with site.busy():
        time.sleep(1)
        assert site.findings() == set()
    assert site.findings("server") == set()
    text = site.doctor()[1]
    assert "[OK]   host" in text.splitlines()
    assert text.splitlines()[-1].startswith("tunnels=1 wrong=")


def test_a_wan_without_a_carrier(site: Site) -> None:
    site.plug(1, "down")
    assert not site.named(site.first, "wan_no_carrier") & {("tunnel client", "no_reply")}
    site.shown("has no carrier")
    site.plug(1, "up")
    until(lambda: site.findings() == set(), 30, lambda: str(site.findings()))
    # It is remembered.
    site.shown(f"ago: interface {site.wans[0]} has no carrier")


def test_a_black_hole(site: Site) -> None:
    with site.busy():
        site.block(1)
        site.shown("no answer", "no acknowledgement")
        site.named(site.first, "no_answer")


def test_lost_packets(site: Site) -> None:
    near = site.near[0]
    with site.busy():
        rules = "add table ip drops; add chain ip drops f { type filter hook forward priority 0; }; "
        site.in_router(f"{rules}add rule ip drops f iifname {near} numgen random mod 100 < 20 drop")
        found = site.named(site.first, "loss")
        assert not found & {(site.first, "mtu_fell")}


def test_a_key_that_nobody_knows(site: Site) -> None:
    site.stop("client")
    site.identify("client")
    site.start("client")
    site.wait_started("client")
    site.named("tunnel client" if site.level == 1 else site.first, "wrong_key")
    site.shown("is no peer here")
    assert ("tunnel server", "wrong_key") in site.findings("server")


def test_another_server(site: Site) -> None:
    site.stop("client")
    other = "sha256:" + "0" * 64
    site.write("client", site.configured("client") | {"tls_server_pin": other})
    site.start("client")
    site.wait_started("client")
    site.named("tunnel client" if site.level == 1 else site.first, "wrong_key")
    site.shown("is not the pinned one")


def test_a_path_that_carries_less(site: Site) -> None:
    quiet = "add table ip quiet; add chain ip quiet o { type filter hook output priority 0; }; "
    site.in_router(f"{quiet}add rule ip quiet o icmp type 3 drop")
    for device in (f"-n {site.router} link set {site.near[0]}", f"-n {site.ns['client']} link set {site.wans[0]}"):
        sh(f"ip {device} mtu 1280")
    large = f"ip netns exec {site.ns['client']} ping -q -i 0.02 -s 1250 {ADDRESS['server']}"
    with subprocess.Popen(large.split(), stdout=subprocess.DEVNULL) as ping:
        try:
            site.named(site.first, "mtu_fell")
            site.shown("bytes, and carried")
        finally:
            ping.terminate()


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_daemon_that_is_gone(site: Site, role: str) -> None:
    site.stop(role)
    site.shown("not running (systemctl start mpquic@client)" if role == "client" else "no answer")
    if role == "client":
        site.named("tunnel client", "no_reply", "not_up")
    else:
        site.named("tunnel client" if site.level == 1 else site.first, "port_closed", "no_answer")


def test_a_rule_that_somebody_took_away(site: Site) -> None:
    site.ip("client", "rule del priority 509")
    assert site.named("tunnel client", "rule_missing") == {("tunnel client", "rule_missing")}
    assert "mend  mpquic routing fix client" in site.doctor()[1]
    site.mend()
    assert site.findings() == set()


def test_no_names(site: Site) -> None:
    site.stop_resolver()
    assert site.named("host", "dns_silent") == {("host", "dns_silent")}
    site.write("client", site.configured("client"))
    keys = site.configured("client")
    if site.level == 1:
        site.write("client", keys | {"remote_addr": "vps.example.net"})
    else:
        keys["multipath_paths"][0]["remote_addr"] = "vps.example.net"
        site.write("client", keys)
    site.named("tunnel client", "dns_failed")


def test_a_file_that_is_not_run(site: Site) -> None:
    site.write("client", site.configured("client") | {"telemetry_interval": 77})
    site.named("tunnel client", "config_stale")


def test_a_file_that_cannot_be_read(site: Site) -> None:
    (site.folder / "etc-client" / "broken.yaml").write_text("role: [")
    found = site.named("host", "config_wrong")
    assert found == {("host", "config_wrong")}


def test_a_tun_that_is_down(site: Site) -> None:
    site.ip("client", f"link set {TUN} down")
    site.named("tunnel client", "tun_down")
