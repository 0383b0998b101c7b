# SPDX-License-Identifier: GPL-3.0-or-later
"""Other connections and other keys for the same peer, and whom that disturbs: nobody."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from caller import drive, let
from pinger import Pinger
from wan import ADDRESS, PEER, until

if TYPE_CHECKING:
    from hosts import Hosts
    from pinger import Echoes

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OWN = ip_network(ADDRESS["client"])
OTHER = ip_network("10.200.9.55")
SECONDS = 2.5


def unharmed(echoes: Echoes) -> bool:
    return (echoes.sent, echoes.lost, echoes.doubled) == (100 * SECONDS, 0, 0)


def test_the_old_connection_serves_until_the_new_one_is_confirmed(hosts: Hosts) -> None:
    hosts.bring_up()
    before = hosts.peer()
    second = hosts.caller("client", OWN, confirms=False)
    with Pinger(hosts, SECONDS) as pinger:
        drive(second, until=lambda: second.registered is not None, seconds=5)
        let(second, seconds=SECONDS / 2)
        now = hosts.peer()
        assert (now["session"], now["connects"], now["remote"]) == (before["session"], 1, before["remote"])
        assert unharmed(pinger.echoes())
    assert "superseded" not in hosts.log("client")
    second.confirm()
    drive(second, until=lambda: "superseded" in hosts.log("client"), seconds=2)
    # The first one is no less legal, and takes its tunnel back.
    drive(second, until=lambda: second.over, seconds=5)
    assert second.closed is not None
    assert second.closed.reason == "superseded"
    log = hosts.log("server")
    assert log.count('note="connected, superseding the previous connection"') == 2
    assert log.index(f"session={second.link.session}") < log.index("superseding")
    until(lambda: hosts.ping("client"), 2)


def test_a_client_gets_a_new_key(hosts: Hosts) -> None:
    """Two steps, as a rotation by the play: both keys accepted, then the old one removed."""
    hosts.bring_up()
    old = hosts.configured("server")["peers"][0]["pins"][0]
    first = hosts.peer()
    new = hosts.make_key("client-new")
    hosts.configure("server", peers=[{**hosts.peers()[0], "pins": [old, new]}])
    hosts.configure("client", tls_cert_file=str(hosts.folder / "client-new.crt"))
    hosts.configure("client", tls_key_file=str(hosts.folder / "client-new.key"))
    with Pinger(hosts, SECONDS) as pinger:
        hosts.reload("server")
        assert hosts.peer()["session"] == first["session"]
        hosts.reload("client")
        until(lambda: hosts.peer()["key"] == new, 3)
        hosts.configure("server", peers=[{**hosts.peers()[0], "pins": [new]}])
        hosts.reload("server")
        assert unharmed(pinger.echoes())
    peer, client = hosts.peer(), hosts.status("client")
    assert (peer["state"], peer["connects"], peer["session"]) == ("up", 2, client["session"])
    assert (client["connects"], client["identity"]) == (2, new)
    assert peer["session"] != first["session"]
    late = hosts.caller("client", OWN)
    drive(late, until=lambda: late.over, seconds=5)
    assert late.refused is not None
    assert late.refused.reason == f"key {old} is no peer here"


def test_a_key_that_the_server_does_not_take_costs_no_tunnel(hosts: Hosts) -> None:
    hosts.bring_up()
    session = hosts.peer()["session"]
    new = hosts.identify("client")
    with Pinger(hosts, SECONDS) as pinger:
        hosts.reload("client")
        until(lambda: "renewal failed" in hosts.log("client"), 3)
        assert unharmed(pinger.echoes())
    assert f"key {new} is no peer here" in hosts.log("client")
    assert hosts.peer()["session"] == session == hosts.status("client")["session"]
    # The server learns of it, and the client gets through without being told.
    hosts.configure("server", peers=[{**hosts.peers()[0], "pins": [*hosts.peers()[0]["pins"], new]}])
    hosts.reload("server")
    until(lambda: hosts.peer()["key"] == new, 20)


def test_a_server_gets_a_new_key(hosts: Hosts) -> None:
    hosts.bring_up()
    old = hosts.server_pin
    session = hosts.peer()["session"]
    with Pinger(hosts, SECONDS) as pinger:
        new = hosts.identify("server")
        hosts.configure("client", tls_server_pin=[old, new])
        hosts.reload("client")
        hosts.reload("server")
        assert hosts.status("server")["identity"] == new
        assert hosts.peer()["session"] == session
        # Whoever trusts the new key alone needs a server that has proved it.
        hosts.configure("client", tls_server_pin=new)
        hosts.reload("client")
        until(lambda: hosts.peer()["session"] not in {session, None}, 3)
        assert unharmed(pinger.echoes())
    assert hosts.status("client")["connects"] == 2


def test_who_is_no_peer_any_more_is_cut_and_the_others_are_not(hosts: Hosts) -> None:
    hosts.know("other", f"{OTHER}")
    hosts.bring_up()
    first = hosts.peer()
    other = hosts.caller("other", OTHER)
    drive(other, until=lambda: hosts.peer("other")["state"] == "up", seconds=5)
    with Pinger(hosts, SECONDS) as pinger:
        # Another key for it.
        hosts.configure(
            "server",
            peers=[
                item if item["name"] == PEER else {**item, "pins": [hosts.make_key("other-new")]}
                for item in hosts.peers()
            ],
        )
        hosts.reload("server")
        assert drive(other, until=lambda: other.over, seconds=2) < 0.5
        hosts.pins["other-new"] = hosts.peers()[1]["pins"][0]
        renewed = hosts.caller("other-new", OTHER)
        drive(renewed, until=lambda: hosts.peer("other")["state"] == "up", seconds=5)
        # Gone from the list.
        hosts.configure("server", peers=hosts.peers()[:1])
        hosts.reload("server")
        assert drive(renewed, until=lambda: renewed.over, seconds=2) < 0.5
        back = hosts.caller("other-new", OTHER)
        drive(back, until=lambda: back.refused is not None, seconds=5)
        assert unharmed(pinger.echoes())
    for caller in (other, renewed):
        assert caller.closed is not None
        assert caller.closed.reason == "no longer a peer"
    now = hosts.peer()
    assert (now["session"], now["connects"], now["since_s"] > SECONDS) == (first["session"], 1, True)
    assert [peer["name"] for peer in hosts.status("server")["peers"]] == [PEER]


def test_what_a_file_gets_wrong_changes_nothing(hosts: Hosts) -> None:
    hosts.bring_up()
    session = hosts.peer()["session"]
    right = hosts.peers()
    hosts.configure("server", peers=[{**right[0], "pins": ["sha256:short"]}])
    hosts.processes["server"].send_signal(1)
    until(lambda: "not reloaded" in hosts.log("server"), 3)
    hosts.configure("server", peers=right, tun_mtu=1400)
    hosts.processes["server"].send_signal(1)
    until(lambda: "only a restart changes tun_mtu" in hosts.log("server"), 3)
    assert hosts.peer()["session"] == session
    assert hosts.ping("client")
    assert "Traceback" not in hosts.log("server")
