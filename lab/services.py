# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own processes beside DHCP and the wires: the package proxy and the HTTP server."""

import random
import re
import socket
import sys
from pathlib import Path

from lab import base
from lab.model import ROUTER
from lab.paths import Paths
from lab.shell import spawn, wait_until

PROXY_PORT = 8888
BLOCK = 1_000_000
BLOCKS = 100
PAYLOAD = base.CACHE / "100M.bin"


def payload() -> Path:
    """Return a file of 100 000 000 bytes that are always the same and never repeat; made once."""
    with base.locked():
        if not PAYLOAD.exists():
            part = PAYLOAD.with_suffix(".part")
            generator = random.Random(0)  # noqa: S311 - content, no secret
            with part.open("wb") as output:
                for _ in range(BLOCKS):
                    output.write(generator.randbytes(BLOCK))
            part.rename(PAYLOAD)
    return PAYLOAD


def start_http_server(paths: Paths) -> None:
    """Start the HTTP server of the internet."""
    spawn(
        [
            *(
                "ip",
                "netns",
                "exec",
                paths.netns("internet"),
                sys.executable,
                Path(__file__).with_name("http_server.py"),
            ),
            *(str(paths.topology.server), payload(), paths.http_log),
        ],
        cgroup=paths.services,
        log=paths.state / "http-server.log",
    )
    error = paths.state / "http-server.log"
    wait_until(paths.http_log.exists, 20, lambda: f"HTTP server: {error.read_text().strip() or 'does not start'}")


def start_proxy(paths: Paths) -> None:
    """Start the proxy on the management network, for the hosts of the package archives and for no other."""
    management = paths.topology.management
    folder = paths.state / "proxy"
    folder.mkdir(exist_ok=True)
    (folder / "archives").write_text("".join(f"^{re.escape(host)}$\n" for host in base.archive_hosts()))
    (folder / "tinyproxy.conf").write_text(
        f"""Listen {management[ROUTER]}
Port {PROXY_PORT}
User nobody
Group nogroup
Allow {management}
Filter "{folder / "archives"}"
FilterDefaultDeny Yes
FilterExtended On
ConnectPort 443
Timeout 60
MaxClients 60
DisableViaHeader Yes
LogLevel Connect
"""
    )
    log = folder / "log"
    spawn(["tinyproxy", "-d", "-c", folder / "tinyproxy.conf"], cgroup=paths.services, log=log)

    def listens() -> bool:
        try:
            socket.create_connection((str(management[ROUTER]), PROXY_PORT), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(listens, 10, lambda: f"tinyproxy: does not start, see {log}")
