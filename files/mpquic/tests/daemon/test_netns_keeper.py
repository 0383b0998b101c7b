# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons that may not set an MTU themselves, and a keeper that is not root either."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from routed import AROUND, CEILING, RoutedWan
from wan import ADDRESS, NOBODY, TUN, made, sh, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

CAP_DAC_READ_SEARCH = 1 << 2
KEEPER_USER = 1
#: Stands in for the service manager: opens the socket, and becomes the keeper.
_LISTEN = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execvp(sys.argv[2], sys.argv[2:])
"""


class KeptWan(RoutedWan):
    """Daemons without capabilities, each with a place of its own for its keeper's socket."""

    def __init__(self) -> None:
        super().__init__()
        # To read is the test's own: the checkout may lie in a folder of root's.
        self.capabilities = ["dac_read_search"]
        for role in ADDRESS:
            self.mounts[role] = [(self.run(role), Path("/run"))]
            (self.run(role) / "mpquic").mkdir(parents=True)

    def run(self, role: str) -> Path:
        return self.folder / f"run-{role}"

    def socket(self, role: str) -> Path:
        return self.run(role) / "mpquic" / "keeper.sock"

    def start_keeper(self, role: str) -> None:
        drop = ["setpriv", f"--reuid={KEEPER_USER}", f"--regid={KEEPER_USER}", "--clear-groups", "--no-new-privs"]
        drop += [f"--{kind}=-all,+dac_read_search,+net_admin" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
        keeper = [*drop, sys.executable, "-m", "mpquic", "keeper", "--user", "nobody"]
        inside = ["ip", "netns", "exec", self.ns[role], sys.executable, "-c", _LISTEN, str(self.socket(role)), *keeper]
        with (self.folder / f"keeper-{role}.log").open("ab") as log:
            self.processes[f"keeper-{role}"] = subprocess.Popen(inside, stdout=log, stderr=log)


@pytest.fixture
def wan() -> Iterator[KeptWan]:
    with made(KeptWan()) as world:
        yield world


def fitted(wan: KeptWan, path: int, seconds: float = 10) -> None:
    inner = path - AROUND
    until(lambda: {wan.tun_mtu(role) for role in ADDRESS} == {inner}, seconds, str({r: wan.log(r) for r in ADDRESS}))


def test_the_mtu_follows_the_path_without_any_capability(wan: KeptWan) -> None:
    for role in ADDRESS:
        wan.start_keeper(role)
    wan.narrow(1400)
    wan.bring_up()
    fitted(wan, 1400)
    for role in ADDRESS:
        text = Path(f"/proc/{wan.status(role)['pid']}/status").read_text()
        assert re.findall(r"^Cap\w+:\s+(\w+)", text, re.MULTILINE) == [f"{CAP_DAC_READ_SEARCH:016x}"] * 5
        assert wan.full_ping(role, 1400 - AROUND)
        assert f"tun fitted name={TUN} mtu={1400 - AROUND} before={CEILING}" in wan.log(role)
        told = f"mtu set name={TUN} mtu={1400 - AROUND} before={CEILING} uid={NOBODY} pid={wan.status(role)['pid']}"
        assert told in wan.log(f"keeper-{role}")
    wan.narrow(1300)
    for role in ADDRESS:
        wan.full_ping(role, 1400 - AROUND)
    fitted(wan, 1300)
    # Somebody changes it behind the daemon's back.
    wan.ip("client", f"link set {TUN} mtu 1500")
    wan.ping("client", "-c 1 -W 0.5 -M do -s 1400")
    fitted(wan, 1300)
    assert "not fitted" not in wan.log("client") + wan.log("server")


def test_a_keeper_that_comes_late_is_found(wan: KeptWan) -> None:
    wan.narrow(1400)
    wan.bring_up()
    line = (
        f'tun not fitted name={TUN} mtu={1400 - AROUND} reason="Operation not permitted, keeper /run/mpquic/keeper.sock'
    )
    until(lambda: all(line in wan.log(role) for role in ADDRESS), 3)
    assert {wan.tun_mtu(role) for role in ADDRESS} == {CEILING}
    for role in ADDRESS:
        wan.start_keeper(role)
    fitted(wan, 1400)
    for role in ADDRESS:
        assert wan.log(role).count("tun not fitted") == 1


def test_a_keeper_that_is_stuck_holds_nothing_up(wan: KeptWan) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(wan.socket("client")))
        wan.socket("client").chmod(0o666)
        listener.listen()
        listener.settimeout(10)
        wan.narrow(1400)
        wan.bring_up()
        with listener.accept()[0] as connection:
            assert b"set-mtu" in connection.recv(1000)
            command = f"ip netns exec {wan.ns['client']} ping -q -c 100 -i 0.01 -W 1 {ADDRESS['server']}"
            assert " 0% packet loss" in sh(command).stdout
            assert wan.status("client")["state"] == "up"
            # Nobody waits for it at the end either.
            started = time.monotonic()
            assert wan.stop("client") == 0
            assert time.monotonic() - started < 2
