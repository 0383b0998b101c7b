# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose port and addresses change: it serves the old ones beside the new ones, and nobody notices."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from handing import Flow, hand_over
from mpquic import __version__
from wan import ADDRESS, OUTER, PORT, TUN, until

if TYPE_CHECKING:
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NEW_PORT = 46009
NEW = {"client": "10.200.19.1", "server": "10.200.19.2"}


def _listens(wan: Wan) -> set[int]:
    lines = subprocess.run(
        ["ip", "netns", "exec", wan.ns["server"], "ss", "-Hlun"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {int(line.split()[3].rpartition(":")[2]) for line in lines}


def _pings(wan: Wan) -> bool:
    line = ["ip", "netns", "exec", wan.ns["client"], "ping", "-q", "-c1", "-W1", NEW["server"]]
    return subprocess.run(line, capture_output=True, check=False).returncode == 0


def test_both_ends_change_one_after_the_other(wan: Wan) -> None:
    wan.bring_up()
    session = wan.status("client")["session"]
    line = f"ip netns exec {wan.ns['client']} ping -i 0.01 -w 30 -q -c 300 {ADDRESS['server']}"
    with subprocess.Popen(line.split(), stdout=subprocess.PIPE, text=True) as ping:
        # The server, beside the old: to its peer nothing has happened.
        (peer,) = wan.configured("server")["peers"]
        both = [f"{NEW['client']}/32", f"{ADDRESS['client']}/32"]
        changed = {"remote_port": NEW_PORT, "tun_cidr": f"{NEW['server']}/30", "peers": [peer | {"allowed": both}]}
        wan.configure("server", **changed, also={"ports": [PORT], "tun_cidrs": [f"{ADDRESS['server']}/30"]})
        wan.ip("server", f"addr add {NEW['server']}/30 dev {TUN}")
        wan.reload("server")
        assert _listens(wan) == {PORT, NEW_PORT}
        assert ping.stdout is not None
        assert " 0% packet loss" in ping.stdout.read()
    assert wan.status("client")["session"] == wan.status("server")["peers"][0]["session"] == session

    # The client, alone: what comes from behind it passes all the time.
    wan.configure("client", remote_port=NEW_PORT, tun_cidr=f"{NEW['client']}/30")
    with Flow(wan) as flow:
        assert hand_over(wan, "client") == (0, {"id": "client", "result": "done", "reason": "", "version": __version__})
    assert flow.lost == {"client": 0, "server": 0}, (flow, wan.log("client")[-800:])
    assert wan.status("client")["remote"].endswith(f":{NEW_PORT}")
    wan.ip("client", f"addr add {NEW['client']}/30 dev {TUN}")
    wan.ip("client", f"addr del {ADDRESS['client']}/30 dev {TUN}")
    assert _pings(wan)

    # The server, without the old: again nobody notices.
    session = wan.status("client")["session"]
    wan.configure("server", **changed | {"peers": [peer | {"allowed": both[:1]}]}, also=None)
    wan.reload("server")
    assert _listens(wan) == {NEW_PORT}
    assert _pings(wan)
    assert wan.status("client")["session"] == wan.status("server")["peers"][0]["session"] == session


def test_a_port_that_is_taken_is_waited_for_and_the_other_goes_on(wan: Wan) -> None:
    wan.bring_up()
    holder = (
        f"import socket,sys; s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('',{NEW_PORT})); print(1, flush=True)"
    )
    line = ["ip", "netns", "exec", wan.ns["server"], "python3", "-c", f"{holder}; sys.stdin.read()"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as taken:
        assert taken.stdout is not None
        taken.stdout.readline()
        wan.configure("server", also={"ports": [NEW_PORT]})
        wan.reload("server")
        until(lambda: "Address already in use" in wan.status("server")["reason"], 3)
        assert wan.ping("client")
        taken.communicate(timeout=5)
    until(lambda: wan.status("server")["state"] == "up", 5, lambda: wan.log("server")[-800:])
    assert _listens(wan) == {PORT, NEW_PORT}


def test_forged_datagrams_to_the_other_port_silence_nobody(wan: Wan) -> None:
    """Anybody can send them in a client's name; the client goes on to be answered from the port it knows."""
    wan.configure("server", also={"ports": [NEW_PORT]})
    wan.bring_up()
    session = wan.status("client")["session"]
    port = wan.status("client")["local"].rpartition(":")[2]
    forge = f"""
import os, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
    for number in range(20):
        data = bytes([0x40 | number]) + os.urandom(60)
        raw.sendto(struct.pack("!HHHH", {port}, {NEW_PORT}, 8 + len(data), 0) + data, ("{OUTER["server"]}", 0))
"""
    subprocess.run(["ip", "netns", "exec", wan.ns["client"], "python3", "-c", forge], check=True)
    until(lambda: sum(wan.status("server")["drops"].values()) >= 20, 3)
    # The client has said nothing since.
    assert wan.ping("server")
    assert wan.status("client")["session"] == session
