# SPDX-License-Identifier: GPL-3.0-or-later
"""Datagrams to a QUIC implementation of other authors and back, with key updates, on a clean and on a bad wire."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aioquic.tls import CipherSuite
from foreign import QUIC_GO, QUICHE, Party, Process, Stack
from mpquic.core.connection import Identity as PeerIdentity
from mpquic.core.wire import CID_LENGTH, OVERHEAD
from mpquic.quic import ALPN, ClientEndpoint, Identity, ServerEndpoint, Trust, link
from our_end import GOODBYE, HOST, OurEnd, our_end
from relay import Relay, Wire
from traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 10_000
#: More packets than any run here has.
NEVER = 1 << 40
#: After how many packets under one key we begin an update, and after how many the foreign peer does. Both wait for the
#: last update to be acknowledged, we also for the end of its old keys: after 1 means as soon as we may.
KEY_PACKETS = {"ours": (1, NEVER), "theirs": (NEVER, 150), "both": (150, 600)}
ON_BAD_WIRE = (150, 150)
#: Key updates that an exchange must see on a clean wire, and on a bad one, where each takes longer, or in a short run.
UPDATES, FEW_UPDATES = 8, 4
WIRES = {
    "worn": Wire(loss=0.01, doubled=0.01, overtaken=0.05),
    "doubling": Wire(loss=0.0, doubled=1.0, overtaken=0.05),
}


def cases() -> list[Any]:
    """Return each stack with who may begin key updates."""
    pairs = [(QUIC_GO, "ours"), (QUIC_GO, "theirs"), (QUIC_GO, "both"), (QUICHE, "ours")]
    return [pytest.param(stack, updates, id=f"{stack.name}-{updates}") for stack, updates in pairs]


@contextlib.contextmanager
def connected(
    stack: Stack,
    role: str,
    us: Party,
    peer: Party,
    *,
    key_packets: int = NEVER,
    relay: Relay | None = None,
    suite: CipherSuite | None = None,
) -> Iterator[tuple[OurEnd, Process]]:
    """Make both ends; ``role`` is the foreign one's, ``suite`` all that we offer or take."""
    identity = Identity(us.folder / "cert.pem", us.folder / "key.pem")
    mtu = stack.largest - OVERHEAD + stack.cid_length - CID_LENGTH
    endpoint: ClientEndpoint | ServerEndpoint
    if role == "server":
        endpoint = ClientEndpoint(trust=Trust(pins=(peer.pin,)), identity=identity, tun_mtu=mtu)
    else:
        endpoint = ServerEndpoint(identity=identity, tun_mtu=mtu)
    if suite is not None:
        endpoint._configuration.cipher_suites = [suite]
    with contextlib.ExitStack() as exits:
        if role == "server":
            process = exits.enter_context(Process(stack, role, (HOST, 0), us, peer, key_packets))
            address = process.listening() if relay is None else relay.between(process.listening())
            ours = exits.enter_context(our_end(endpoint, address))
        else:
            ours = exits.enter_context(our_end(endpoint))
            address = ours.address if relay is None else relay.between(ours.address)
            process = exits.enter_context(Process(stack, role, address, us, peer, key_packets))
        yield ours, process


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(("stack", "updates"), cases(), indirect=["stack"])
def test_every_size_comes_back(
    stack: Stack, updates: str, role: str, us: Party, peer: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = KEY_PACKETS[updates]
    monkeypatch.setattr(link, "KEY_UPDATE_PACKETS", ours)
    traffic = Traffic(COUNT, 1, stack.largest)
    with connected(stack, role, us, peer, key_packets=theirs) as (end, process):
        end.exchange(traffic, updates=UPDATES)
        assert end.max_payload == stack.largest
        report = process.report()
    assert end.closed is None
    assert end.peer == PeerIdentity(ALPN, peer.pin)
    assert traffic.unexpected == []
    assert traffic.missing == 0
    assert traffic.sent >= COUNT
    assert report["received"] == report["sent"] == traffic.sent
    assert GOODBYE in report["end"]
    assert end.key_updates >= UPDATES
    if stack.updates_keys:
        assert report["undecryptable"] == 0
        assert report["own_updates"] == 0 or updates != "ours"
        assert report["peers_updates"] == 0 or updates != "theirs"
        # The last update may be on its way when the connection ends.
        assert abs(report["own_updates"] + report["peers_updates"] - end.key_updates) <= 1


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("stack", [QUIC_GO, QUICHE], ids=lambda stack: stack.name, indirect=True)
def test_the_other_cipher_suite_works_as_well(
    stack: Stack, role: str, us: Party, peer: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "KEY_UPDATE_PACKETS", 1)
    traffic = Traffic(COUNT // 4, 1, stack.largest)
    suite = CipherSuite.CHACHA20_POLY1305_SHA256
    with connected(stack, role, us, peer, suite=suite) as (end, process):
        end.exchange(traffic, updates=FEW_UPDATES)
        report = process.report()
    assert end.closed is None
    assert traffic.unexpected == []
    assert report["received"] == report["sent"] == traffic.sent == traffic.answered


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("stack", [QUIC_GO, QUICHE], ids=lambda stack: stack.name, indirect=True)
@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_a_bad_wire_costs_only_what_it_loses(
    wire: Wire, stack: Stack, role: str, us: Party, peer: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ON_BAD_WIRE
    monkeypatch.setattr(link, "KEY_UPDATE_PACKETS", ours)
    # No two of these fit one packet, so that each packet lost costs one datagram at most.
    traffic = Traffic(COUNT // 4, stack.largest // 2 + 1, stack.largest, patience=0.3)
    with (
        contextlib.closing(Relay(wire)) as relay,
        connected(stack, role, us, peer, key_packets=theirs, relay=relay) as (end, process),
    ):
        end.exchange(traffic, updates=FEW_UPDATES, relay=relay)
        report = process.report()
    assert end.closed is None
    assert traffic.unexpected == []
    assert report["repeated"] == 0
    assert traffic.missing <= relay.up.lost + relay.down.lost
    assert GOODBYE in report["end"]
    assert end.key_updates >= FEW_UPDATES
    for way in (relay.up, relay.down):
        assert way.overtaken > 0
        assert way.doubled > 0
        assert (way.lost > 0) == (wire.loss > 0)
