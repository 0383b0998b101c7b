# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic health`` of tunnels over several WANs: one path less is a finding, and no reason for a restart."""

from __future__ import annotations

import pytest
from host_netns import PIN
from test_cli_health import _PEER, attach, codes, daemon, restarts, tunnel

pytestmark = pytest.mark.netns

QUICK = ("--timeout", "0.3")
RECOVER = ("fix", *QUICK, "--patience", "0.5")
SERVER = {"remote_addr": "203.0.113.1", "remote_port": 45017}


def entry(name: str, state: str = "up", reason: str = "connected") -> dict[str, object]:
    """Return what a daemon says of a path."""
    nothing = ("bind", "local", "remote", "session", "rtt_ms", "peer_state", "last_up", "last_down")
    counts = ("number", "priority", "weight", "tx_packets", "rx_packets", "tx_bytes", "rx_bytes", "tx_err", "rx_err")
    return {
        **dict.fromkeys((*nothing, "datagram", "rate_bps", "held_to_bps")),
        **dict.fromkeys((*counts, "since_s", "loss", "peer_loss", "consecutive_fails", "switches"), 1),
        "name": name,
        "state": state,
        "reason": reason,
        "drops": {},
    }


@pytest.fixture
def several(netns):
    """A client with one tunnel over wan1 and wan2, which answers echo requests."""
    for number in (1, 2):
        netns.veth(f"wan{number}", f"100.64.{number}.2/24")
    paths = [{"name": f"p{number}", "bind_ip": f"if:wan{number}", **SERVER} for number in (1, 2)]
    text = {"role": "client", "tun_name": "mp1", "tun_cidr": "10.200.17.1/30", "tls_server_pin": PIN}
    netns.write("mp1", text | {"multipath_enabled": True, "multipath_paths": paths})
    assert netns.routing("fix").rc == 0
    return netns


def said(site):
    return site.mpquic("health", "check", "--instances", str(site.instances), "--run-dir", str(site.folder), *QUICK).out


def test_all_paths_up_is_healthy(several):
    attach(several, "mp1")
    daemon(several, "mp1", "up", paths=[entry("p1"), entry("p2", "lossy", "8% lost")])
    done = several.health("check")
    assert done.rc == 0, done
    assert tunnel(done, "mp1")["paths"] == {"up": 2, "total": 2}
    assert tunnel(done, "mp1")["wan"] == "wan1,wan2"
    assert "[OK]   mp1  mp1 on wan1,wan2, 2 of 2 paths up, 10.200.17.2 answers in" in said(several)


def test_a_path_that_is_down_is_named_and_nothing_is_restarted(several, systemctl):
    attach(several, "mp1")
    (systemctl / "mpquic@mp1.service").write_text("activating")
    daemon(several, "mp1", "up", paths=[entry("p1", "down", "no answer"), entry("p2")])
    done = several.health(*RECOVER)
    assert done.rc == 2
    (reason,) = tunnel(done, "mp1")["reasons"]
    assert reason == {"code": "path_down", "message": "path p1 is down: no answer"}
    assert tunnel(done, "mp1")["paths"] == {"up": 1, "total": 2}
    assert tunnel(done, "mp1")["actions"] == restarts(systemctl) == []
    assert "[FAIL] mp1  mp1 on wan1,wan2: path_down: path p1 is down: no answer" in said(several)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ("link del wan2", "WAN interface wan2 does not exist"),
        ("link set p-wan2 down", "WAN interface wan2 has no carrier"),
        ("address flush dev wan2", "WAN interface wan2 has no IPv4 address"),
    ],
)
def test_a_wan_at_fault_is_told_once_with_its_path(several, systemctl, damage, why):
    attach(several, "mp1")
    (systemctl / "mpquic@mp1.service").write_text("activating")
    told = [entry("p1"), entry("p2", "down", "whatever"), entry("p2/2", "down", "whatever")]
    daemon(several, "mp1", "up", paths=told)
    several.ip(damage)
    done = several.health(*RECOVER)
    assert tunnel(done, "mp1")["reasons"] == [{"code": "path_down", "message": f"path p2 is down: {why}"}]
    assert restarts(systemctl) == []


def test_without_any_path_it_is_restarted_as_ever(several, systemctl):
    (systemctl / "mpquic@mp1.service").write_text("activating")
    daemon(several, "mp1", "waiting", paths=[entry("p1", "down", "no answer"), entry("p2", "down", "no answer")])
    done = several.health(*RECOVER)
    assert codes(done, "mp1") == {"path_down", "no_reply"}
    assert restarts(systemctl) == ["mpquic@mp1.service"]


def test_without_any_wan_it_is_not_restarted(several, systemctl):
    (systemctl / "mpquic@mp1.service").write_text("activating")
    for number in (1, 2):
        several.ip(f"link set p-wan{number} down")
    done = several.health(*RECOVER)
    assert codes(done, "mp1") == {"wan_no_carrier", "no_reply"}
    assert [reason["message"].split()[2] for reason in tunnel(done, "mp1")["reasons"][:2]] == ["wan1", "wan2"]
    assert restarts(systemctl) == []


def test_a_server_names_the_path_that_its_client_lacks(netns, tmp_path):
    assert netns.mpquic("identity", "ensure", "--dir", str(tmp_path), "--owner", "root").rc == 0
    pair = {"tls_cert_file": str(tmp_path / "cert.pem"), "tls_key_file": str(tmp_path / "key.pem")}
    text = {"role": "server", "bind_ip": "0.0.0.0", "remote_port": 45017, "tun_name": "mp1"}
    netns.write("mp1", text | pair | {"tun_cidr": "10.200.17.2/30"})
    assert netns.routing("fix").rc == 0
    attach(netns, "mp1")
    peer = _PEER | {"name": "client1", "state": "up", "paths": [entry("p1"), entry("p2", "down", "no acknowledgement")]}
    daemon(netns, "mp1", "up", peers=[peer])
    done = netns.health("check", *QUICK)
    assert tunnel(done, "mp1")["reasons"] == [{"code": "path_down", "message": "path p2 is down: no acknowledgement"}]
