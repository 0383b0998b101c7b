# SPDX-License-Identifier: GPL-3.0-or-later
"""Which reloads begin attempts anew: those after which a connection would be made in another way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.config import load
from mpquic.daemon.client import ClientShell
from mpquic.daemon.multipath_client import MultipathShell
from mpquic.quic.selftest import _self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PIN = "sha256:" + "0123456789abcdef" * 4
ONE = {"bind_ip": "127.0.0.1", "remote_addr": "127.0.0.2", "remote_port": 45017}
SEVERAL = {"multipath_enabled": True, "multipath_paths": [ONE | {"name": "wan1"}, ONE | {"name": "wan2"}]}
SERVER = ("127.0.0.2", 45017)


class Host:
    """A client that has sockets for all its ports, as it believes, and calls somebody who does not answer."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, more: dict[str, Any]) -> None:
        self._folder = folder
        self._text = {"role": "client", "tun_name": "t0", "tun_cidr": "10.200.17.1/30", "tls_server_pin": PIN, **more}
        self._text |= {"tls_cert_file": str(folder / "cert.pem"), "tls_key_file": str(folder / "key.pem")}
        self.identify()
        kind = MultipathShell if "multipath_enabled" in more else ClientShell
        self.shell = kind(load(self._write())[0], loop, lambda _line: None)
        for port in self.shell.tunnel.ports:
            port.socket_ready(SERVER, loop.time())

    def identify(self) -> None:
        """Make a key."""
        key, certificate = _self_signed()
        (self._folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        (self._folder / "key.pem").touch(0o600)
        (self._folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def reload(self, **changes: Any) -> bool:
        """Tell whether attempts began anew, all of them or none; nothing ever failed."""
        before = [port.connection for port in self.shell.tunnel.ports]
        self._text |= changes
        self.shell.reload(load(self._write())[0])
        ports = self.shell.tunnel.ports
        assert [port.state for port in ports] == ["connecting"] * len(ports)
        (anew,) = {port.connection is not one for port, one in zip(ports, before, strict=True)}
        return anew

    def _write(self) -> Path:
        path = self._folder / "1.yaml"
        path.write_text(yaml.safe_dump(self._text))
        return path


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("more", [ONE, SEVERAL], ids=["one path", "several paths"])
def test_attempts_go_on_unless_keys_or_trust_differ(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, more: dict[str, Any]
) -> None:
    host = Host(tmp_path, loop, more)
    assert not host.reload()
    assert not host.reload(log_level="debug")
    assert host.reload(tls_server_pin=[PIN, PIN.replace("0", "1")])
    assert not host.reload()
    host.identify()
    assert host.reload()
    assert not host.reload()
