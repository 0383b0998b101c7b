# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stranger at the door cannot do: begin in one place and go on in another, stay for ever, vanish unseen."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID
from mpquic.core.guest import MAX_UNREGISTERED
from mpquic.core.messages import Confirm, Hello, Register
from mpquic.core.offload import BareCodec
from mpquic.core.roster import Member, Roster
from mpquic.core.server import ServerTunnel
from mpquic.quic import ClientEndpoint, ServerEndpoint, Trust
from mpquic.quic.authority import CLIENT, Authority
from parties import ALWAYS as FOREVER
from parties import certified
from simulation import PREFIXES, SERVER, SERVER_TUN, World, arrivals, packet

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.types import Address
    from mpquic.quic import Identity
    from mpquic.quic.link import Link

MINE: Address = ("203.0.113.66", 6666)
FORGED: Address = ("198.51.100.77", 7777)
REGISTER = Hello(1, 1).encode() + Register(b"i" * 16, 0, PREFIXES).encode()
CONFIRM = Confirm(b"i" * 16).encode()


class Caller:
    """A client by hand: each datagram may claim another source; it hears only what goes to its own address."""

    def __init__(self, world: World, server: ServerTunnel, identity: Identity | None, *, legacy: bool = False) -> None:
        trust = Trust(pins=tuple(world.client_endpoint._pins))
        endpoint = ClientEndpoint(trust=trust, identity=identity, tun_mtu=1300, legacy=legacy)
        self.server, self.now = server, world.now
        self.link: Link = endpoint.connect(SERVER, self.now)
        self.established = False
        self.sent = 0
        self.heard: dict[Address, int] = {}
        self.frames = 0
        self.lines: list[str] = []

    def step(self, source: Address = MINE, payloads: tuple[bytes, ...] = ()) -> None:
        self.now += 0.02
        self.link.fire(self.now)
        for data, _to in self.link.seal(payloads, self.now)[0]:
            self.sent += 1
            self.frames += len(self.server.receive(arrivals(source, data), self.now))
        self.server.fire(self.now)
        for data, to in self.server.flush(self.now):
            self.heard[to] = self.heard.get(to, 0) + len(data)
            if to == MINE:
                self.link.open(arrivals(SERVER, data), self.now)
        self.established |= any(type(event).__name__ == "Established" for event in self.link.events())
        self.lines += [f"{change.state}: {change.reason}" for change in self.server.changes()]

    def until_established(self) -> None:
        for _step in range(20):
            self.step()
            if self.established:
                return
        pytest.fail("no handshake")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _server(world: World) -> ServerTunnel:
    assert world.server is not None
    world.client.close(world.now)
    world.run(0.1)
    return world.server


def test_a_forged_first_initial_opens_no_legacy_network(world: World) -> None:
    member = Member("old1", (ip_network("10.200.1.1/32"),), sources=(ip_network("198.51.100.0/24"),))
    listener = ServerEndpoint(identity=world.identity, tun_mtu=1300, legacy=True)
    server = ServerTunnel(listener, Roster([member]), world.now)
    server.attach(BareCodec())
    caller = Caller(world, server, None, legacy=True)
    caller.step(FORGED)
    for _step in range(100):
        caller.step(MINE, (ip_address("10.200.1.1").packed, packet(1)) if caller.established else ())
    assert (server.state, caller.frames) == ("listening", 0)
    assert not caller.established


def test_a_handshake_does_not_move_to_a_victim(world: World) -> None:
    server = _server(world)
    caller = Caller(world, server, world.client_identity)
    while not caller.established:
        # The client's last flight, and all that it says after it, claims to come from the victim.
        caller.step(MINE if not caller.heard else FORGED)
        if caller.now > world.now + 3:
            break
    caller.link.control(REGISTER + CONFIRM)
    for _step in range(100):
        caller.step(FORGED)
        server.send([packet(1)], caller.now)
    assert caller.heard.get(FORGED, 0) == 0
    assert server.state == "listening"


def test_who_lost_its_place_is_no_tunnel(world: World) -> None:
    server = _server(world)
    caller = Caller(world, server, world.client_identity)
    caller.until_established()
    caller.link.control(REGISTER)
    for _step in range(3):
        caller.step()
    (guest,) = server._board.guests
    caller.link.control(CONFIRM)
    assert guest.session is not None
    last = [data for data, _to in caller.link.seal([], caller.now)[0]]
    # In the same arrivals a newcomer takes the place, before CONFIRM is read.
    take = server._board.route

    def replaced(*arguments: object) -> object:
        groups = take(*arguments)  # type: ignore[arg-type]
        server._board.release(guest)
        return groups

    server._board.route = replaced  # type: ignore[assignment,method-assign]
    server.receive(arrivals(MINE, *last), caller.now)
    server.flush(caller.now)
    assert server.state == "listening"
    assert server.sessions["client1"].guest is None


def test_before_it_is_registered_a_client_is_heard_so_long(world: World) -> None:
    server = _server(world)
    caller = Caller(world, server, None)
    caller.until_established()
    for _step in range(MAX_UNREGISTERED):
        caller.link.ping()
        caller.now -= 0.0199
        caller.step()
    (guest,) = server._board.guests
    assert guest.heard == caller.sent > MAX_UNREGISTERED
    assert server.totals().drops["unregistered_flood"] == caller.sent - MAX_UNREGISTERED


def test_a_client_of_another_protocol_is_news(world: World) -> None:
    caller = Caller(world, _server(world), None, legacy=True)
    for _step in range(3):
        caller.step()
    assert [line for line in caller.lines if "No common ALPN protocols" in line]


def test_those_who_leave_during_the_handshake_are_counted(world: World) -> None:
    server = _server(world)
    caller = Caller(world, server, None)
    caller.step()
    caller.link.close("goodbye")
    caller.step()
    assert server.totals().drops["handshake_left"] == 1


@pytest.mark.parametrize("stays", [True, False])
def test_another_ca_vouches_for_those_who_are_here(world: World, tmp_path: Path, *, stays: bool) -> None:
    first, second = certified(ca=True), certified(ca=True)
    server, client = certified("mpquic-server"), certified("client1", by=first)
    both = tmp_path / "both.pem"
    both.write_bytes(first.file(tmp_path).read_bytes() + second.file(tmp_path).read_bytes())
    roster = Roster([Member("client1", PREFIXES, names=frozenset({"client1"}))])

    def listener(ca_file: Path) -> ServerEndpoint:
        return ServerEndpoint(identity=server.files(tmp_path), tun_mtu=1300, ca_file=ca_file)

    world.server = ServerTunnel(listener(first.file(tmp_path)), roster, world.now, own=(SERVER_TUN,))
    world.server.attach(BareCodec())
    trust = Trust(pins=(server.pin,))
    world.client_endpoint = ClientEndpoint(trust=trust, identity=client.files(tmp_path), tun_mtu=1300)
    world.start_client()
    world.run_until(lambda: world.server is not None and world.server.state == "up", 5)
    connects = world.server.connects
    world.server.configure(listener(both if stays else second.file(tmp_path)), roster, world.now)
    world.run(3.0)
    assert (world.server.state, world.server.connects) == ("up" if stays else "listening", connects)


def test_a_name_that_is_not_ascii_is_no_name(tmp_path: Path) -> None:
    authority = certified(ca=True)
    # KELVIN SIGN is a small k in lower case. The library reads such names, but makes none: GeneralNames by hand.
    names = b"".join(b"\x82" + bytes([len(name)]) + name for name in ("\u212aiel".encode(), b"harmless.example"))
    extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30" + bytes([len(names)]) + names)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    key = Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder(
        authority.certificate.subject, subject, key.public_key(), 7, authority.certificate.not_valid_before_utc, FOREVER
    )
    plain = x509.BasicConstraints(ca=False, path_length=None)
    signed = builder.add_extension(plain, critical=True).add_extension(extension, critical=False)
    certificate = x509.load_der_x509_certificate(signed.sign(authority.key, None).public_bytes(Encoding.DER))
    found, fault = Authority(authority.file(tmp_path)).vouch(certificate, [], CLIENT)
    assert (found, fault) == (("harmless.example",), "")
