# SPDX-License-Identifier: GPL-3.0-or-later
"""Several tunnels of one site on one port: who gets what, which way answers go, how outer packets are marked."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest
from crowd import Crowd
from mpquic.core.client import Settings
from mpquic.core.roster import Member, Roster
from packets import TCP, UDP, Packet

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.types import Network

OWN = (ip_interface("10.200.10.254/24"), ip_interface("fd6d:7071:10::ffff/64"))
LAN = tuple(map(ip_network, ("172.16.5.0/24", "fd00:5::/64")))
HOST, HOST_6, WORLD, WORLD_6 = "172.16.5.2", "fd00:5::2", "192.0.2.9", "2001:db8::9"
EF = 46


def own(number: int) -> tuple[Network, ...]:
    return ip_network(f"10.200.10.{number}"), ip_network(f"fd6d:7071:10::{number:x}")


DF = Member("df5", own(5), shared=LAN)
CR = Member("cr5", own(1), shared=LAN)
BK = Member("bk5", own(9))
MEMBERS = [DF, CR, BK]


def settings(member: Member, *, copy: bool = False) -> Settings:
    first, second = member.allowed
    return Settings(
        ip_interface(f"{first.network_address}/32"),
        member.prefixes,
        tun6=ip_interface(f"{second.network_address}/128"),  # type: ignore[arg-type]
        copy_dscp=copy,
    )


@pytest.fixture
def crowd(tmp_path: Path) -> Crowd:
    """The tunnels df5, cr5 and bk5, in this order."""
    crowd = Crowd(tmp_path, MEMBERS, OWN)
    for member in MEMBERS:
        crowd.join(settings(member))
    assert [party.tunnel.state for party in crowd.parties] == ["up"] * 3
    return crowd


def out(port: int = 5060, *, v6: bool = False, protocol: int = UDP, tos: int = 0) -> Packet:
    source, target = (HOST_6, WORLD_6) if v6 else (HOST, WORLD)
    return Packet(source=source, target=target, ports=(40000, port), protocol=protocol, tos=tos, body=b"x" * 40)


def answer(port: int = 5060, *, v6: bool = False, protocol: int = UDP) -> bytes:
    sent = out(port, v6=v6, protocol=protocol)
    return replace(sent, source=sent.target, target=sent.source, ports=sent.ports[::-1]).complete()


@pytest.mark.parametrize("v6", [False, True])
def test_an_address_has_one_tunnel(crowd: Crowd, *, v6: bool) -> None:
    for number, party in zip((5, 1, 9), crowd.parties, strict=True):
        inner = f"fd6d:7071:10::{number:x}" if v6 else f"10.200.10.{number}"
        sent = Packet(source=inner, target=WORLD_6 if v6 else WORLD, protocol=UDP, body=b"x").complete()
        back = Packet(source=WORLD_6 if v6 else WORLD, target=inner, protocol=UDP, body=b"y").complete()
        crowd.up(*crowd.parties, packet=sent)
        # Only its own client takes it, and the server only from that one.
        assert crowd.got == [sent]
        crowd.got.clear()
        crowd.down(back)
        assert crowd.took() == [[back] if other is party else [] for other in crowd.parties]


@pytest.mark.parametrize("v6", [False, True])
def test_what_one_key_has_two_tunnels_for_is_not_taken_from_the_other(crowd: Crowd, *, v6: bool) -> None:
    """A client without a gate of its own still sends from its own addresses only."""
    party = crowd.parties[2]
    party.tunnel._outbound.passing = lambda reads, _at, _drops: reads  # type: ignore[method-assign]
    crowd.up(party, packet=out(v6=v6).complete())
    other = Packet(source="fd6d:7071:10::1" if v6 else "10.200.10.1", target=WORLD_6 if v6 else WORLD, body=b"x")
    crowd.up(party, packet=other.complete())
    # Nor from the server's.
    crowd.up(party, packet=replace(other, source=str(OWN[v6].ip)).complete())
    assert crowd.got == []
    assert crowd.server.sessions["bk5"].counters.drops == {"source": 2, "martian": 1}


@pytest.mark.parametrize("v6", [False, True])
def test_answers_come_back_through_the_tunnel_that_asked(crowd: Crowd, *, v6: bool) -> None:
    df, cr, _bk = crowd.parties
    # Nobody has carried it: to the first one.
    crowd.down(answer(v6=v6))
    assert crowd.took() == [[answer(v6=v6)], [], []]
    crowd.up(cr, packet=out(v6=v6).complete())
    crowd.up(df, packet=out(443, v6=v6, protocol=TCP).complete())
    both = answer(v6=v6), answer(443, v6=v6, protocol=TCP)
    crowd.down(*both)
    assert crowd.took() == [[both[1]], [both[0]], []]
    # The flow takes another tunnel, and its answers with it.
    crowd.up(df, packet=out(v6=v6).complete())
    crowd.down(answer(v6=v6))
    assert crowd.took() == [[answer(v6=v6)], [], []]


def test_when_the_tunnel_of_a_flow_is_gone_the_next_owner_has_it(crowd: Crowd) -> None:
    df, cr, bk = crowd.parties
    crowd.up(cr, packet=out().complete())
    crowd.down(answer())
    assert crowd.took() == [[], [answer()], []]
    cr.tunnel.close(crowd.now)
    crowd.run(0.05)
    crowd.down(answer())
    assert crowd.took() == [[answer()], [], []]
    # It is back: so are its flows.
    crowd.parties[1] = again = crowd.join(settings(CR))
    crowd.parties.pop()
    crowd.down(answer())
    assert again.got == [answer()]
    again.got.clear()
    # The last of them goes to nobody, and never to who does not own it.
    for party in (df, again):
        party.tunnel.close(crowd.now)
    crowd.run(0.05)
    crowd.down(answer())
    assert crowd.took() == [[], [], []]
    assert crowd.server.totals().drops["no_connection"] == 1
    assert bk.tunnel.state == "up"


def test_an_owner_that_no_longer_is_one_gets_nothing(crowd: Crowd) -> None:
    df, cr, _bk = crowd.parties
    crowd.up(cr, packet=out().complete())
    third = replace(BK, shared=LAN[:1])
    changed = crowd.known([DF, replace(CR, shared=()), third])
    crowd.server.configure(crowd.listener, Roster(changed), crowd.now)
    crowd.run(0.05)
    # It registered what is no longer its own.
    assert crowd.server.sessions["cr5"].guest is None
    crowd.down(answer())
    assert crowd.took()[:2] == [[answer()], []]
    df.tunnel.close(crowd.now)
    crowd.run(0.05)
    crowd.down(answer())
    # The third one has it now, at this end; its client has yet to hear of that.
    assert crowd.took()[1] == []
    assert crowd.server.sessions["bk5"].counters.tx_packets == 1


def test_flows_survive_a_reload(crowd: Crowd) -> None:
    crowd.up(crowd.parties[1], packet=out().complete())
    crowd.server.configure(crowd.listener, Roster(crowd.known(MEMBERS)), crowd.now)
    crowd.down(answer())
    assert crowd.took() == [[], [answer()], []]


def test_a_tunnel_without_shared_prefixes_remembers_no_flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(tmp_path, [replace(DF, shared=()), BK], OWN)
    for name in ("_learn", "_offer_shared"):
        monkeypatch.setattr(crowd.server, name, lambda *_args: pytest.fail("looked at flows"))
    for member in (replace(DF, shared=()), BK):
        party = crowd.join(settings(member))
        inner = str(member.allowed[0].network_address)
        crowd.up(party, packet=Packet(source=inner, target=WORLD, protocol=UDP).complete())
        crowd.down(Packet(source=WORLD, target=inner, protocol=UDP).complete())
        assert party.got
    assert len(crowd.got) == 2


def test_a_peer_from_another_address_replaces_itself_and_nobody_else(crowd: Crowd) -> None:
    sessions = {name: session.guest for name, session in crowd.server.sessions.items()}
    moved = crowd.join(settings(CR))
    assert moved.tunnel.state == "up"
    after = {name: session.guest for name, session in crowd.server.sessions.items()}
    assert {name for name in after if after[name] is not sessions[name]} == {"cr5"}
    assert after["cr5"] is not None
    assert after["cr5"].connection.peer == moved.address
    crowd.took()
    crowd.up(moved, packet=out().complete())
    crowd.down(answer())
    assert crowd.took() == [[], [], [], [answer()]]


def test_both_addresses_can_be_told_when_a_packet_is_too_large(crowd: Crowd) -> None:
    for v6, source in ((False, "10.200.10.1"), (True, "fd6d:7071:10::1")):
        large = replace(out(v6=v6), body=bytes(1400), source=WORLD_6 if v6 else WORLD, target=HOST_6 if v6 else HOST)
        crowd.server.send([large.complete()], crowd.now)
        (frame,) = crowd.server.answers()
        found = b"".join(frame)
        # From the far end of the tunnel, as the kernel sees it; the class tunnels' own end knows no far end.
        where = found[8:24] if v6 else found[12:16]
        assert where == ip_interface(source).packed
        crowd.run(0.02)
    client = crowd.parties[1].tunnel
    for v6 in (False, True):
        client.send([replace(out(v6=v6), body=bytes(1400)).complete()], crowd.now)
    (frame,) = client.answers()
    assert b"".join(frame)[8:24] == CR.allowed[1].network_address.packed


@pytest.mark.parametrize(("path", "fits"), [(1339, True), (1338, False)])
def test_a_path_too_narrow_for_ipv6_carries_none_and_says_so(tmp_path: Path, path: int, *, fits: bool) -> None:
    crowd = Crowd(tmp_path, MEMBERS, OWN)
    crowd.mtu = path
    party = crowd.join(settings(CR))
    crowd.run(1)
    assert party.tunnel.mtu == crowd.server.mtu == path - 59
    sent = [out(v6=v6).complete() for v6 in (False, True)]
    party.tunnel.send(sent, crowd.now)
    # "No route", and not "packet too big": small or large makes no difference.
    answers = [b"".join(frame)[40:42] for frame in party.tunnel.answers()]
    assert answers == ([] if fits else [bytes([1, 0])])
    crowd.run(0.05)
    assert crowd.got == (sent if fits else sent[:1])
    assert party.tunnel.counters.drops == ({} if fits else {"ipv6_narrow": 1})
    # The same at the other end, and IPv4 goes on.
    back = [answer(), answer(v6=True)]
    crowd.up(party, packet=sent[0])
    crowd.server.send(back, crowd.now)
    assert len(crowd.server.answers()) == (not fits)
    crowd.run(0.05)
    assert party.got == (back if fits else back[:1])
    # A wider path is found, and IPv6 is back.
    crowd.mtu = 1500
    crowd.run(11)
    crowd.up(party, packet=sent[1])
    crowd.down(back[1])
    assert crowd.got[-1] == sent[1]
    assert party.got[-1] == back[1]


# --- marks on outer packets -----------------------------------------------------------------------------------------


def test_a_server_marks_what_it_sends_to_a_peer_from_its_registration_on(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path, [replace(CR, outer_dscp=EF), DF], OWN)
    cr, df = crowd.join(settings(CR)), crowd.join(settings(DF))
    first = cr.received_tos.index(EF << 2)
    assert first > 0
    assert cr.received_tos == [0] * first + [EF << 2] * (len(cr.received_tos) - first)
    before = len(cr.received_tos)
    crowd.down(Packet(source=WORLD, target="10.200.10.1", protocol=UDP).complete())
    crowd.server.close(crowd.now)
    crowd.run(0.05)
    assert len(cr.received_tos) > before + 1
    assert set(cr.received_tos[before:]) == {EF << 2}
    assert set(df.received_tos) == {0}
    # A client marks what it sends by its socket.
    assert set(cr.sent_tos) == {0}


def test_a_reload_changes_the_mark(crowd: Crowd) -> None:
    cr = crowd.parties[1]
    assert set(cr.received_tos) == {0}
    changed = crowd.known([DF, replace(CR, outer_dscp=EF), BK])
    crowd.server.configure(crowd.listener, Roster(changed), crowd.now)
    cr.received_tos.clear()
    crowd.down(Packet(source=WORLD, target="10.200.10.1", protocol=UDP).complete())
    assert set(cr.received_tos) == {EF << 2}
    assert {party.tunnel.state for party in crowd.parties} == {"up"}


@pytest.mark.parametrize("v6", [False, True])
def test_the_mark_of_each_packet_is_copied_both_ways(tmp_path: Path, *, v6: bool) -> None:
    crowd = Crowd(tmp_path, [replace(CR, outer_dscp="copy")], OWN)
    party = crowd.join(settings(CR, copy=True))
    assert set(party.sent_tos) | set(party.received_tos) == {0}
    party.sent_tos.clear()
    party.received_tos.clear()
    # EF with an ECN mark, LE, none; the second EF is no neighbour of the first.
    octets = (0xB9, 0x04, 0x00, 0xB8)
    party.tunnel.send([out(v6=v6, tos=octet).complete() for octet in octets], crowd.now)
    crowd.run(0.1)
    assert len(crowd.got) == 4
    # Equal ones leave together.
    assert [tos for tos in party.sent_tos if tos] == [0xB8, 0x04]
    # The acknowledgement carries no packet.
    assert set(party.received_tos) == {0}
    back = [replace(out(v6=v6, tos=octet), source=WORLD_6 if v6 else WORLD, target=HOST_6 if v6 else HOST).complete()
            for octet in octets]  # fmt: skip
    crowd.server.send(back, crowd.now)
    crowd.run(0.1)
    assert sorted(party.got) == sorted(back)
    assert [tos for tos in party.received_tos if tos] == [0xB8, 0x04]
