# SPDX-License-Identifier: GPL-3.0-or-later
"""Our daemon and an end that behaves like the reference implementation: ALPN mpquic-ip, bare packets, no identities."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from foreign import QUIC_GO, REFERENCE_CLIENT, REFERENCE_SERVER, Party, Program, Stack
from wan import OUTER, PORT, made, until
from world import CLIENT, CLIENT_LAN, ECHO_PORT, SERVER, TUN_MTU, World

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.parametrize("stack", [QUIC_GO], ids=lambda stack: stack.name, indirect=True),
]

KEYED = "10.200.9.5"
LEGACY = {"name": "old", "address": CLIENT, "from": [f"{OUTER['client']}/32"], "allowed": ["172.16.9.0/30"]}
#: TLS alert 120, no_application_protocol, as a QUIC error (RFC 9001 section 4.8).
NO_PROTOCOL = 0x100 + 120
DONE = {"kind": "application", "by_peer": False, "code": 0, "reason": "done"}
#: Sends ten UDP packets of different sizes through the tunnel and takes them back.
_EXCHANGE = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect((sys.argv[1], 7))
for size in range(100, 1100, 100):
    sock.send(bytes([size // 100]) * size)
    assert sock.recv(2000) == bytes([size // 100]) * size
print("all")
"""


@pytest.fixture(scope="module")
def world(peer: Party) -> Iterator[World]:
    """Run our server with a peer of each kind."""
    with made(World()) as world:
        keyed = {"name": "keyed", "pins": [peer.pin], "allowed": [f"{KEYED}/32"]}
        world.configure("server", peers=[keyed], legacy_peers=[LEGACY])
        world.start("server")
        world.wait_state("server", "listening")
        yield world


def client(world: World, *, ids: int = 4, **plan: Any) -> Program:
    """Start a client like the reference's, with connection ids of so many bytes."""
    whole = {"pin": world.server_pin, "connection_ids": ids} | plan
    return world.run_peer("client", REFERENCE_CLIENT, f"{OUTER['server']}:{PORT}", whole)


def echoes(source: str, count: int) -> dict[str, Any]:
    """Describe UDP packets to the echo service behind our server."""
    return {
        "source": source, "target": f"{SERVER}:{ECHO_PORT}", "count": count, "smallest": 60, "largest": TUN_MTU
    }  # fmt: skip


# quic-go's Dial makes ids of 0 bytes, its Transport ids of 4 bytes.
@pytest.mark.parametrize("ids", [0, 4])
@pytest.mark.parametrize("source", [CLIENT, CLIENT_LAN])
def test_a_client_is_known_by_its_first_packet(stack: Stack, world: World, ids: int, source: str) -> None:
    with world.echo_service() as service, client(world, ids=ids, echoes=[echoes(source, 500)], stay=True) as foreign:
        foreign.said()
        until(lambda: world.ping("server"), 5)
        report = foreign.report()
        service.report()
    assert report["faults"] == []
    assert report["received"] == report["sent"] == 500
    assert report["largest"] == TUN_MTU
    assert report["end"] == DONE
    until(lambda: _old(world)["reason"] == "client closed: done", 5)
    assert (_old(world)["legacy"], _old(world)["key"]) == (True, None)
    assert "protocol=mpquic-ip identity=none" in world.log("server")


def test_a_client_that_registers_need_not_send_first(stack: Stack, world: World) -> None:
    with client(world, register=CLIENT, stay=True) as foreign:
        foreign.said()
        until(lambda: _old(world)["state"] == "up", 5)
        assert world.ping("server")
        report = foreign.report()
    assert report["pings"] == 1
    assert report["sent"] == 0


def test_an_address_that_has_a_key_is_out_of_reach(stack: Stack, world: World) -> None:
    with world.echo_service() as service, client(world, register=KEYED, echoes=[echoes(KEYED, 5)]) as foreign:
        report = foreign.report()
        served = service.report()
    assert report["received"] == 0
    assert (report["end"]["by_peer"], report["end"]["reason"]) == (True, "refused")
    assert served[str(ECHO_PORT)] == 0
    assert "its address belongs to no legacy peer from this network" in world.log("server")


def test_our_client_tells_a_reference_server_its_address(stack: Stack, world: World, peer: Party) -> None:
    world.stop("server")
    try:
        world.reconfigure("client", legacy_server=True, tls_server_pin=peer.pin, tun_mtu=TUN_MTU)
        address = f"{OUTER['server']}:{PORT}"
        with world.run_peer("server", REFERENCE_SERVER, address, str(peer.folder)) as foreign:
            assert foreign.said() == {"listening": address}
            world.start("client")
            world.wait_state("client", "up")
            assert world.ping("client", "-c 5 -i 0.05 -W 2")
            command = ["ip", "netns", "exec", world.ns["client"], sys.executable, "-c", _EXCHANGE, SERVER]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
            assert done.stdout == "all\n", done.stderr
            report = foreign.report()
            assert world.stop("client") == 0
    finally:
        world.start("server")
        world.wait_state("server", "listening")
    assert report["faults"] == []
    assert (report["clients"], report["how"]) == ([CLIENT], ["registration"])
    assert (report["pings"], report["echoes"], report["answers"]) == (5, 10, 5)


def test_it_is_off_unless_somebody_is_listed(stack: Stack, world: World) -> None:
    world.stop("server")
    world.reconfigure("server", without=("legacy_peers",))
    world.start("server")
    world.wait_state("server", "listening")
    with client(world, register=CLIENT) as foreign:
        end = foreign.report()["end"]
    assert (end["kind"], end["by_peer"], end["code"]) == ("transport", True, NO_PROTOCOL)


def _old(world: World) -> dict[str, Any]:
    found: dict[str, Any] = next(peer for peer in world.status("server")["peers"] if peer["name"] == "old")
    return found
