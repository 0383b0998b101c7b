# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of other authors, written from docs/protocol.md, and our daemon with a real TUN behind it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from foreign import QUIC_GO, QUICHE, Party, Program, Stack
from wan import ADDRESS, OUTER, PORT, made, sh, until
from world import CLIENT, CLIENT_6, CLIENT_LAN, ECHO_PORT, OWN, SERVER, SERVER_6, STRANGERS, TUN_MTU, World

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.parametrize("stack", [QUIC_GO, QUICHE], ids=lambda stack: stack.name, indirect=True),
]

#: Of another peer.
VICTIM = "10.200.9.5"
#: Codes of REFUSED.
NOT_A_PEER, NOT_ALLOWED = 2, 3
#: Capsules that no server knows, before and after HELLO (bytes of value); the last is as long as one may be.
SKIPPED = [0, 3, 16384]
DONE = {"kind": "application", "by_peer": False, "code": 0, "reason": "done"}


@pytest.fixture(scope="module")
def world(us: Party, peer: Party) -> Iterator[World]:
    """Run our server, which knows two keys."""
    with made(World()) as world:
        peers = [
            {"name": "foreign", "pins": [peer.pin], "allowed": OWN},
            {"name": "victim", "pins": [us.pin], "allowed": [f"{VICTIM}/32"]},
        ]
        world.configure("server", peers=peers)
        world.start("server")
        world.wait_state("server", "listening")
        yield world


def client(world: World, stack: Stack, identity: Party | None, **plan: Any) -> Program:
    """Start a foreign client; see README.md for what it may be told."""
    whole = {"identity": str(identity.folder) if identity else "", "pin": world.server_pin, "prefixes": OWN} | plan
    return world.run_peer("client", stack.tunnel, f"{OUTER['server']}:{PORT}", whole)


def echoes(source: str, count: int, largest: int, port: int = ECHO_PORT) -> dict[str, Any]:
    """Describe UDP packets to the echo service behind our server."""
    target = f"[{SERVER_6}]:{port}" if ":" in source else f"{SERVER}:{port}"
    return {"source": source, "target": target, "count": count, "smallest": 60, "largest": largest}


def of_peer(world: World, name: str = "foreign") -> dict[str, Any]:
    """Return the server's status of a peer."""
    found: dict[str, Any] = next(peer for peer in world.status("server")["peers"] if peer["name"] == name)
    return found


def test_packets_cross_both_ways(stack: Stack, world: World, peer: Party) -> None:
    traffic = [echoes(CLIENT, 2000, TUN_MTU), echoes(CLIENT_LAN, 300, 500), echoes(CLIENT_6, 300, 1200)]
    with (
        world.echo_service() as service,
        client(world, stack, peer, skipped=SKIPPED, echoes=traffic, stay=True) as foreign,
    ):
        assert foreign.said() == {"registered": OWN}
        until(lambda: of_peer(world)["state"] == "up", 5)
        assert of_peer(world)["key"] == peer.pin
        command = f"ip netns exec {world.ns['server']} ping -q -c 20 -i 0.02 -W 2 {ADDRESS['client']}"
        assert " 0% packet loss" in sh(command).stdout
        report = foreign.report()
        served = service.report()
    assert report["faults"] == []
    assert report["end"] == DONE
    assert not report["retried"]
    assert report["versions"] == [1, 2]
    assert report["registered"] == OWN
    assert report["received"] == report["sent"] == 2600 <= served[str(ECHO_PORT)]
    assert report["largest"] == TUN_MTU
    assert report["pings"] == 20
    # What the kernel answers with has an open checksum, but for ICMP.
    assert report["contexts"]["0"] == 20
    assert report["contexts"]["6"] >= 2600
    until(lambda: of_peer(world)["reason"] == "client closed: done", 5)


def test_what_comes_before_the_registration_goes_nowhere(stack: Stack, world: World, peer: Party) -> None:
    before = world.status("server")["drops"].get("not_registered", 0)
    early = echoes(CLIENT, 20, 200, ECHO_PORT + 1)
    with (
        world.echo_service() as service,
        client(world, stack, peer, early=early, echoes=[echoes(CLIENT, 50, 200)]) as foreign,
    ):
        report = foreign.report()
        served = service.report()
    assert report["received"] == 50
    assert served[str(ECHO_PORT + 1)] == 0
    assert world.status("server")["drops"]["not_registered"] == before + 20


@pytest.mark.parametrize("who", ["nobody", "a stranger", "a peer with the address of another"])
def test_who_is_refused_reads_why(stack: Stack, world: World, peer: Party, stranger: Party, who: str) -> None:
    identity, prefixes, code, reason = {
        "nobody": (None, OWN, NOT_A_PEER, "no client certificate"),
        "a stranger": (stranger, OWN, NOT_A_PEER, stranger.pin),
        "a peer with the address of another": (peer, [f"{VICTIM}/32"], NOT_ALLOWED, VICTIM),
    }[who]
    source = prefixes[0].partition("/")[0]
    before = len(world.log("server"))
    with (
        world.echo_service() as service,
        client(world, stack, identity, prefixes=prefixes, early=echoes(source, 5, 100)) as foreign,
    ):
        report = foreign.report()
        served = service.report()
    assert report["registered"] is None
    assert report["refused"]["code"] == code
    assert reason in report["refused"]["reason"]
    assert report["contexts"] == {}
    assert served[str(ECHO_PORT)] == 0
    key = f" key={identity.pin}" if identity else ""
    line = rf"refused .*remote={re.escape(OUTER['client'])}:\d+{key}"
    said = [text for text in world.log("server")[before:].splitlines() if re.search(line, text)]
    assert len(said) == 1
    assert report["refused"]["reason"] in said[0]
    assert of_peer(world, "victim")["connects"] == 0


def test_a_capsule_that_is_too_long_ends_the_connection(stack: Stack, world: World, peer: Party) -> None:
    with client(world, stack, peer, long=True) as foreign:
        assert foreign.said() == {"registered": OWN}
        end = foreign.said()["end"]
    assert (end["kind"], end["by_peer"]) == ("application", True)
    assert "16385 bytes" in end["reason"]


def test_the_newest_connection_is_the_tunnel(stack: Stack, world: World, peer: Party) -> None:
    with client(world, stack, peer, stay=True) as first:
        first.said()
        until(lambda: of_peer(world)["state"] == "up", 5)
        assert world.ping("server")
        with client(world, stack, peer, stay=True) as second:
            second.said()
            assert first.said()["end"] == {
                "kind": "application", "by_peer": True, "code": 0, "reason": "superseded"
            }  # fmt: skip
            assert world.ping("server")
            report = second.report()
    assert report["pings"] == 1
    assert report["end"] == DONE


def test_a_client_may_change_its_port(stack: Stack, world: World, peer: Party) -> None:
    with world.echo_service() as service:
        traffic = [echoes(CLIENT, 50, 200), echoes(CLIENT, 50, 200)]
        with client(world, stack, peer, echoes=traffic, rebind=True, stay=True) as foreign:
            foreign.said()
            assert foreign.said() == {"rebound": True}
            now = of_peer(world)
            [before] = re.findall(rf"connected .*remote=(\S+) .*session={now['session']}", world.log("server"))
            assert now["remote"] != before
            report = foreign.report()
        service.report()
    assert report["received"] == 100
    assert report["faults"] == []


def test_a_busy_server_asks_for_proof_of_the_address(stack: Stack, world: World, peer: Party) -> None:
    with world.echo_service() as service:
        world.knock(8, *STRANGERS)
        with client(world, stack, peer, echoes=[echoes(CLIENT, 10, 200)]) as foreign:
            report = foreign.report()
        service.report()
    assert report["retried"]
    assert report["received"] == 10
    assert report["faults"] == []
