# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenVPN of the distribution: AES-128-GCM over UDP, in userspace like the others."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.peers.base import MTU, Peer, Tunnel, carried, inner
from tests.bench.shell import Process, inside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.wires import Ends


class OpenVpn(Peer):
    """Peer to peer, each end knows the other's certificate."""

    name = "openvpn"
    label = "OpenVPN"
    package = "openvpn"

    @contextlib.contextmanager
    def tunnel(self, ends: Ends, where: Path, number: int = 1, rate: str | None = None) -> Iterator[Tunnel]:
        """Run both ends; it has no use for ``rate``."""
        tunnel = Tunnel(ends, *inner(number))
        prints = {role: _certify(where, role) for role in ("server", "client")}
        options = {
            "server": ("--tls-server", "--dh", "none", "--local", ends.server_address, "--port", str(ends.port)),
            "client": ("--tls-client", "--remote", ends.remote, str(ends.port), "--nobind"),
        }
        addresses = {
            "server": (tunnel.server_inner, tunnel.client_inner),
            "client": (tunnel.client_inner, tunnel.server_inner),
        }

        def make(role: str) -> Process:
            peer = "client" if role == "server" else "server"
            words: list[str | Path] = [
                *("openvpn", "--dev", f"ovpn{number}", "--dev-type", "tun", "--tun-mtu", str(MTU)),
                *("--ifconfig", *addresses[role], "--proto", "udp4", *options[role]),
                *("--cert", where / f"{role}.crt", "--key", where / f"{role}.key", "--peer-fingerprint", prints[peer]),
                *("--data-ciphers", "AES-128-GCM", "--disable-dco", "--verb", "1"),
            ]
            namespace = ends.server if role == "server" else ends.client
            return Process(f"openvpn {role}", inside(namespace, *words), where / f"openvpn-{role}.log")

        with carried(tunnel, lambda: make("server"), lambda: make("client")):
            yield tunnel


def _certify(where: Path, role: str) -> str:
    """Write a key and its certificate, and return the fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, role)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (where / f"{role}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = where / f"{role}.key"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(*encoding))
    return certificate.fingerprint(hashes.SHA256()).hex(":")
