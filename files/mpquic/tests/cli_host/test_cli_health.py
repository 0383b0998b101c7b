# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic health``: a far end answers echo requests on the TUN, as a tunnel with a live peer would."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import time
from functools import partial

import pytest
from host_netns import CLASSES, eventually

pytestmark = pytest.mark.netns

QUICK = ("--timeout", "0.3")


def answer(name: str, *, every: int = 1) -> int:
    """Be the tunnel: turn echo requests around, or only every n-th."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
    seen = 0
    while True:
        packet = bytearray(os.read(descriptor, 2048))
        if packet[0] >> 4 != 4 or packet[9] != 1 or packet[20] != 8:
            continue
        seen += 1
        if seen % every:
            continue
        packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
        packet[20] = 0
        # An echo reply differs from its request by 8 in the first byte, so its checksum by 0x0800 (RFC 1624).
        total = int.from_bytes(packet[22:24], "big") + 0x0800
        packet[22:24] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")
        os.write(descriptor, packet)


def daemon(site, name: str, state: str, **more: object) -> None:
    """Be an instance's control socket."""
    path = site.folder / name / "control.sock"
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> int:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                told = {name: value() if callable(value) else value for name, value in more.items()}
                connection.sendall(json.dumps({"state": state, "reason": "test", **told}).encode() + b"\n")

    with listener:
        site.background(serve)


def attach(site, name, **options):
    site.background(partial(answer, name, **options))
    assert eventually(lambda: "LOWER_UP" in site.ip(f"link show {name}"))


def tunnel(done, name="4"):
    return next(found for found in done.json["tunnels"] if found["id"] == name)


def codes(done, name="4"):
    return {reason["code"] for reason in tunnel(done, name)["reasons"]}


def test_a_tunnel_is_healthy_when_packets_cross_it(site):
    attach(site, "mpq4")
    attach(site, "mpq5")
    done = site.health("check")
    assert done.rc == 0, done
    assert done.json["healthy"] is True
    assert done.json["degraded"] == 0
    found = tunnel(done)
    assert found["peer"] == "10.200.4.2"
    assert found["wan"] == "wan4"
    assert 0 < found["rtt_ms"] < 1000
    assert found["loss"] == 0
    assert found["reasons"] == found["actions"] == []


def test_a_tunnel_that_carries_nothing_is_not_healthy_whatever_its_daemon_says(site):
    attach(site, "mpq5")
    daemon(site, "4", "up")
    done = site.health("check", *QUICK)
    assert done.rc == 2
    assert done.json["degraded"] == 1
    assert codes(done) == {"no_reply"}
    assert tunnel(done)["loss"] == 1
    assert tunnel(done)["state"] == "up"
    assert "the daemon says up" in tunnel(done)["reasons"][0]["message"]
    assert codes(done, "5") == set()


def test_lost_packets_are_measured_and_one_that_crosses_is_enough(site):
    attach(site, "mpq4", every=3)
    found = tunnel(site.health("check", "4", *QUICK))
    assert found["healthy"] is True
    assert found["loss"] == 0.667


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("link del wan4", "wan_missing"),
        ("link set wan4 down", "wan_down"),
        ("link set p-wan4 down", "wan_no_carrier"),
        ("address flush dev wan4", "wan_no_ipv4"),
        ("link set mpq4 down", "tun_down"),
        ("rule del priority 504", "rule_missing"),
        ("route del unreachable default table 45004", "standing_route_missing"),
    ],
)
def test_says_what_is_missing(site, damage, expected):
    attach(site, "mpq4")
    site.ip(damage)
    before = site.snapshot()
    done = site.health("check", "4", *QUICK)
    assert done.rc == 2
    assert expected in codes(done)
    assert site.snapshot() == before, "a check changed the host"


def test_a_class_asks_its_server_from_its_own_address(classes):
    """Three TUNs of one network: each probe crosses its own."""
    for name in CLASSES:
        attach(classes, name)
    done = classes.health("check")
    assert done.rc == 0, done
    assert {found["peer"] for found in done.json["tunnels"]} == {"10.200.10.254"}
    # Another class's TUN must not answer for this one.
    classes.ip("link set cr5 down")
    done = classes.health("check", *QUICK)
    assert {"no_reply", "tun_down"} <= codes(done, "cr5")
    assert codes(done, "df5") == codes(done, "bk5") == set()


@pytest.fixture
def server(netns, tmp_path):
    """A server of many peers, its TUN held and its clients all switched off."""
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    pair = {"tls_cert_file": str(tmp_path / "cert.pem"), "tls_key_file": str(tmp_path / "key.pem")}
    text = {"role": "server", "bind_ip": "0.0.0.0", "remote_port": 45010, "tun_name": "mt1"}
    netns.write("mt1", text | pair | {"tun_cidr": "10.200.10.254/24", "multi_conn_enabled": True})
    assert netns.routing("fix").rc == 0
    return netns


_PEER = {
    "address": "10.200.10.1",
    "allowed": ["10.200.10.1/32"],
    "shared": [],
    "outer_dscp": 0,
    "reason": "connected",
    "since_s": 1.0,
    "session": None,
    "connects": 1,
    "remote": None,
    "rtt_ms": None,
    "tx_packets": 0,
    "rx_packets": 0,
    "tx_bytes": 0,
    "rx_bytes": 0,
    "drops": {},
    "key": None,
    "legacy": False,
}
PEERS = [_PEER | {"name": "client1.cr5", "state": "up"}, _PEER | {"name": "client1.df5", "state": "waiting"}]


@pytest.mark.parametrize(("state", "peers"), [("listening", PEERS[1:]), ("up", PEERS), ("listening", [])])
def test_a_server_of_many_is_healthy_without_them(server, state, peers):
    attach(server, "mt1")
    daemon(server, "mt1", state, peers=peers)
    done = server.health("check")
    assert done.rc == 0, done
    found = tunnel(done, "mt1")
    up = sum(peer["state"] == "up" for peer in peers)
    assert found["peers"] == {"up": up, "total": len(peers)}
    assert found["peer"] is None
    said = server.mpquic("health", "check", "--instances", str(server.instances), "--run-dir", str(server.folder)).out
    assert f"[OK]   mt1  mt1 on 0.0.0.0, {up} of {len(peers)} peers up" in said


def test_a_server_of_many_that_serves_nobody_says_why(server):
    done = server.health("check")
    assert done.rc == 2
    assert codes(done, "mt1") == {"not_up"}
    assert tunnel(done, "mt1")["peers"] is None
    daemon(server, "mt1", "listening", peers=PEERS)
    done = server.health("check")
    assert codes(done, "mt1") == {"tun_detached"}
    assert "the daemon does not hold TUN mt1 (test)" in tunnel(done, "mt1")["reasons"][0]["message"]


def test_a_server_of_many_that_cannot_listen_is_sick(server):
    attach(server, "mt1")
    daemon(server, "mt1", "waiting")
    done = server.health("check")
    assert codes(done, "mt1") == {"not_up"}
    assert "the daemon says waiting (test)" in tunnel(done, "mt1")["reasons"][0]["message"]


def test_six_dead_tunnels_cost_one_timeout(site):
    for number in (1, 2, 3, 6):
        site.instance(number)
    site.routing("fix")
    start = time.monotonic()
    done = site.health("check", "--timeout", "1")
    taken = time.monotonic() - start
    assert done.json["degraded"] == 6
    assert taken < 3, f"{taken:.1f} s for six tunnels of 1 s each"


def test_role_chooses_instances(site):
    assert [found["id"] for found in site.health("check", "--role", "client", *QUICK).json["tunnels"]] == ["4", "5"]
    assert site.health("check", "--role", "server").json["tunnels"] == []


def test_fix_repairs_tun_and_routing_and_leaves_healthy_tunnels_alone(site, monitor):
    attach(site, "mpq4")
    attach(site, "mpq5")
    site.ip("rule del priority 504")
    site.ip("route flush table 45004")
    planned = site.health("fix", "--check")
    assert planned.rc == 2
    assert "504:" not in site.ip("rule")
    done = None

    def fix():
        nonlocal done
        done = site.health("fix")

    site_events = monitor.events(fix, settled=False)
    assert done.rc == 0, done
    assert done.json["changed"] is True
    assert {reason["code"] for reason in tunnel(done)["found"]} == {
        "rule_missing",
        "route_missing",
        "standing_route_missing",
    }
    assert tunnel(done)["actions"] == tunnel(planned)["actions"]
    assert tunnel(done, "5")["actions"] == []
    assert not [event for event in site_events if "5005" in event or "mpq5" in event]
    assert site.health("fix").json["changed"] is False


RECOVER = ("fix", *QUICK, "--patience", "0.5")


def restarts(folder):
    return (folder / "restarts").read_text().split()


def test_fix_restarts_what_is_inactive_or_carries_nothing(site, systemctl):
    (systemctl / "mpquic@4.service").write_text("failed")
    (systemctl / "mpquic@5.service").write_text("activating")
    planned = site.health("fix", *QUICK, "--check")
    assert restarts(systemctl) == []
    done = site.health(*RECOVER)
    assert restarts(systemctl) == ["mpquic@4.service", "mpquic@5.service"]
    assert "unit_inactive" in {reason["code"] for reason in tunnel(done)["found"]}
    for name in ("4", "5"):
        assert tunnel(done, name)["actions"] == tunnel(planned, name)["actions"] == [f"restart mpquic@{name}.service"]
        assert codes(done, name) == {"no_reply"}, "nobody answers in this test, so it must still say so"


def test_fix_does_not_restart_a_tunnel_whose_wan_is_gone(site, systemctl):
    (systemctl / "mpquic@4.service").write_text("activating")
    (systemctl / "mpquic@5.service").write_text("activating")
    site.ip("link set p-wan4 down")
    done = site.health(*RECOVER)
    assert restarts(systemctl) == ["mpquic@5.service"]
    assert codes(done) == {"wan_no_carrier", "no_reply"}
    assert done.rc == 2


def test_fix_needs_no_restart_when_the_repair_was_enough(site, systemctl):
    for name in ("4", "5"):
        (systemctl / f"mpquic@{name}.service").write_text("activating")
        attach(site, f"mpq{name}")
    site.ip("link set mpq4 down")
    done = site.health(*RECOVER)
    assert done.rc == 0, done
    assert restarts(systemctl) == []


def test_a_server_is_not_restarted_because_its_client_is_silent(netns, systemctl, tmp_path):
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    for number in (4, 5):
        netns.instance(number, role="server")
    netns.routing("fix")
    (systemctl / "mpquic@4.service").write_text("activating")
    (systemctl / "mpquic@5.service").write_text("inactive")
    done = netns.health(*RECOVER)
    assert restarts(systemctl) == ["mpquic@5.service"]
    assert codes(done) == {"no_reply"}


def test_a_server_of_many_is_restarted_when_it_lost_its_tun(server, systemctl):
    (systemctl / "mpquic@mt1.service").write_text("activating")
    daemon(server, "mt1", "listening", peers=PEERS)
    planned = server.health("fix", "mt1", "--check")
    assert restarts(systemctl) == []
    done = server.health("fix", "mt1", *RECOVER[1:])
    assert restarts(systemctl) == ["mpquic@mt1.service"]
    assert tunnel(done, "mt1")["actions"] == tunnel(planned, "mt1")["actions"] == ["restart mpquic@mt1.service"]


def test_a_server_of_many_gets_time_to_take_a_tun_that_was_made_again(server, systemctl):
    (systemctl / "mpquic@mt1.service").write_text("activating")
    daemon(server, "mt1", "listening", peers=PEERS)
    server.ip("link del mt1")

    def take():
        while "mt1" not in {name for _index, name in socket.if_nameindex()}:
            time.sleep(0.01)
        time.sleep(0.7)
        return answer("mt1")

    server.background(take)
    done = server.health("fix", "mt1", *RECOVER[1:])
    assert done.rc == 0, done
    assert restarts(systemctl) == []
    assert "create TUN mt1" in tunnel(done, "mt1")["actions"][0]


def test_a_unit_that_does_not_exist_is_not_restarted(site, systemctl):
    done = site.health(*RECOVER)
    assert restarts(systemctl) == []
    assert codes(done) == {"unit_inactive", "no_reply"}
    assert "mpquic@4.service is not-found" in tunnel(done)["reasons"][0]["message"]


def test_refuses_a_wrong_timeout(site):
    done = site.health("check", "--timeout", "0")
    assert done.rc == 64
    assert done.err.count("\n") == 1
