# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect to a server."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.config import ConfigError, LegacyPeerConfig, PeerConfig, load, needs_restart
from mpquic.config.prefixes import overlaps
from mpquic.quic.selftest import _self_signed

if TYPE_CHECKING:
    from pathlib import Path

PIN = "sha256:" + "0123456789abcdef" * 4
ONE = {"name": "client1", "pins": [PIN], "allowed": ["10.200.4.1/32", "172.16.4.0/30", "fd00::1/128"]}
TWO = {"name": "client2", "pins": [PIN], "allowed": ["10.200.4.5/32"]}
OLD = {"name": "old4", "address": "10.200.4.9", "from": ["198.51.100.0/24"]}


@pytest.fixture
def server(tmp_path: Path) -> Any:
    """Return a function that writes a server's file and returns its path."""
    key, certificate = _self_signed()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").touch(0o600)
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    base = {
        "role": "server",
        "bind_ip": "0.0.0.0",
        "remote_port": 45004,
        "tun_name": "mpq4",
        "tun_cidr": "10.200.4.2/24",
        "multi_conn_enabled": True,
        "tls_cert_file": str(tmp_path / "cert.pem"),
        "tls_key_file": str(tmp_path / "key.pem"),
    }

    def write(**keys: Any) -> Path:
        path = tmp_path / "4.yaml"
        path.write_text(yaml.safe_dump(base | keys))
        return path

    return write


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    for line in caught.value.messages:
        assert "\n" not in line
    return [line.removeprefix(f"{path}: ") for line in caught.value.messages]


def networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


def test_peers(server: Any) -> None:
    full = TWO | {"pins": [PIN, PIN.upper().replace("SHA", "sha")], "budget_rate": "500mbit", "budget_packets": 50000}
    config, warnings = load(server(peers=[ONE, full]))
    assert warnings == []
    one, two = config.peers
    assert config.multi_conn_enabled is True
    assert one.allowed == networks("10.200.4.1/32", "172.16.4.0/30", "fd00::1/128")
    assert (one.name, one.pins, one.cert_names) == ("client1", (PIN,), ())
    assert (one.budget_rate, one.budget_packets) == (None, None)
    assert (two.pins, two.budget_rate, two.budget_packets) == ((PIN, PIN), 500_000_000, 50_000)


def test_peers_of_classes(server: Any) -> None:
    """Two class tunnels of one client: each its own address, the LAN behind both."""
    lan = ["172.16.4.0/30", "fd00:4::/64"]
    base = {"pins": [PIN], "shared": lan}
    df = base | {"name": "client1.df4", "allowed": ["10.200.4.5/32", "fd00::5/128"]}
    cr = base | {"name": "client1.cr4", "allowed": ["10.200.4.1/32", "fd00::1/128"], "outer_dscp": 46}
    bk = {"name": "client1.bk4", "pins": [PIN], "allowed": ["10.200.4.9/32"], "outer_dscp": "copy"}
    config, warnings = load(server(peers=[df, cr, bk], tun_cidr6="fd00::ffff/64", outer_dscp=8))
    assert warnings == []
    assert [peer.shared for peer in config.peers] == [networks(*lan), networks(*lan), ()]
    assert [peer.outer_dscp for peer in config.peers] == [None, 46, "copy"]
    assert config.outer_dscp == 8
    assert config.tun_cidr6 == ipaddress.ip_interface("fd00::ffff/64")


@pytest.mark.parametrize(
    ("df", "cr", "expected"),
    [
        (
            {"shared": ["10.200.4.1/32"]},
            {},
            (
                "peers[0] (df): shared[0]: found 10.200.4.1/32, expected a prefix that does not overlap "
                "10.200.4.1/32 of peers[1] (cr): allowed[0]"
            ),
        ),
        (
            {"shared": ["172.16.0.0/16"]},
            {"shared": ["172.16.4.0/24"]},
            (
                "peers[1] (cr): shared[0]: found 172.16.4.0/24, expected a prefix that does not overlap "
                "172.16.0.0/16 of peers[0] (df): shared[0]"
            ),
        ),
        (
            {"shared": ["172.16.0.0/16", "172.16.0.0/16"]},
            {},
            (
                "peers[0] (df): shared[1]: found 172.16.0.0/16, expected a prefix that does not overlap "
                "172.16.0.0/16 of peers[0] (df): shared[0]"
            ),
        ),
        (
            {"shared": ["172.16.0.0/16"]},
            {"shared": ["172.16.0.0/16"], "pins": ["sha256:" + "0" * 64]},
            (
                "peers[1] (cr): shared[0]: found 172.16.0.0/16, expected a prefix that only entries with the same pins "
                "and names share"
            ),
        ),
        (
            {"shared": ["10.200.4.2/31"]},
            {"shared": ["172.16.0.0/16"]},
            "peers[0] (df): shared[0]: found 10.200.4.2/31, expected a prefix without the own address, 10.200.4.2/24",
        ),
        (
            {"allowed": ["10.200.4.5/32", "fd00::/64"]},
            {},
            "peers[0] (df): allowed[1]: found fd00::/64, expected a prefix without the own address, fd00::ffff/64",
        ),
    ],
)
def test_what_peers_can_not_share(server: Any, df: dict[str, Any], cr: dict[str, Any], expected: str) -> None:
    df = {"name": "df", "pins": [PIN], "allowed": ["10.200.4.5/32"]} | df
    cr = {"name": "cr", "pins": [PIN], "allowed": ["10.200.4.1/32"]} | cr
    assert faults(server(peers=[df, cr], tun_cidr6="fd00::ffff/64")) == [expected]


def test_more_than_one_peer_is_a_decision(server: Any) -> None:
    assert load(server(peers=[ONE], multi_conn_enabled=False))[0].multi_conn_enabled is False
    more = {"peers": [ONE], "legacy_peers": [OLD]}
    told = "multi_conn_enabled: found false, expected true with 2 entries in peers and legacy_peers"
    assert faults(server(**more, multi_conn_enabled=False)) == [told]
    assert load(server(**more))[0].multi_conn_enabled is True


def test_peers_that_a_ca_names(server: Any, tmp_path: Path) -> None:
    peers = [{"name": "client1", "cert_names": ["Ship7.Example", "ship7"], "allowed": ["10.200.4.1/32"]}]
    config, warnings = load(server(peers=peers, tls_ca_file=str(tmp_path / "cert.pem")))
    assert warnings == []
    assert (config.peers[0].pins, config.peers[0].cert_names) == ((), ("ship7.example", "ship7"))
    assert faults(server(peers=peers)) == [
        "peers[0] (client1): cert_names: found without tls_ca_file, expected there the CA that signs them"
    ]


def test_older_clients(server: Any) -> None:
    more = OLD | {"allowed": ["172.16.5.0/30"], "from": ["198.51.100.7/32", "2001:db8::/32"], "budget_packets": 7}
    more |= {"name": "old5", "address": "10.200.4.13", "budget_rate": "1mbit"}
    config, warnings = load(server(legacy_peers=[OLD, more]))
    old, new = config.legacy_peers
    assert (old.name, str(old.address), old.from_, old.allowed) == (
        "old4",
        "10.200.4.9",
        networks("198.51.100.0/24"),
        (),
    )
    assert (new.from_, new.allowed) == (networks("198.51.100.7/32", "2001:db8::/32"), networks("172.16.5.0/30"))
    assert (new.budget_rate, new.budget_packets) == (1_000_000, 7)
    assert [line.split(": ")[1:3] for line in warnings] == [
        ["legacy_peers[0] (old4)", "UNAUTHENTICATED"],
        ["legacy_peers[1] (old5)", "UNAUTHENTICATED"],
    ]


@pytest.mark.parametrize("empty", [None, []])
def test_nobody(server: Any, empty: Any) -> None:
    config, warnings = load(server(peers=empty, legacy_peers=empty))
    assert (config.peers, config.legacy_peers) == ((), ())
    assert len(warnings) == 1
    assert "peers: found none, so nobody can connect" in warnings[0]


def test_a_ca_file_is_used_on_a_server(server: Any, tmp_path: Path) -> None:
    _, warnings = load(server(peers=[ONE], tls_ca_file=str(tmp_path / "cert.pem"), tls_server_pin=PIN))
    assert [line.split(": ", 1)[1] for line in warnings] == ["tls_server_pin: not used on a server"]


def test_peers_change_without_a_restart(server: Any) -> None:
    old, new = load(server(peers=[ONE]))[0], load(server(peers=[TWO], legacy_peers=[OLD]))[0]
    assert needs_restart(old, new) == []
    assert needs_restart(old, load(server(peers=[ONE], tun_mtu=1400))[0]) == ["tun_mtu"]


ENTRY = "peers[1] (client2): "
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("name", {"name": "client 2"}, "peers[1]: name: found 'client 2', expected 1 to 64 of A-Z a-z 0-9 . _ -"),
    ("long name", {"name": "c" * 65}, "peers[1]: name: found 'ccc"),
    ("number as a name", {"name": 2}, "peers[1]: name: found 2, expected 1 to 64 of"),
    ("no name", {"name": None}, "peers[1]: name: found nothing, expected 1 to 64 of"),
    ("same name", {"name": "client1"}, "peers[1] (client1): name: found client1, expected another name than that of "),
    ("pin", {"pins": [PIN, "sha256:0"]}, f"{ENTRY}pins[1]: found 'sha256:0', expected sha256: and 64 hex digits"),
    ("one pin", {"pins": PIN}, f"{ENTRY}pins: found 'sha256:"),
    ("no pin", {"pins": []}, f"{ENTRY}pins: missing, expected a list of sha256: and 64 hex digits (mpquic identity"),
    ("cert name", {"cert_names": ["*.example"]}, f"{ENTRY}cert_names[0]: found '*.example', expected a DNS name"),
    ("nothing allowed", {"allowed": []}, f"{ENTRY}allowed: found a list of 0, expected a list of the peer's own"),
    ("one allowed", {"allowed": "10.1.0.0/16"}, f"{ENTRY}allowed: found '10.1.0.0/16', expected a list of the peer's"),
    (
        "host bits",
        {"allowed": ["10.1.0.1/16"]},
        f"{ENTRY}allowed[0]: found '10.1.0.1/16' (host bits set, did you mean 10.1.",
    ),
    (
        "IPv6 host bits",
        {"allowed": ["fd00::1/64"]},
        f"{ENTRY}allowed[0]: found 'fd00::1/64' (host bits set, did you mean fd",
    ),
    (
        "zone",
        {"allowed": ["fd00::1%a/128"]},
        f"{ENTRY}allowed[0]: found 'fd00::1%a/128', expected a prefix of the peer's",
    ),
    ("no prefix", {"allowed": [10]}, f"{ENTRY}allowed[0]: found 10, expected a prefix of the peer's own such as"),
    ("rate", {"budget_rate": "5"}, f"{ENTRY}budget_rate: found '5', expected a rate from 32kbit to 100gbit such as"),
    ("packets", {"budget_packets": 0}, f"{ENTRY}budget_packets: found 0, expected UDP datagrams per second from 1"),
    ("too many packets", {"budget_packets": 10**9 + 1}, f"{ENTRY}budget_packets: found 1000000001, expected UDP"),
    ("packets as text", {"budget_packets": "5"}, f"{ENTRY}budget_packets: found '5', expected UDP datagrams"),
    ("shared", {"shared": ["172.16.4.1/30"]}, f"{ENTRY}shared[0]: found '172.16.4.1/30' (host bits set, did you mean"),
    (
        "one shared",
        {"shared": "172.16.5.0/30"},
        f"{ENTRY}shared: found '172.16.5.0/30', expected a list of prefixes be",
    ),
    ("DSCP", {"outer_dscp": 64}, f"{ENTRY}outer_dscp: found 64, expected a DSCP from 0 to 63, or copy"),
    ("DSCP as text", {"outer_dscp": "ef"}, f"{ENTRY}outer_dscp: found 'ef', expected a DSCP from 0 to 63, or copy"),
    ("unknown key", {"allow": []}, f"{ENTRY}allow: unknown key, did you mean allowed?"),
    ("strange key", {7: 7}, f"{ENTRY}7: unknown key, expected one of name, pins, cert_names,"),
    (
        "own address",
        {"allowed": ["10.200.4.2/31"]},
        f"{ENTRY}allowed[0]: found 10.200.4.2/31, expected a prefix without",
    ),
]


@pytest.mark.parametrize(("change", "expected"), [item[1:] for item in BAD], ids=[item[0] for item in BAD])
def test_one_fault_gives_one_line(server: Any, change: dict[str, Any], expected: str) -> None:
    found = faults(server(peers=[ONE, TWO | change], legacy_peers=[OLD]))
    assert len([line for line in found if line.startswith(expected)]) == 1, found
    assert len(found) == 1, found


@pytest.mark.parametrize(
    ("allowed", "inner", "outer"),
    [
        (["10.1.0.0/16", "10.1.7.0/24"], f"{ENTRY}allowed[1]: found 10.1.7.0/24", f"10.1.0.0/16 of {ENTRY}allowed[0]"),
        (
            ["172.16.4.2/32"],
            f"{ENTRY}allowed[0]: found 172.16.4.2/32",
            "172.16.4.0/30 of peers[0] (client1): allowed[1]",
        ),
        (
            ["172.16.0.0/16"],
            "peers[0] (client1): allowed[1]: found 172.16.4.0/30",
            f"172.16.0.0/16 of {ENTRY}allowed[0]",
        ),
        (["fd00::1/128"], f"{ENTRY}allowed[0]: found fd00::1/128", "fd00::1/128 of peers[0] (client1): allowed[2]"),
        (
            ["10.200.4.8/30"],
            "legacy_peers[0] (old4): address: found 10.200.4.9/32",
            f"10.200.4.8/30 of {ENTRY}allowed[0]",
        ),
    ],
)
def test_overlaps_name_both(server: Any, allowed: list[str], inner: str, outer: str) -> None:
    found = faults(server(peers=[ONE, TWO | {"allowed": allowed}], legacy_peers=[OLD]))
    assert found == [f"{inner}, expected a prefix that does not overlap {outer}"]


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("0.0.0.0/0", "all addresses there are"),
        ("::/0", "all addresses there are"),
        ("0.0.0.0/32", "unspecified, 0.0.0.0/8"),
        ("127.0.0.1/32", "loopback, 127.0.0.0/8"),
        ("169.254.7.0/24", "link-local, 169.254.0.0/16"),
        ("224.0.0.1/32", "multicast, 224.0.0.0/4"),
        ("128.0.0.0/1", "link-local, 169.254.0.0/16"),
        ("255.255.255.255/32", "broadcast, 255.255.255.255/32"),
        ("::/128", "unspecified, ::/128"),
        ("::1/128", "loopback, ::1/128"),
        ("::ffff:10.0.0.1/128", "IPv4-mapped, ::ffff:"),
        ("fe80::/64", "link-local, fe80::/10"),
        ("ff02::1/128", "multicast, ff00::/8"),
    ],
)
def test_martians(server: Any, prefix: str, kind: str) -> None:
    found = faults(server(peers=[TWO | {"allowed": [prefix]}]))
    assert len(found) == 1
    assert found[0].startswith(f"peers[0] (client2): allowed[0]: found '{prefix}' ({kind}")
    if prefix.endswith("/32"):
        address = prefix.removesuffix("/32")
        (line,) = faults(server(legacy_peers=[OLD | {"address": address}]))
        assert line.startswith(f"legacy_peers[0] (old4): address: found '{address}' ({kind}), expected the")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"peers": "all"}, "peers: found 'all', expected a list of mappings of name, pins, allowed"),
        ({"peers": {"a": 1}}, "peers: found a mapping of 1, expected a list of mappings"),
        ({"peers": ["all"]}, "peers[0]: found 'all', expected a mapping of name, pins, cert_names, allowed,"),
        ({"legacy_peers": [[]]}, "legacy_peers[0]: found a list of 0, expected a mapping of name, address,"),
        ({"legacy_peers": [OLD | {"from": []}]}, "legacy_peers[0] (old4): from: found a list of 0, expected a list of"),
        ({"legacy_peers": [OLD | {"from_": []}]}, "legacy_peers[0] (old4): from_: unknown key, did you mean from?"),
        ({"legacy_peers": [OLD | {"pins": [PIN]}]}, "legacy_peers[0] (old4): pins: unknown key, expected one of "),
        (
            {"legacy_peers": [OLD | {"address": "fd00::1"}]},
            "legacy_peers[0] (old4): address: found 'fd00::1', expected",
        ),
        ({"legacy_peers": [OLD | {"name": "client1"}]}, "legacy_peers[0] (client1): name: found client1, expected"),
        ({"tun_peer": "10.200.4.1"}, "tun_peer: found on a server, expected on a client only"),
        ({"multi_conn_enabled": "yes"}, "multi_conn_enabled: found 'yes', expected true or false"),
        (
            {"lan_routing": {"cidrs": ["172.16.4.0/30"], "mark": 0x110000}},
            "lan_routing.mark: found on a server, expected on a client only",
        ),
        ({"legacy_server": True}, "legacy_server: found on a server, expected on a client only"),
        ({"tls_ca_file": "/nowhere"}, "tls_ca_file: found /nowhere: No such file or directory, expected PEM CA"),
    ],
)
def test_other_faults(server: Any, keys: dict[str, Any], expected: str) -> None:
    (line,) = faults(server(**{"peers": [ONE], **keys}))
    assert line.startswith(expected)


def test_all_faults_at_once(server: Any) -> None:
    """What is right in one entry is compared with what is right in another one, whatever else is wrong in them."""
    one = ONE | {"pins": ["x"]}
    two = TWO | {"name": "client1", "allowed": ["172.16.4.0/24"], "budget_rate": 5}
    assert len(faults(server(peers=[one, two, 7], remote_port=0))) == 6


def test_overlaps_are_found_among_many() -> None:
    texts = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16", "11.0.0.0/8", "::/8", "10.1.2.0/24", "fd00::/8"]
    named = [(prefix, str(prefix)) for prefix in networks(*texts)]
    found = {(inner[1], outer[1]) for inner, outer in overlaps(named)}
    assert found == {
        ("10.1.0.0/16", "10.0.0.0/8"),
        ("10.1.2.0/24", "10.1.0.0/16"),
        ("10.1.2.0/24", "10.1.2.0/24"),
        ("10.2.0.0/16", "10.0.0.0/8"),
    }
    # Fast enough for the largest file.
    many = [(ipaddress.ip_network((10 << 24 | index << 8, 24)), "") for index in range(40_000)]
    assert list(overlaps(many)) == []


def test_models_can_be_made_without_a_file() -> None:
    peer = PeerConfig(name="a", pins=(PIN,), allowed=networks("10.0.0.1/32"))
    assert peer.allowed == networks("10.0.0.1/32")
    old = LegacyPeerConfig(
        **{"name": "a", "address": ipaddress.IPv4Address("10.0.0.1"), "from": networks("192.0.2.0/24")}
    )
    assert old.from_ == networks("192.0.2.0/24")
