# SPDX-License-Identifier: GPL-3.0-or-later
"""What a whole daemon tells a service manager that watches it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.quic.selftest import _self_signed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

_CONFIG = """\
role: server
bind_ip: 127.0.0.1
remote_port: 45009
tun_name: mqw0
tun_cidr: 10.200.9.2/30
tls_cert_file: {folder}/cert.pem
tls_key_file: {folder}/key.pem
"""
_START = """
ip link set lo up && ip tuntap add mqw0 mode tun && ip addr add 10.200.9.2/30 dev mqw0 && ip link set mqw0 mtu 1300 up
exec "$@"
"""


def test_watchdog_messages_from_start_to_stop(tmp_path: Path) -> None:
    key, certificate = _self_signed()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "server.yaml").write_text(_CONFIG.format(folder=tmp_path))
    run = [sys.executable, "-m", "mpquic", "run", "--config", "server.yaml", "--control", "control.sock"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        environment.pop("WATCHDOG_PID", None)
        # Neither unshare nor sh leaves a parent behind: the process is the daemon.
        daemon = subprocess.Popen(["unshare", "--net", "sh", "-ec", _START, "sh", *run], cwd=tmp_path, env=environment)
        try:
            while manager.recv(200) != b"READY=1":
                pass
            times: list[float] = []
            while len(times) < 4:
                if manager.recv(200) == b"WATCHDOG=1":
                    times.append(time.monotonic())
            daemon.terminate()
            while manager.recv(200) != b"STOPPING=1":
                pass
            assert daemon.wait(10) == 0
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
    # Three intervals of 0.1 s, and room for a busy machine.
    assert times[-1] - times[0] < 2.5
