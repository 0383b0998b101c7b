# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole daemons, unprivileged, over real TUN devices and UDP sockets in network namespaces."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wan import ADDRESS, OUTER, TUN, command, until

if TYPE_CHECKING:
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


CAP_DAC_READ_SEARCH = 1 << 2


def test_tunnel_from_start_to_polite_end(wan: Wan) -> None:
    wan.bring_up()
    assert wan.ping("client")
    assert wan.ping("server")
    # Not root, nothing to become root with; the one capability is the test's own (see Wan.start).
    text = Path(f"/proc/{wan.status('client')['pid']}/status").read_text()
    assert re.search(r"^Uid:\s+65534\s+65534", text, re.MULTILINE)
    assert re.findall(r"^Cap\w+:\s+(\d+)", text, re.MULTILINE) == [f"{CAP_DAC_READ_SEARCH:016x}"] * 5
    code, answer = command("status", "--run-dir", wan.folder)
    assert code == 0
    client, server = answer["instances"]
    # Whoever asks leaves out what it does not know.
    assert (client.keys(), server.keys()) == (wan.status("client").keys(), wan.status("server").keys())
    assert server["peers"][0].keys() == wan.status("server")["peers"][0].keys()
    assert (client["role"], server["role"], client["state"], server["state"]) == ("client", "server", "up", "up")
    assert client["session"] == server["session"]
    assert client["remote"] == f"{OUTER['server']}:45009" == server["local"]
    assert client["tx_packets"] == server["rx_packets"] >= 2
    assert 0 < client["rtt_ms"] < 100
    for line in ("connected local=10.98.9.1:", " remote=10.98.9.2:45009 ", f" session={client['session']}"):
        assert line in wan.log("client")
    started = time.monotonic()
    assert wan.stop("client") == 0
    assert time.monotonic() - started < 1
    until(lambda: wan.status("server")["reason"] == "client closed: client stops", 1)
    assert wan.stop("server") == 0
    assert command("status", "--run-dir", wan.folder)[1] == {"instances": [], "wans": [], "host": []}


@pytest.mark.parametrize("victim", ["server", "client"])
def test_traffic_is_back_within_three_seconds_of_kill(wan: Wan, victim: str) -> None:
    wan.bring_up()
    session = wan.status("client")["session"]
    line = f"ip netns exec {wan.ns['client']} ping -D -i 0.05 -w 20 {ADDRESS['server']}"
    with subprocess.Popen(line.split(), stdout=subprocess.PIPE, text=True) as ping:
        assert ping.stdout is not None
        ping.stdout.readline()
        first = ping.stdout.readline()
        assert "bytes from" in first
        wan.stop(victim, signal.SIGKILL)
        killed = time.time()
        assert command("status", "--run-dir", wan.folder)[1]["instances"][victim == "server"]["state"] == "down"
        time.sleep(max(0.0, 0.5 - (time.time() - killed)))  # what the service manager waits
        wan.start(victim)
        wan.wait_started(victim)
        # A busy machine may take longer to start Python; that is not the tunnel's.
        started = max(killed + 0.8, time.time())
        back = next(at for text in ping.stdout if (at := _stamp(text)) > killed + 0.5)
        ping.terminate()
    assert back - started < 2.2
    assert wan.status("client")["session"] not in {session, None}


def _stamp(line: str) -> float:
    found = re.match(r"\[(\d+\.\d+)\].*bytes from", line)
    return float(found[1]) if found else 0.0


def test_interface_and_address_come_and_go(wan: Wan) -> None:
    veth = wan.veth["client"]
    wan.ip("client", f"addr del {OUTER['client']}/24 dev {veth}")
    wan.start("server")
    wan.start("client")
    wan.wait_started("client")
    until(lambda: wan.status("client")["reason"] == f"interface {veth} has no IPv4 address", 5)
    assert wan.status("client")["state"] == "waiting"
    wan.ip("client", f"addr add {OUTER['client']}/24 dev {veth}")
    wan.wait_state("client", "up", 4)
    # Another address: the old socket is useless, the client finds out and takes the new one.
    wan.ip("client", f"addr del {OUTER['client']}/24 dev {veth}")
    wan.ip("client", f"addr add 10.98.9.77/24 dev {veth}")
    until(lambda: wan.ping("client", "-c 1 -W 0.2"), 6)
    assert wan.status("client")["local"].startswith("10.98.9.77:")
    # Unplugged and plugged in again, under the same name.
    wan.ip("client", f"link del {veth}")
    until(lambda: wan.status("client")["reason"] == f"interface {veth} does not exist", 9)
    before = _cpu(wan.status("client")["pid"])
    time.sleep(0.5)
    assert _cpu(wan.status("client")["pid"]) - before < 0.1
    wan.ip("client", f"link add {veth} type veth peer name {wan.veth['server']} netns {wan.ns['server']}")
    for role in ADDRESS:
        wan.ip(role, f"addr add {OUTER[role]}/24 dev {wan.veth[role]}")
        wan.ip(role, f"link set {wan.veth[role]} up")
    until(lambda: wan.ping("client", "-c 1 -W 0.2"), 6)


def test_server_waits_for_its_address_and_follows_it(wan: Wan) -> None:
    veth = wan.veth["server"]
    wan.configure("server", bind_ip=f"if:{veth}")
    fault = f"if:{veth} port 45009: interface {veth} has no IPv4 address"
    wan.ip("server", f"addr del {OUTER['server']}/24 dev {veth}")
    wan.start("server")  # alone: no datagram wakes it
    wan.wait_state("server", "waiting", 5)
    assert wan.status("server")["reason"] == fault
    wan.ip("server", f"addr add {OUTER['server']}/24 dev {veth}")
    wan.wait_state("server", "listening", 4)
    wan.start("client")
    wan.wait_state("client", "up")
    until(lambda: wan.status("server")["since_s"] > 1.1, 3)  # a look has passed that found nothing new
    # The address goes and comes back: the client reconnects by itself.
    wan.ip("server", f"addr del {OUTER['server']}/24 dev {veth}")
    wan.wait_state("server", "waiting", 4)
    status = wan.status("server")
    assert (status["reason"], status["local"]) == (fault, None)
    wan.ip("server", f"addr add {OUTER['server']}/24 dev {veth}")
    until(lambda: wan.status("server")["local"] == f"{OUTER['server']}:45009", 4)
    until(lambda: wan.ping("client", "-c 1 -W 0.2"), 8)
    assert wan.stop("client") == 0
    # Another address, with nobody connected.
    wan.ip("server", f"addr del {OUTER['server']}/24 dev {veth}")
    wan.ip("server", f"addr add 10.98.9.78/24 dev {veth}")
    until(lambda: wan.status("server")["local"] == "10.98.9.78:45009", 4)
    wan.configure("client", remote_addr="10.98.9.78")
    wan.start("client")
    wan.wait_state("client", "up")
    # Unplugged and plugged in again between two looks, under the same name and address.
    script = f"link del {veth}\nlink add {veth} type veth peer name {wan.veth['client']} netns {wan.ns['client']}\n"
    script += f"addr add 10.98.9.78/24 dev {veth}\nlink set {veth} up\n"
    batch = ["ip", "-n", wan.ns["server"], "-batch", "-"]
    subprocess.run(batch, input=script, text=True, timeout=20, check=True)
    wan.ip("client", f"addr add {OUTER['client']}/24 dev {wan.veth['client']}")
    wan.ip("client", f"link set {wan.veth['client']} up")
    until(lambda: wan.ping("client", "-c 1 -W 0.2"), 9)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_tun_removed_and_made_again(wan: Wan) -> None:
    wan.bring_up()
    session = wan.status("client")["session"]
    wan.ip("client", f"link set {TUN} down")
    assert not wan.ping("server", "-c 3 -i 0.05 -W 0.3")
    assert wan.status("client")["drops"]["tun_down"] == 3
    wan.ip("client", f"link set {TUN} up")
    assert wan.ping("server")
    wan.ip("client", f"link del {TUN}")
    until(lambda: f"TUN device {TUN}" in wan.status("client")["reason"], 3)
    assert not wan.ping("server", "-c 2 -i 0.05 -W 0.3")
    assert wan.status("client")["drops"]["tun_missing"] == 2
    wan.make_tun("client")
    until(lambda: wan.ping("client", "-c 1 -W 0.3"), 4)
    assert wan.status("client")["session"] == session
    assert wan.status("client")["reason"] == "connected"


def test_tun_held_by_another_process_at_start(wan: Wan) -> None:
    hold = "import sys,collections;from mpquic.io.tun import open_tun;tun=open_tun(sys.argv[1],collections.Counter())\n"
    hold += "print('ready',flush=True);sys.stdin.read()"
    line = ["ip", "netns", "exec", wan.ns["client"], sys.executable, "-c", hold, TUN]
    fault = f"TUN device {TUN}: in use by another process"
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        wan.bring_up()
        assert wan.status("client")["reason"] == fault
        assert f'tun waiting name={TUN} reason="{fault}"' in wan.log("client")
        assert not wan.ping("server", "-c 2 -i 0.05 -W 0.3")
        assert wan.status("client")["drops"]["tun_missing"] == 2
    until(lambda: wan.status("client")["reason"] == "connected", 2)
    assert f"tun attached name={TUN}" in wan.log("client")
    assert wan.ping("client")


def test_a_file_crosses_unharmed(wan: Wan) -> None:
    wan.bring_up()
    data = os.urandom(4_000_000)
    assert wan.transfer("server", data) == hashlib.sha256(data).hexdigest()


def test_wrong_pin_is_named(wan: Wan) -> None:
    wan.configure("client", tls_server_pin="sha256:" + "00" * 32)
    wan.start("server")
    wan.start("client")
    wan.wait_state("server", "listening")
    wan.wait_started("client")
    until(lambda: "is not the pinned one" in wan.status("client")["reason"], 5)
    assert wan.status("client")["connects"] == 0
    assert not wan.ping("client", "-c 1 -W 0.3")


def test_starts_that_fail_say_why(wan: Wan) -> None:
    wan.ip("client", f"link del {TUN}")
    wan.start("client")
    assert wan.processes.pop("client").wait(10) == 1
    assert (
        f"TUN device {TUN} does not exist, create it with: mpquic tun ensure --name {TUN} --cidr ADDRESS/PREFIX"
        in wan.log("client")
    )
    wan.make_tun("client")
    wan.control("client").parent.rmdir()
    wan.start("client")
    assert wan.processes.pop("client").wait(10) == 1
    assert f"control socket {wan.control('client')}: No such file or directory" in wan.log("client")
    wan.configure("client", bind_ip="nonsense")
    wan.start("client")
    assert wan.processes.pop("client").wait(10) == 78
    assert "client.yaml: bind_ip: found 'nonsense', expected an IP address or if:<interface>" in wan.log("client")
    wan.start("server")
    wan.wait_state("server", "listening")
    second = wan.start_beside("server")
    assert second.wait(10) == 1
    assert f"control socket {wan.control('server')}: in use by another process" in wan.log("server")
    assert wan.status("server")["state"] == "listening"
    assert "Traceback" not in wan.log("server") + wan.log("client")
