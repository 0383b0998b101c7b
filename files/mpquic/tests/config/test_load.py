# SPDX-License-Identifier: GPL-3.0-or-later
"""Good files load, bad ones say on one line each what is wrong."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.config import RELOADABLE, ConfigError, between, load, needs_restart
from mpquic.quic.selftest import _self_signed

PIN = "sha256:" + "0123456789abcdef" * 4
#: What a client without an identity of its own is told.
NO_IDENTITY = "tls_cert_file: missing, so no server but one of the older implementation (legacy_server) takes this"
CLIENT: dict[str, Any] = {
    "role": "client",
    "bind_ip": "if:enp7s6",
    "remote_addr": "203.0.113.10",
    "remote_port": 45004,
    "tun_name": "mpq4",
    "tun_cidr": "10.200.4.1/30",
    "tls_server_pin": PIN,
    "lan_routing": {"interface": "enp6s23", "cidrs": ["172.16.4.0/30"], "table": 45004, "priority": 504},
}
GONE = object()
#: The tunnel of one class.
CLASS: dict[str, Any] = CLIENT | {
    "remote_port": 45010,
    "tun_name": "cr5",
    "tun_cidr": "10.200.10.1/32",
    "tun_cidr6": "fd6d:7071:10::1/128",
    "tun_peer": "10.200.10.254",
    "outer_dscp": 46,
    "multi_conn_enabled": False,
    "lan_routing": {"cidrs": [], "mark": 0x00110000, "table": 46016, "priority": 200},
}


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    """Key and certificate files of a server."""
    key, certificate = _self_signed()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    _write_key(tmp_path / "key.pem", key)
    return {"tls_cert_file": str(tmp_path / "cert.pem"), "tls_key_file": str(tmp_path / "key.pem")}


def _write_key(path: Path, key: Ed25519PrivateKey) -> None:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)


def _file(tmp_path: Path, data: dict[str, Any], name: str = "4.yaml") -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not GONE}))
    return path


def _faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    for line in caught.value.messages:
        assert "\n" not in line
        assert line.startswith(f"{path}: ")
    return [line.removeprefix(f"{path}: ") for line in caught.value.messages]


def test_client_with_defaults(tmp_path: Path) -> None:
    config, warnings = load(_file(tmp_path, CLIENT))
    assert len(warnings) == 1
    assert f"4.yaml: {NO_IDENTITY}" in warnings[0]
    assert config.legacy_server is False
    assert config.instance_id == "4"
    assert config.bind_ip.interface == "enp7s6"
    assert config.tun_cidr == ipaddress.ip_interface("10.200.4.1/30")
    assert (config.tun_mtu, config.log_level, config.congestion_algorithm) == (1300, "info", "tunnel")
    assert config.tls_server_name == "mpquic-server"
    assert config.tls_server_pin == (PIN,)
    assert config.lan_routing is not None
    assert config.lan_routing.cidrs == (ipaddress.ip_network("172.16.4.0/30"),)


def test_class_client(tmp_path: Path) -> None:
    """What its mark carries enters the tunnel, from wherever it is; its address is alone."""
    config, warnings = load(_file(tmp_path, CLASS, "cr5.yaml"))
    assert len(warnings) == 1
    assert str(config.tun_cidr) == "10.200.10.1/32"
    assert str(config.tun_cidr6) == "fd6d:7071:10::1/128"
    assert str(config.tun_peer) == "10.200.10.254"
    assert (config.outer_dscp, config.multi_conn_enabled) == (46, False)
    assert config.lan_routing is not None
    assert (config.lan_routing.mark, config.lan_routing.interface, config.lan_routing.cidrs) == (0x00110000, None, ())


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (63, 63), ("copy", "copy"), (GONE, 0)])
def test_outer_dscp(tmp_path: Path, value: Any, expected: Any) -> None:
    assert load(_file(tmp_path, CLIENT | {"outer_dscp": value}))[0].outer_dscp == expected


def test_client_with_an_identity(tmp_path: Path, pem: dict[str, str]) -> None:
    assert load(_file(tmp_path, CLIENT | pem))[1] == []


def test_client_of_an_older_server(tmp_path: Path) -> None:
    config, warnings = load(_file(tmp_path, CLIENT | {"legacy_server": True}))
    assert config.legacy_server is True
    assert [line.split(": ")[1:3] for line in warnings] == [["legacy_server", "UNAUTHENTICATED"]]


def test_older_server_file(tmp_path: Path, pem: dict[str, str]) -> None:
    """It loads as it is, and nobody gets in."""
    data = {
        "role": "server",
        "bind_ip": "0.0.0.0",
        "remote_port": 45004,
        "tun_name": "mpq4",
        "tun_cidr": "10.200.4.2/30",
    }
    config, warnings = load(_file(tmp_path, data | pem))
    assert (config.role, config.peers, config.legacy_peers) == ("server", (), ())
    assert len(warnings) == 1
    assert "4.yaml: peers: found none, so nobody can connect; list each client with its name, pins" in warnings[0]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20mbit", 20_000_000),
        ("500kbit", 500_000),
        ("1gbit", 1_000_000_000),
        ("64000bit", 64_000),
        ("2.5Mbit", 2_500_000),
        (None, None),
    ],
)
def test_rate_in_the_notation_of_tc(tmp_path: Path, text: str | None, rate: int | None) -> None:
    assert load(_file(tmp_path, CLIENT | {"rate": text}))[0].rate == rate


def test_two_pins_for_a_rotation(tmp_path: Path) -> None:
    config, _ = load(_file(tmp_path, CLIENT | {"tls_server_pin": [PIN.upper().replace("SHA", "sha"), PIN]}))
    assert config.tls_server_pin == (PIN, PIN)


def test_keys_of_older_files_warn_and_never_show_the_token(tmp_path: Path) -> None:
    older = {
        "transport_mode": "datagram",
        "metrics_listen": "auto",
        "control_api_listen": "127.0.0.1:1",
        "control_api_auth_token": "hunter2-hunter2",
        "detect_starlink": True,
        "starlink_default_pipes": 4,
        "stripe_port": 46004,
        "multipath_enabled": False,
        "multi_conn_enabled": False,
        "multipath_policy": "priority",
        "tls_insecure_skip_verify": False,
        "congestion_algorithm": "bbr",
    }
    config, warnings = load(_file(tmp_path, CLIENT | older))
    assert config.congestion_algorithm == "tunnel"
    assert len(warnings) == 10
    assert "hunter2" not in "\n".join(warnings)
    for key in ("transport_mode", "metrics_listen", "control_api_auth_token", "starlink_default_pipes", "stripe_port"):
        assert sum(f": {key}: " in line for line in warnings) == 1


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("unknown key", {"tun_nam": "x"}, "tun_nam: unknown key, did you mean tun_name?"),
    ("unknown key far from any", {"zzz": 1}, "zzz: unknown key, expected one of role,"),
    ("role", {"role": "clint"}, "role: found 'clint', expected client or server"),
    ("no role", {"role": GONE}, "role: missing, expected client or server"),
    ("port 0", {"remote_port": 0}, "remote_port: found 0, expected a UDP port"),
    ("port 65536", {"remote_port": 65536}, "remote_port: found 65536, expected a UDP port"),
    ("port as text", {"remote_port": "45004"}, "remote_port: found '45004', expected a UDP port"),
    ("port as bool", {"remote_port": True}, "remote_port: found true, expected a UDP port"),
    ("no port", {"remote_port": GONE}, "remote_port: missing, expected a UDP port"),
    ("bind", {"bind_ip": "10.0.0.300"}, "bind_ip: found '10.0.0.300', expected an IP address or if:<interface>"),
    ("bind to a long name", {"bind_ip": "if:abcdefghijklmnop"}, "bind_ip: found 'if:abcdefghijklmnop', expected"),
    ("bind to nothing", {"bind_ip": "if:"}, "bind_ip: found 'if:', expected"),
    ("bind to two lines", {"bind_ip": "if:a\0b"}, "bind_ip: found 'if:a\\x00b', expected an IP address or"),
    ("zone of two lines", {"remote_addr": "fe80::1%a\nb"}, "remote_addr: found 'fe80::1%a\\nb', expected"),
    ("tun zone", {"tun_cidr": "fd00::1%a/64"}, "tun_cidr: found 'fd00::1%a/64', expected a host address"),
    ("path of two lines", {"tls_ca_file": "/a\nb"}, "tls_ca_file: found '/a\\nb', expected an absolute path"),
    ("legacy server", {"legacy_server": "yes"}, "legacy_server: found 'yes', expected true or false"),
    ("peers of a client", {"peers": []}, "peers: found on a client, expected on a server only"),
    ("old peers of a client", {"legacy_peers": []}, "legacy_peers: found on a client, expected on a server only"),
    (
        "remote",
        {"remote_addr": "203.0.113.999"},
        "remote_addr: found '203.0.113.999', expected an IP address or a host",
    ),
    ("no remote", {"remote_addr": GONE}, "remote_addr: missing, expected the server's IP address or host name"),
    (
        "mixed families",
        {"bind_ip": "10.0.0.1", "remote_addr": "2001:db8::1"},
        "remote_addr: found 2001:db8::1, expected",
    ),
    ("tun name", {"tun_name": "mpq/4"}, "tun_name: found 'mpq/4', expected an interface name"),
    ("tun name too long", {"tun_name": "m" * 16}, "tun_name: found 'mmmmmmmmmmmmmmmm', expected an interface name"),
    ("tun name dots", {"tun_name": ".."}, "tun_name: found '..', expected"),
    ("network address", {"tun_cidr": "10.200.4.0/30"}, "tun_cidr: found '10.200.4.0/30' (the network address"),
    ("broadcast address", {"tun_cidr": "10.200.4.3/30"}, "tun_cidr: found '10.200.4.3/30' (the broadcast address"),
    ("no prefix", {"tun_cidr": "10.200.4.1"}, "tun_cidr: found '10.200.4.1', expected a host address with its prefix"),
    ("bad cidr", {"tun_cidr": "10.200.4.1/33"}, "tun_cidr: found '10.200.4.1/33'"),
    ("mtu", {"tun_mtu": 575}, "tun_mtu: found 575, expected bytes from 576 to 9000"),
    ("mtu for IPv6", {"tun_cidr": "fd00::1/64", "tun_mtu": 1279}, "tun_mtu: found 1279, expected at least 1280"),
    ("log level", {"log_level": "warn"}, "log_level: found 'warn', expected debug, info or error"),
    ("algorithm", {"congestion_algorithm": "vegas"}, "congestion_algorithm: found 'vegas', expected tunnel, cubic or"),
    ("rate without a unit", {"rate": 20000000}, "rate: found 20000000, expected a rate from 32kbit to 100gbit such as"),
    ("rate in bytes", {"rate": "20mbps"}, "rate: found '20mbps', expected a rate from 32kbit"),
    ("rate too low", {"rate": "31999bit"}, "rate: found '31999bit', expected"),
    ("rate too high", {"rate": "101gbit"}, "rate: found '101gbit', expected"),
    ("rate below nothing", {"rate": "-1mbit"}, "rate: found '-1mbit', expected"),
    ("pin", {"tls_server_pin": "sha256:abc"}, "tls_server_pin: found 'sha256:abc', expected sha256: and 64 hex"),
    (
        "second pin",
        {"tls_server_pin": [PIN, "sha256:abc"]},
        "tls_server_pin: found a list of 2, expected sha256: and 64 hex digits, or a list of such pins",
    ),
    ("no pin", {"tls_server_pin": GONE}, "tls_server_pin: missing, expected sha256: and 64 hex digits of the server's"),
    (
        "insecure",
        {"tls_insecure_skip_verify": True},
        "tls_insecure_skip_verify: found true, expected false: there is no",
    ),
    (
        "several connections",
        {"multi_conn_enabled": True},
        "multi_conn_enabled: found true on a client, expected true on a server only",
    ),
    ("DSCP", {"outer_dscp": 64}, "outer_dscp: found 64, expected a DSCP from 0 to 63, or copy"),
    ("DSCP below nothing", {"outer_dscp": -1}, "outer_dscp: found -1, expected a DSCP"),
    ("DSCP as bool", {"outer_dscp": True}, "outer_dscp: found true, expected a DSCP"),
    ("DSCP as text", {"outer_dscp": "46"}, "outer_dscp: found '46', expected a DSCP"),
    ("IPv4 for IPv6", {"tun_cidr6": "10.0.0.1/30"}, "tun_cidr6: found '10.0.0.1/30' (IPv4), expected an IPv6 host"),
    ("IPv6 network address", {"tun_cidr6": "fd00::/64"}, "tun_cidr6: found 'fd00::/64' (the network address of fd00::"),
    ("IPv6 without a prefix", {"tun_cidr6": "fd00::1"}, "tun_cidr6: found 'fd00::1', expected an IPv6 host address"),
    ("mtu for both", {"tun_cidr6": "fd00::1/64", "tun_mtu": 1279}, "tun_mtu: found 1279, expected at least 1280"),
    (
        "two IPv6 addresses",
        {"tun_cidr": "fd00::1/64", "tun_cidr6": "fd01::1/64"},
        "tun_cidr6: found fd01::1/64 beside tun_cidr fd00::1/64, expected one IPv6 address",
    ),
    ("peer", {"tun_peer": "10.200.10.254/24"}, "tun_peer: found '10.200.10.254/24', expected the IPv4 address of"),
    ("loopback peer", {"tun_peer": "127.0.0.1"}, "tun_peer: found '127.0.0.1' (loopback, 127.0.0.0/8), expected the"),
    ("oneself as peer", {"tun_peer": "10.200.4.1"}, "tun_peer: found 10.200.4.1, expected the server's address, not"),
    ("reliable", {"transport_mode": "reliable"}, "transport_mode: found 'reliable', expected datagram"),
    ("half an identity", {"tls_cert_file": "/nowhere/c.pem"}, "tls_key_file: missing, expected an absolute path"),
    ("relative path", {"tls_ca_file": "ca.pem"}, "tls_ca_file: found 'ca.pem', expected an absolute path"),
    ("no CA file", {"tls_ca_file": "/nowhere/ca.pem"}, "tls_ca_file: found /nowhere/ca.pem: No such file or directory"),
    (
        "LAN key",
        {"lan_routing": {"cidrs": ["172.16.4.0/30"], "tabel": 1}},
        "lan_routing.tabel: unknown key, did you mean",
    ),
    (
        "mark beside an interface",
        {"lan_routing": CLIENT["lan_routing"] | {"mark": 0x110000}},
        "lan_routing.mark: found beside interface enp6s23, expected one of the two",
    ),
    (
        "neither mark nor interface",
        {"lan_routing": {"cidrs": ["172.16.4.0/30"], "table": 1, "priority": 1}},
        "lan_routing.interface: missing, expected on a client, or lan_routing.mark",
    ),
    (
        "no prefix without a mark",
        {"lan_routing": CLIENT["lan_routing"] | {"cidrs": []}},
        "lan_routing.cidrs: found an empty list, expected at least one prefix",
    ),
    *(
        (
            f"mark {mark:#x}",
            {"lan_routing": CLASS["lan_routing"] | {"mark": mark}},
            f"lan_routing.mark: found {mark}, expected a mark from 0x00010000 to 0x0fff0000 that ends in 0000",
        )
        for mark in (0, 0x8000, 0x110001, 0x10000000, -0x10000)
    ),
    (
        "LAN in the IPv6 tunnel",
        {"tun_cidr6": "fd00::1/64", "lan_routing": CLIENT["lan_routing"] | {"cidrs": ["fd00::/56"]}},
        "lan_routing.cidrs: found fd00::/56, expected a prefix that does not overlap tun_cidr6 fd00::1/64",
    ),
    ("LAN no table", {"lan_routing": {"cidrs": ["172.16.4.0/30"]}}, "lan_routing.table: missing, expected on a client"),
    (
        "LAN host bits",
        {"lan_routing": CLIENT["lan_routing"] | {"cidrs": ["172.16.4.1/30"]}},
        "lan_routing.cidrs[0]: found '172.16.4.1/30' (host bits set, did you mean 172.16.4.0/30?)",
    ),
    (
        "LAN in the tunnel",
        {"lan_routing": CLIENT["lan_routing"] | {"cidrs": ["10.200.0.0/16"]}},
        "lan_routing.cidrs: found 10.200.0.0/16, expected a prefix that does not overlap tun_cidr 10.200.4.1/30",
    ),
    (
        "LAN everything",
        {"lan_routing": CLIENT["lan_routing"] | {"cidrs": ["0.0.0.0/0"]}},
        "lan_routing.cidrs: found 0.0.0.0/0, expected the LAN's own prefixes",
    ),
    (
        "LAN main table",
        {"lan_routing": CLIENT["lan_routing"] | {"table": 254}},
        "lan_routing.table: found 254, expected a table that is not default, main or local",
    ),
]


@pytest.mark.parametrize(("change", "expected"), [item[1:] for item in BAD], ids=[item[0] for item in BAD])
def test_one_fault_gives_one_line(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    faults = _faults(_file(tmp_path, CLIENT | change))
    assert [line for line in faults if line.startswith(expected)], faults
    if "lan_routing" not in change and "tls_cert_file" not in change:
        assert len(faults) == 1, faults


def test_all_faults_at_once(tmp_path: Path) -> None:
    changes = {"role": "x", "remote_port": -1, "foo": 1, "transport_mode": "reliable", "tls_ca_file": "/nowhere"}
    faults = _faults(_file(tmp_path, CLIENT | changes))
    assert len(faults) == 5, faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("role: client\nrole: server\n", "role: found a second time in line 2, expected once"),
        ("role: client\nlan_routing: {cidrs: [", "line 2: not valid YAML"),
        ("lan_routing: {table: 1, table: 2}\n", "table: found a second time in line 1"),
        ("- role\n- client\n", "found a list, expected a YAML mapping"),
        ("", "found an empty file, expected a YAML mapping"),
        ("just text\n", "found a str, expected a YAML mapping"),
        ("1: x\n", "1: found a key that is not text"),
        ("a: &a [*a\n", "found the alias 'a' inside what it stands for"),
    ],
)
def test_broken_documents(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "4.yaml"
    path.write_text(text)
    faults = _faults(path)
    assert expected in faults[0], faults


def test_unreadable_files(tmp_path: Path) -> None:
    assert _faults(tmp_path / "none.yaml") == ["No such file or directory, expected a readable YAML file"]
    assert _faults(tmp_path) == ["Is a directory, expected a readable YAML file"]
    (tmp_path / "latin").write_bytes(b"role: \xff")
    assert "not UTF-8" in _faults(tmp_path / "latin")[0]
    (tmp_path / "huge").write_bytes(b"#" * 1_048_577)
    assert _faults(tmp_path / "huge") == ["found more than 1048576 bytes, expected an instance file"]


def _server(pem: dict[str, str]) -> dict[str, Any]:
    return {
        "role": "server",
        "bind_ip": "192.0.2.1",
        "remote_port": 1,
        "tun_name": "a",
        "tun_cidr": "10.0.0.1/24",
    } | pem


def test_identity_faults(tmp_path: Path, pem: dict[str, str]) -> None:
    data = _server(pem)
    key = Path(pem["tls_key_file"])
    load(_file(tmp_path, data))
    for mode in (0o644, 0o640, 0o604, 0o620):
        key.chmod(mode)
        (line,) = _faults(_file(tmp_path, data))
        assert line.startswith(f"tls_key_file: found {key}: open to group or others (mode {mode:04o}), expected a PEM")
    key.chmod(0o400)
    load(_file(tmp_path, data))
    key.chmod(0o600)
    _write_key(key, Ed25519PrivateKey.generate())
    assert f"expected the key of the certificate {pem['tls_cert_file']}" in _faults(_file(tmp_path, data))[0]
    key.write_text("no key")
    assert "not an unencrypted PEM private key" in _faults(_file(tmp_path, data))[0]
    key.unlink()
    assert "No such file or directory" in _faults(_file(tmp_path, data))[0]
    Path(pem["tls_cert_file"]).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert any("not a PEM certificate" in line for line in _faults(_file(tmp_path, data)))


def test_a_server_needs_an_identity(tmp_path: Path) -> None:
    faults = _faults(_file(tmp_path, _server({})))
    assert [line.split(":")[0] for line in faults] == ["tls_cert_file", "tls_key_file"]


def test_identity_files_that_are_none(tmp_path: Path, pem: dict[str, str]) -> None:
    """Whatever a path names is read at once, or not at all."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, found in (("fifo", "not a file"), (".", "Is a directory"), ("/dev/zero", "not a file")):
        faults = _faults(_file(tmp_path, _server(pem) | {"tls_key_file": str(tmp_path / path)}))
        assert faults[0].startswith(f"tls_key_file: found {tmp_path / path}: {found}, expected"), faults


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stop being root")
def test_key_of_another_user(tmp_path: Path, pem: dict[str, str]) -> None:
    """A service user that may not read the key gets a line, not a traceback."""
    path = _file(tmp_path, _server(pem))
    code = "import os,sys;from pathlib import Path;import mpquic.config as c\nos.setgroups([]);os.setgid(65534)\n"
    code += "os.setuid(65534)\ntry: c.load(Path(sys.argv[1]))\nexcept c.ConfigError as e: print(e)"
    # Given to the other user as an open file: the folders above belong to root alone.
    with path.open() as file:
        command = [sys.executable, "-c", code, f"/dev/fd/{file.fileno()}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, pass_fds=[file.fileno()])
    assert "tls_key_file: found" in done.stdout
    assert "Permission denied" in done.stdout


def _pair(tmp_path: Path, change: dict[str, Any]) -> list[str]:
    other = CLIENT | {
        "remote_port": 45005,
        "tun_name": "mpq5",
        "tun_cidr": "10.200.5.1/30",
        "lan_routing": {"interface": "enp6s24", "cidrs": ["172.16.5.0/30"], "table": 45005, "priority": 505},
    }
    files = [_file(tmp_path, CLIENT, "4.yaml"), _file(tmp_path, other | change, "5.yaml")]
    return list(between([(path.name, load(path)[0]) for path in files]))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, None),
        ({"remote_port": 45004}, "remote_port"),
        ({"tun_name": "mpq4"}, "tun_name"),
        ({"tun_cidr": "10.200.4.9/24"}, "tun_cidr"),
        (
            {"lan_routing": {"interface": "a", "cidrs": ["172.16.5.0/30"], "table": 45004, "priority": 505}},
            "lan_routing.table",
        ),
        (
            {"lan_routing": {"interface": "a", "cidrs": ["172.16.5.0/30"], "table": 5, "priority": 504}},
            "lan_routing.priority",
        ),
        (
            {"lan_routing": {"interface": "a", "cidrs": ["172.16.0.0/16"], "table": 5, "priority": 505}},
            "lan_routing.cidrs",
        ),
    ],
)
def test_clashes_between_files(tmp_path: Path, change: dict[str, Any], key: str | None) -> None:
    lines = _pair(tmp_path, change)
    assert [line.split(": ")[:2] for line in lines] == ([] if key is None else [["5.yaml", key]])


def _classes(tmp_path: Path, change: dict[str, Any], lan: dict[str, Any]) -> list[str]:
    """Return what clashes between two classes of one link, the second one changed."""
    other = {"tun_name": "df5", "tun_cidr": "10.200.10.5/32", "tun_cidr6": "fd6d:7071:10::5/128"}
    routing = {"cidrs": [], "mark": 0x00120000, "table": 46017, "priority": 201}
    files = [
        _file(tmp_path, CLASS | {"lan_routing": CLASS["lan_routing"] | {"cidrs": ["172.16.5.0/30"]}}, "cr5.yaml"),
        _file(tmp_path, CLASS | other | {"lan_routing": routing | lan} | change, "df5.yaml"),
    ]
    return list(between([(path.name, load(path)[0]) for path in files]))


@pytest.mark.parametrize(
    ("change", "lan", "expected"),
    [
        ({}, {}, None),
        ({}, {"cidrs": ["172.16.5.0/30"]}, None),
        ({}, {"mark": 0x00110000}, "lan_routing.mark: found 0x00110000"),
        ({}, {"table": 46016}, "lan_routing.table: found 46016"),
        ({}, {"priority": 200}, "lan_routing.priority: found 200"),
        ({"tun_cidr": "10.200.10.1/32"}, {}, "tun_cidr: found 10.200.10.1/32 (overlaps 10.200.10.1/32)"),
        ({"tun_cidr6": "fd6d:7071:10::5/64"}, {}, "tun_cidr6: found fd6d:7071:10::5/64 (overlaps fd6d:7071:10::1/128)"),
        # Not a class: it may have the same LAN, but not the same server port.
        (
            {"remote_port": 45005},
            {"mark": None, "interface": "enp6s24", "cidrs": ["172.16.5.0/30"]},
            None,
        ),
        ({}, {"mark": None, "interface": "enp6s24", "cidrs": ["172.16.6.0/30"]}, "remote_port: found 45010 on 203.0."),
    ],
)
def test_clashes_between_classes(
    tmp_path: Path, change: dict[str, Any], lan: dict[str, Any], expected: str | None
) -> None:
    lines = _classes(tmp_path, change, lan)
    assert len(lines) == (expected is not None), lines
    assert all(line.startswith(f"df5.yaml: {expected}") for line in lines), lines


def _command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpquic", "check-config", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_command(tmp_path: Path) -> None:
    good, bad = _file(tmp_path, CLIENT), _file(tmp_path, CLIENT | {"remote_port": 0}, "bad.yaml")
    done = _command(good)
    assert (done.returncode, done.stdout) == (0, "1 file checked, no fault found\n")
    assert done.stderr.startswith(f"warning: {good}: {NO_IDENTITY}")
    done = _command(good, bad)
    assert done.returncode == 78
    assert done.stderr.splitlines()[1:] == [f"{bad}: remote_port: found 0, expected a UDP port from 1 to 65535"]
    done = _command("--json", bad)
    assert done.returncode == 78
    assert json.loads(done.stdout)["errors"] == [f"{bad}: remote_port: found 0, expected a UDP port from 1 to 65535"]
    done = _command("--preflight", _file(tmp_path, CLIENT | {"bind_ip": "if:nosuchif0"}))
    assert done.returncode == 78
    assert "bind_ip: interface nosuchif0 does not exist, expected an interface with an IPv4 address" in done.stderr
    assert "tun_name: mpq4 does not exist, expected a TUN device (mpquic tun ensure)" in done.stderr


def test_certificates_are_read_with_their_chain(tmp_path: Path) -> None:
    """A CA file may hold several certificates."""
    first, second = _self_signed()[1], _self_signed()[1]
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in (first, second)))
    config, _ = load(_file(tmp_path, CLIENT | {"tls_server_pin": GONE, "tls_ca_file": str(bundle)}))
    assert config.tls_ca_file == bundle
    assert len(x509.load_pem_x509_certificates(bundle.read_bytes())) == 2


def test_what_a_running_instance_can_take_over(tmp_path: Path, pem: dict[str, str]) -> None:
    old = load(_file(tmp_path, CLIENT))[0]
    other = Path(pem["tls_cert_file"])
    reloadable = {
        "log_level": "debug",
        "tls_server_pin": [PIN, PIN.replace("0", "1")],
        "tls_ca_file": str(other),
        "tls_server_name": "gate",
        "tun_peer": "10.200.4.2",
    }
    new = load(_file(tmp_path, CLIENT | reloadable | pem))[0]
    assert new.digest != old.digest
    assert needs_restart(old, new) == []
    restarting = {"remote_port": 45005, "rate": "1mbit", "tun_mtu": 1400, "legacy_server": True}
    restarting |= {"tun_cidr6": "fd00::1/64", "outer_dscp": "copy"}
    assert needs_restart(old, load(_file(tmp_path, CLIENT | restarting))[0]) == [
        "remote_port",
        "tun_cidr6",
        "tun_mtu",
        "rate",
        "outer_dscp",
        "legacy_server",
    ]
    assert set(type(old).model_fields) > RELOADABLE
