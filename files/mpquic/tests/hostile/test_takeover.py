# SPDX-License-Identifier: GPL-3.0-or-later
"""Other connections and other keys for the same peer, and whom that disturbs: nobody."""

from __future__ import annotations

import os
import signal
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from caller import drive, let
from pinger import Pinger
from wan import ADDRESS, PEER, until

if TYPE_CHECKING:
    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OWN = ip_network(ADDRESS["client"])
OTHER = ip_network("10.200.9.55")


@pytest.fixture
def tunnel(hosts: Hosts) -> Hosts:
    """Both ends up, the client's present key the only one there is."""
    if not hosts.processes:
        hosts.bring_up()
    else:
        hosts.configure("server", peers=[{**hosts.peers()[0], "pins": [hosts.status("client")["identity"]]}])
        hosts.reload("server")
        for role in ADDRESS:
            hosts.wait_state(role, "up")
    return hosts


def harmed(pinger: Pinger) -> str:
    """Return what happened to the echoes, nothing if all came back."""
    echoes = pinger.echoes()
    if echoes.sent > 10 and echoes.lost == echoes.doubled == 0:
        return ""
    return f"{echoes.lost} of {echoes.sent} lost, {echoes.doubled} doubled"


def test_the_old_connection_serves_until_the_new_one_is_confirmed(tunnel: Hosts) -> None:
    before = tunnel.peer()
    second = tunnel.caller("client", OWN, confirms=False)
    with Pinger(tunnel) as pinger:
        drive(second, until=lambda: second.registered is not None, seconds=5)
        let(second, seconds=0.7)
        now = tunnel.peer()
        for key in ("session", "connects", "remote"):
            assert now[key] == before[key]
        assert not harmed(pinger)
    assert "superseded" not in tunnel.log("client")
    second.confirm()
    drive(second, until=lambda: "superseded" in tunnel.log("client"), seconds=2)
    # The first one is no less legal, and takes its tunnel back.
    drive(second, until=lambda: second.over, seconds=5)
    assert second.closed is not None
    assert second.closed.reason == "superseded"
    until(lambda: tunnel.log("server").count('note="connected, superseding the previous connection"') == 2, 1)
    assert f"remote={second.sock.getsockname()[0]}:" in tunnel.log("server")
    until(lambda: tunnel.ping("client"), 2)


def test_a_client_gets_a_new_key(tunnel: Hosts) -> None:
    """Two steps, as a rotation by the play: both keys accepted, then the old one removed."""
    first, started = tunnel.peer(), tunnel.status("client")
    old, key = tunnel.identity("client"), first["key"]
    new = tunnel.make_key("client-new")
    tunnel.configure("server", peers=[{**tunnel.peers()[0], "pins": [key, new]}])
    tunnel.configure("client", tls_cert_file=str(tunnel.folder / "client-new.crt"))
    tunnel.configure("client", tls_key_file=str(tunnel.folder / "client-new.key"))
    with Pinger(tunnel) as pinger:
        tunnel.reload("server")
        assert tunnel.peer()["session"] == first["session"]
        tunnel.reload("client")
        until(lambda: tunnel.peer()["key"] == new, 3)
        tunnel.configure("server", peers=[{**tunnel.peers()[0], "pins": [new]}])
        tunnel.reload("server")
        assert not harmed(pinger)
    peer, client = tunnel.peer(), tunnel.status("client")
    assert (peer["state"], peer["connects"], peer["session"]) == ("up", first["connects"] + 1, client["session"])
    assert (client["connects"], client["identity"]) == (started["connects"] + 1, new)
    assert peer["session"] != first["session"]
    late = tunnel.caller(old, OWN)
    drive(late, until=lambda: late.over, seconds=5)
    assert late.refused is not None
    assert late.refused.reason == f"key {key} is no peer here"


def test_a_key_that_the_server_does_not_take_costs_no_tunnel(tunnel: Hosts) -> None:
    session = tunnel.peer()["session"]
    new = tunnel.identify("client")
    with Pinger(tunnel) as pinger:
        tunnel.reload("client")
        until(lambda: f"key {new} is no peer here" in tunnel.log("client"), 3)
        assert not harmed(pinger)
    assert "renewal failed" in tunnel.log("client")
    assert tunnel.peer()["session"] == session == tunnel.status("client")["session"]
    # The server learns of it, and the client gets through without being told.
    tunnel.configure("server", peers=[{**tunnel.peers()[0], "pins": [*tunnel.peers()[0]["pins"], new]}])
    tunnel.reload("server")
    until(lambda: tunnel.peer()["key"] == new, 20)


def test_a_server_gets_a_new_key(tunnel: Hosts) -> None:
    old, connects = tunnel.server_pin, tunnel.status("client")["connects"]
    session = tunnel.peer()["session"]
    with Pinger(tunnel) as pinger:
        new = tunnel.identify("server")
        tunnel.configure("client", tls_server_pin=[old, new])
        tunnel.reload("client")
        tunnel.reload("server")
        assert tunnel.status("server")["identity"] == new
        assert tunnel.peer()["session"] == session
        # Whoever trusts the new key alone needs a server that has proved it.
        tunnel.configure("client", tls_server_pin=new)
        tunnel.reload("client")
        until(lambda: tunnel.peer()["session"] not in {session, None}, 3)
        assert not harmed(pinger)
    assert tunnel.status("client")["connects"] == connects + 1


def test_who_is_no_peer_any_more_is_cut_and_the_others_are_not(tunnel: Hosts) -> None:
    tunnel.know("other", f"{OTHER}")
    tunnel.reload("server")
    first = tunnel.peer()
    other = tunnel.caller("other", OTHER)
    drive(other, until=lambda: tunnel.peer("other")["state"] == "up", seconds=5)
    with Pinger(tunnel) as pinger:
        # Another key for it.
        tunnel.pins["other-new"] = tunnel.make_key("other-new")
        entry = {"name": "other", "pins": [tunnel.pins["other-new"]], "allowed": [f"{OTHER}"]}
        tunnel.configure("server", peers=[tunnel.peers()[0], entry])
        tunnel.reload("server")
        assert drive(other, until=lambda: other.over, seconds=2) < 0.5
        renewed = tunnel.caller("other-new", OTHER)
        drive(renewed, until=lambda: tunnel.peer("other")["state"] == "up", seconds=5)
        # Gone from the list.
        tunnel.configure("server", peers=tunnel.peers()[:1])
        tunnel.reload("server")
        assert drive(renewed, until=lambda: renewed.over, seconds=2) < 0.5
        back = tunnel.caller("other-new", OTHER)
        drive(back, until=lambda: back.refused is not None, seconds=5)
        assert not harmed(pinger)
    for caller in (other, renewed):
        assert caller.closed is not None
        assert caller.closed.reason == "no longer a peer"
    now = tunnel.peer()
    assert (now["session"], now["connects"]) == (first["session"], first["connects"])
    assert [peer["name"] for peer in tunnel.status("server")["peers"]] == [PEER]


def test_what_a_file_gets_wrong_changes_nothing(tunnel: Hosts) -> None:
    session, right = tunnel.peer()["session"], tunnel.peers()
    for wrong, told in (
        ({"peers": [{**right[0], "pins": ["sha256:short"]}]}, "not reloaded"),
        ({"peers": right, "tun_mtu": 1400}, "only a restart changes tun_mtu"),
    ):
        tunnel.configure("server", **wrong)
        tunnel.processes["server"].send_signal(signal.SIGHUP)
        until(lambda: told in tunnel.log("server"), 3, told)  # noqa: B023 - called at once
    tunnel.configure("server", tun_mtu=1300)
    assert tunnel.peer()["session"] == session
    assert tunnel.ping("client")
    assert "Traceback" not in tunnel.log("server")
