# SPDX-License-Identifier: GPL-3.0-or-later
"""Who proves what to whom: every kind of identity, shown by either end."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from mpquic.core.connection import Identity as PeerIdentity
from mpquic.quic import ALPN, LEGACY_ALPN, ClientEndpoint, Identity, ServerEndpoint, Trust
from parties import SERVER_NAME, Party, certified, ends, meet, new_key, steal

if TYPE_CHECKING:
    from pathlib import Path

NOT_PROVED = "the peer did not prove that it has the key of its certificate"
NOT_PROVED_BY_US = "TLS alert 51 (decrypt_error): this end did not prove that it has the key of its certificate"
PAST = dt.datetime(2020, 2, 3, tzinfo=dt.UTC)
FUTURE = dt.datetime(2990, 4, 5, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def server() -> Party:
    return certified(SERVER_NAME)


@pytest.fixture(scope="module")
def ca() -> Party:
    return certified(ca=True)


# --- what a server learns of its client ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "rsa"])
def test_a_client_proves_its_key(tmp_path: Path, server: Party, kind: str) -> None:
    client = certified("client1", kind=kind)
    met = meet(*ends(tmp_path, server, client))
    assert met.established("server") == PeerIdentity(ALPN, client.pin)
    assert met.established("client") == PeerIdentity(ALPN, server.pin)
    assert met.server.claimed == client.pin
    assert met.client.claimed == server.pin


def test_a_client_without_a_certificate_has_proved_nothing(tmp_path: Path, server: Party, ca: Party) -> None:
    met = meet(*ends(tmp_path, server, None, ca=ca))
    assert met.established("server") == PeerIdentity(ALPN, None)
    assert met.server.claimed is None


def test_a_client_with_a_stolen_certificate(tmp_path: Path, server: Party) -> None:
    victim = certified("client1")
    client_end, server_end = ends(tmp_path, server, certified("thief"))
    steal(client_end, victim)
    met = meet(client_end, server_end)
    assert met.established("server") is None
    closed = met.closed("server")
    assert closed is not None
    assert (closed.reason, closed.by_peer) == (NOT_PROVED, False)
    assert met.server.claimed == victim.pin
    # A client is done before its server has looked at what it proved.
    assert met.established("client") is not None
    closed = met.closed("client")
    assert closed is not None
    assert (closed.reason, closed.by_peer) == (NOT_PROVED_BY_US, True)


def test_a_key_of_another_kind_than_the_stolen_certificates(tmp_path: Path, server: Party) -> None:
    victim = certified("client1", kind="p256")
    client_end, server_end = ends(tmp_path, server, certified("thief"))
    steal(client_end, victim)
    met = meet(client_end, server_end)
    assert met.established("server") is None
    closed = met.closed("server")
    assert closed is not None
    assert closed.reason == NOT_PROVED


@pytest.mark.parametrize("kind", ["ed25519", "p256", "rsa"])
def test_a_ca_vouches_for_names(tmp_path: Path, server: Party, kind: str) -> None:
    ca = certified(ca=True, kind=kind)
    client = certified("client1", "ship.example", by=ca, kind=kind, uses=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    met = meet(*ends(tmp_path, server, client, ca=ca))
    assert met.established("server") == PeerIdentity(ALPN, client.pin, ("client1", "ship.example"))


def test_a_chain_of_two(tmp_path: Path, server: Party, ca: Party) -> None:
    middle = certified(by=ca, ca=True)
    client = certified("client1", by=middle, chain=(middle.certificate,))
    met = meet(*ends(tmp_path, server, client, ca=ca))
    assert met.established("server") == PeerIdentity(ALPN, client.pin, ("client1",))


def test_without_a_ca_no_names_count(tmp_path: Path, server: Party, ca: Party) -> None:
    client = certified("client1", by=ca)
    met = meet(*ends(tmp_path, server, client))
    assert met.established("server") == PeerIdentity(ALPN, client.pin)


def _expired(ca: Party) -> Party:
    return certified("client1", by=ca, end=PAST)


def _too_early(ca: Party) -> Party:
    return certified("client1", by=ca, begin=FUTURE)


def _of_itself(_ca: Party) -> Party:
    return certified("client1")


def _of_another(_ca: Party) -> Party:
    return certified("client1", by=certified(ca=True))


def _of_a_namesake(ca: Party) -> Party:
    """By a CA that has the name of ours, and another key."""
    return certified("client1", by=dataclasses.replace(ca, key=new_key()))


def _of_a_peer(ca: Party) -> Party:
    """By a peer of ours that plays CA."""
    peer = certified("client2", by=ca)
    return certified("client1", by=peer, chain=(peer.certificate,))


def _of_an_expired_issuer(ca: Party) -> Party:
    middle = certified(by=ca, ca=True, end=PAST)
    return certified("client1", by=middle, chain=(middle.certificate,))


def _of_a_missing_issuer(ca: Party) -> Party:
    return certified("client1", by=certified(by=ca, ca=True))


def _for_servers(ca: Party) -> Party:
    return certified("client1", by=ca, uses=(ExtendedKeyUsageOID.SERVER_AUTH,))


@pytest.mark.parametrize(
    ("who", "fault"),
    [
        (_expired, "certificate expired on 2020-02-03"),
        (_too_early, "certificate not valid before 2990-04-05"),
        (_of_itself, "certificate not issued by the CA: self-signed certificate"),
        (_of_another, "certificate not issued by the CA: unable to get local issuer certificate"),
        (_of_a_namesake, "certificate not issued by the CA: certificate signature failure"),
        (_of_a_peer, "certificate not issued by the CA: invalid CA certificate"),
        (_of_an_expired_issuer, "certificate chain does not hold: certificate has expired"),
        (_of_a_missing_issuer, "certificate not issued by the CA: unable to get local issuer certificate"),
        (_for_servers, "certificate is not for TLS clients (extended key usage)"),
    ],
)
def test_why_a_ca_does_not_vouch(tmp_path: Path, server: Party, ca: Party, who, fault: str) -> None:
    """The key is proved all the same, so that a pin may still let it in."""
    client = who(ca)
    met = meet(*ends(tmp_path, server, client, ca=ca))
    assert met.established("server") == PeerIdentity(ALPN, client.pin, (), fault)
    assert met.closed("server") is None


def test_a_certificate_that_cannot_be_read_is_no_crash(tmp_path: Path, server: Party, ca: Party, monkeypatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise ValueError("extension of a strange kind")

    monkeypatch.setattr("mpquic.quic.authority.verify_certificate", broken)
    client = certified("client1", by=ca)
    met = meet(*ends(tmp_path, server, client, ca=ca))
    assert met.established("server") == PeerIdentity(ALPN, client.pin, (), "certificate cannot be read: ValueError")


class _Forgery:
    """A certificate with some bits turned."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_bytes(self, _encoding: object) -> bytes:
        return self._der


def test_no_certificate_breaks_a_server(tmp_path: Path, server: Party, ca: Party) -> None:
    client = certified("client1", by=ca)
    client_end, server_end = ends(tmp_path, server, client, ca=ca)
    der = client.certificate.public_bytes(Encoding.DER)
    chance = random.Random(11)
    seen = set()
    for _ in range(150):
        forged = bytearray(der)
        for _ in range(chance.randint(1, 2)):
            forged[chance.randrange(len(forged))] ^= 1 << chance.randrange(8)
        if forged == der:
            continue
        client_end._configuration.certificate = _Forgery(bytes(forged))
        met = meet(client_end, server_end, rounds=4)
        identity, closed = met.established("server"), met.closed("server")
        assert (identity is None) is not (closed is None)
        assert met.server.claimed is None or met.server.claimed.startswith("sha256:")
        if identity is not None:
            assert identity.names == ()
            seen.add(identity.fault)
        elif closed is not None:
            # aioquic takes any other fault of the parser for a bad certificate.
            assert "internal error" not in closed.reason or "InvalidVersion" in closed.reason
            seen.add(closed.reason)
    assert len(seen) > 5


def test_comments_and_ends_of_lines_in_a_ca_file_do_not_matter(tmp_path: Path, server: Party, ca: Party) -> None:
    other, client = certified(ca=True), certified("client1", by=ca)
    text = "".join(f"# {i}\n{party.file(tmp_path).read_text()}\n\n" for i, party in enumerate((other, ca)))
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(text.replace("\n", "\r\n").encode())
    client_end, _server_end = ends(tmp_path, server, client)
    met = meet(client_end, ServerEndpoint(identity=server.files(tmp_path), tun_mtu=1300, ca_file=bundle))
    assert met.established("server") == PeerIdentity(ALPN, client.pin, ("client1",))


# --- what a client demands of its server -----------------------------------------------------------------------------


def _refused(tmp_path: Path, shown: Party, trust: Trust) -> str:
    """Return why a client wants no server that shows this."""
    met = meet(*ends(tmp_path, shown, certified("client1"), trust=trust))
    assert met.established("client") is None
    assert met.established("server") is None
    closed, heard = met.closed("client"), met.closed("server")
    assert closed is not None
    assert not closed.by_peer
    # The server learns no more than that.
    assert heard is not None
    assert (heard.reason, heard.by_peer) == ("refused during the handshake", True)
    return closed.reason


def test_either_pin_of_a_rotation_will_do(tmp_path: Path, server: Party) -> None:
    new = certified(SERVER_NAME)
    for shown in (server, new):
        met = meet(*ends(tmp_path, shown, certified("client1"), trust=Trust(pins=(server.pin, new.pin))))
        assert met.established("client") == PeerIdentity(ALPN, shown.pin)


def test_another_key_than_the_pinned_one(tmp_path: Path, server: Party) -> None:
    other = certified(SERVER_NAME)
    assert _refused(tmp_path, other, Trust(pins=(server.pin,))) == f"server key {other.pin} is not the pinned one"


def test_dates_do_not_matter_to_a_pinned_key(tmp_path: Path) -> None:
    for shown in (certified(end=PAST), certified(begin=FUTURE)):
        met = meet(*ends(tmp_path, shown, certified("client1", end=PAST)))
        assert met.established("client") == PeerIdentity(ALPN, shown.pin)
        assert met.established("server") is not None


@pytest.mark.parametrize("pinned", [False, True])
def test_a_server_of_the_ca_and_the_name(tmp_path: Path, ca: Party, *, pinned: bool) -> None:
    shown = certified(SERVER_NAME, by=ca, uses=(ExtendedKeyUsageOID.SERVER_AUTH,))
    trust = Trust((shown.pin,) if pinned else (), ca.file(tmp_path), SERVER_NAME)
    met = meet(*ends(tmp_path, shown, certified("client1"), trust=trust))
    assert met.established("client") == PeerIdentity(ALPN, shown.pin, (SERVER_NAME,))


def test_a_self_signed_certificate_as_its_own_ca(tmp_path: Path, server: Party) -> None:
    trust = Trust(ca_file=server.file(tmp_path), server_name=SERVER_NAME)
    met = meet(*ends(tmp_path, server, certified("client1"), trust=trust))
    assert met.established("client") == PeerIdentity(ALPN, server.pin, (SERVER_NAME,))


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize(
    ("names", "options", "why"),
    [
        (("other.example",), {}, "server certificate is for other.example, not for mpquic-server"),
        ((), {}, "server certificate is for no name, not for mpquic-server"),
        ((SERVER_NAME,), {"end": PAST}, "server certificate expired on 2020-02-03"),
        ((SERVER_NAME,), {"begin": FUTURE}, "server certificate not valid before 2990-04-05"),
        (
            (SERVER_NAME,),
            {"uses": (ExtendedKeyUsageOID.CLIENT_AUTH,)},
            "server certificate is not for TLS servers (extended key usage)",
        ),
    ],
)
def test_why_a_server_of_the_ca_is_refused(
    tmp_path: Path, ca: Party, names: tuple[str, ...], options: dict[str, Any], why: str, *, pinned: bool
) -> None:
    shown = certified(*names, by=ca, **options)
    trust = Trust((shown.pin,) if pinned else (), ca.file(tmp_path), SERVER_NAME)
    assert _refused(tmp_path, shown, trust) == why


@pytest.mark.parametrize("pinned", [False, True])
def test_a_server_of_another_ca(tmp_path: Path, ca: Party, *, pinned: bool) -> None:
    shown = _of_another(ca)
    trust = Trust((shown.pin,) if pinned else (), ca.file(tmp_path), "client1")
    assert _refused(tmp_path, shown, trust) == (
        "server certificate not issued by the CA: unable to get local issuer certificate"
    )


def test_a_server_of_the_ca_with_another_key_than_the_pinned_one(tmp_path: Path, ca: Party, server: Party) -> None:
    shown = certified(SERVER_NAME, by=ca)
    trust = Trust((server.pin,), ca.file(tmp_path), SERVER_NAME)
    assert _refused(tmp_path, shown, trust) == f"server key {shown.pin} is not the pinned one"


@pytest.mark.parametrize("by_ca", [False, True])
def test_a_server_with_a_stolen_certificate(tmp_path: Path, ca: Party, *, by_ca: bool) -> None:
    victim = certified(SERVER_NAME, by=ca)
    trust = Trust(ca_file=ca.file(tmp_path), server_name=SERVER_NAME) if by_ca else Trust(pins=(victim.pin,))
    client_end, server_end = ends(tmp_path, certified("thief"), certified("client1"), trust=trust)
    steal(server_end, victim)
    met = meet(client_end, server_end)
    assert met.established("client") is met.established("server") is None
    ours, theirs = met.closed("client"), met.closed("server")
    assert ours is not None
    assert theirs is not None
    assert (ours.reason, ours.by_peer) == (NOT_PROVED, False)
    assert (theirs.reason, theirs.by_peer) == (NOT_PROVED_BY_US, True)
    assert met.client.claimed == victim.pin


# --- protocols -------------------------------------------------------------------------------------------------------


def _spoken(tmp_path: Path, server: Party, *, legacy_server: bool, legacy_client: bool, certificate: bool):
    identity = certified("client1").files(tmp_path) if certificate else None
    client = ClientEndpoint(trust=Trust(pins=(server.pin,)), identity=identity, tun_mtu=1300, legacy=legacy_client)
    return meet(client, ServerEndpoint(identity=server.files(tmp_path), tun_mtu=1300, legacy=legacy_server))


@pytest.mark.parametrize("certificate", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_server_that_speaks_both_protocols(tmp_path: Path, server: Party, *, legacy: bool, certificate: bool) -> None:
    met = _spoken(tmp_path, server, legacy_server=True, legacy_client=legacy, certificate=certificate)
    for who in ("client", "server"):
        identity = met.established(who)
        assert identity is not None
        assert identity.protocol == (LEGACY_ALPN if legacy else ALPN)
    identity = met.established("server")
    assert identity is not None
    assert (identity.pin is not None) is certificate


def test_the_old_protocol_is_off_by_default(tmp_path: Path, server: Party) -> None:
    met = _spoken(tmp_path, server, legacy_server=False, legacy_client=True, certificate=True)
    assert met.established("client") is met.established("server") is None
    ours, theirs = met.closed("client"), met.closed("server")
    assert ours is not None
    assert theirs is not None
    assert ours.reason == theirs.reason == "TLS alert 120 (no_application_protocol): No common ALPN protocols"


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_key_that_is_not_the_certificates(tmp_path: Path, server: Party) -> None:
    files, other = server.files(tmp_path), certified("other").files(tmp_path)
    mixed = Identity(files.cert_file, other.key_file)
    expected = f"^{other.key_file}: not the key of the certificate in {files.cert_file}$"
    with pytest.raises(ValueError, match=expected):
        ServerEndpoint(identity=mixed, tun_mtu=1300)
    with pytest.raises(ValueError, match=expected):
        ClientEndpoint(trust=Trust(pins=(server.pin,)), identity=mixed, tun_mtu=1300)


def test_files_that_hold_something_else(tmp_path: Path, server: Party) -> None:
    files, junk = server.files(tmp_path), tmp_path / "junk"
    junk.write_text("nothing")
    strange = certified("client1", kind="p521").files(tmp_path)
    for identity, expected in (
        (Identity(junk, files.key_file), "junk: expected PEM certificates"),
        (Identity(files.cert_file, junk), "junk: expected a PEM private key without a passphrase"),
        (strange, r"\.key: expected an Ed25519, ECDSA P-256, ECDSA P-384 or RSA key"),
    ):
        with pytest.raises(ValueError, match=expected):
            ServerEndpoint(identity=identity, tun_mtu=1300)
    with pytest.raises(ValueError, match="junk: expected PEM certificates"):
        ServerEndpoint(identity=files, tun_mtu=1300, ca_file=junk)
    with pytest.raises(FileNotFoundError):
        ServerEndpoint(identity=Identity(tmp_path / "none", files.key_file), tun_mtu=1300)


def test_there_is_no_trust_without_a_pin_or_a_name(tmp_path: Path, ca: Party) -> None:
    with pytest.raises(ValueError, match="neither a pin nor a CA"):
        ClientEndpoint(trust=Trust(), identity=None, tun_mtu=1300)
    with pytest.raises(ValueError, match="no name of the server"):
        ClientEndpoint(trust=Trust(ca_file=ca.file(tmp_path)), identity=None, tun_mtu=1300)
