# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server serves beside its own, tunnels that stand by, and what needs no restart because of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.config import ConfigError, between, load, needs_restart
from mpquic.quic.selftest import _self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.config import InstanceConfig

PIN = "sha256:" + "0123456789abcdef" * 4
LAN = {"interface": "lan4", "cidrs": ["172.16.4.0/30"], "table": 45004, "priority": 504}
SERVER = {"role": "server", "bind_ip": "203.0.113.10", "remote_port": 45004, "tun_name": "mpq4"}
SERVER |= {"tun_cidr": "10.200.4.2/30", "lan_routing": {"cidrs": ["172.16.4.0/30"]}}
CLIENT = {"role": "client", "bind_ip": "if:wan4", "remote_addr": "203.0.113.10", "remote_port": 45004}
CLIENT |= {"tun_name": "mpq4", "tun_cidr": "10.200.4.1/30", "tls_server_pin": PIN, "lan_routing": LAN}
OTHER = {"remote_port": 45005, "tun_name": "mpq5", "tun_cidr": "10.200.5.2/30"}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., InstanceConfig]:
    """Return a function that writes a file and reads it."""
    key, certificate = _self_signed()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").touch(0o600)
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    identity = {"tls_cert_file": str(tmp_path / "cert.pem"), "tls_key_file": str(tmp_path / "key.pem")}

    def write(base: dict[str, Any], **more: Any) -> InstanceConfig:
        file = tmp_path / "4.yaml"
        file.write_text(yaml.safe_dump({**identity, **base, **more}))
        return load(file)[0]

    return write


def test_a_server_takes_over_what_both_ends_share(read: Callable[..., InstanceConfig]) -> None:
    old = read(SERVER)
    new = read(
        SERVER, remote_port=46004, tun_cidr="10.99.4.2/30", lan_routing={"cidrs": ["172.16.9.0/30"]},
        also={"ports": [45004], "tun_cidrs": ["10.200.4.2/30", "fd00::2/126"]},
    )  # fmt: skip
    assert needs_restart(old, new) == []
    assert needs_restart(new, old) == []


def test_a_client_takes_over_how_its_lan_is_routed_but_not_what_it_registers(
    read: Callable[..., InstanceConfig],
) -> None:
    old = read(CLIENT)
    moved = {**LAN, "interface": "lan5", "table": 7, "priority": 8, "standby": True}
    assert needs_restart(old, read(CLIENT, lan_routing=moved)) == []
    assert needs_restart(old, read(CLIENT, lan_routing={**LAN, "cidrs": ["172.16.5.0/30"]})) == ["lan_routing"]
    assert needs_restart(old, read(CLIENT, remote_port=46004)) == ["remote_port"]


def test_files_clash_by_what_they_serve_beside(read: Callable[..., InstanceConfig]) -> None:
    one = read(SERVER, also={"ports": [45005], "tun_cidrs": ["10.200.5.1/30"]})
    found = "\n".join(between([("one", one), ("two", read(SERVER, **OTHER))]))
    assert "two: remote_port: found 45005 on 203.0.113.10" in found
    assert "two: tun_cidr: found 10.200.5.2/30 (overlaps 10.200.5.1/30)" in found
    found = "\n".join(between([("one", read(SERVER, **OTHER)), ("two", one)]))
    assert "two: also.ports[0]: found 45005" in found
    assert "two: also.tun_cidrs[0]: found 10.200.5.1/30" in found


def test_a_lan_is_led_into_one_tunnel_while_others_stand_by(read: Callable[..., InstanceConfig]) -> None:
    one, two = read(SERVER), read(SERVER, **OTHER)
    assert ["lan_routing.cidrs" in line for line in between([("one", one), ("two", two)])] == [True]
    waiting = read(SERVER, **OTHER, lan_routing={"cidrs": ["172.16.4.0/30"], "standby": True})
    assert not list(between([("one", one), ("two", waiting)]))


@pytest.mark.parametrize(
    ("base", "also", "text"),
    [
        (CLIENT, {"ports": [1024]}, "also: found on a client, expected on a server only"),
        (SERVER, {"ports": [45004]}, "also.ports[0]: found 45004 a second time, expected another port"),
        (SERVER, {"ports": [1, 1]}, "also.ports[1]: found 1 a second time"),
        (SERVER, {"ports": [0]}, "also.ports[0]: found 0, expected a UDP port from 1 to 65535"),
        (SERVER, {"tun_cidrs": ["10.200.4.2/24"]}, "also.tun_cidrs[0]: found 10.200.4.2/24 a second time"),
        (SERVER, {"tun_cidrs": ["10.200.4.0/30"]}, "also.tun_cidrs[0]"),
        (SERVER, {"port": 1}, "also.port"),
        (SERVER, [], "expected a mapping of ports, tun_cidrs"),
    ],
)
def test_what_is_wrong_is_said(read: Callable[..., InstanceConfig], base: dict[str, Any], also: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(base, also=also)
    assert text in "\n".join(caught.value.messages)
