# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands over daemons of a test, and counts what passes a tunnel meanwhile."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from multiwan import SERVER, MultiWan
from wan import ADDRESS, PORT, TUN, sh, until

if TYPE_CHECKING:
    from types import TracebackType

    from wan import Wan

#: The name of another client, and its address in the tunnel.
SECOND, SECOND_ADDRESS = "second", "10.200.8.1"
#: Seconds between packets each way.
INTERVAL = 0.01

_PROBE = """
import json, socket, sys, time, threading
own, peer, port, interval = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((own, port))
sock.settimeout(0.1)
sent, got, ending = [], {}, threading.Event()
def listen():
    last = 1e18
    while time.monotonic() < last:
        if ending.is_set() and last > 1e17:
            last = time.monotonic() + 3
        try:
            number = int(sock.recv(2000)[:12])
        except (TimeoutError, ValueError):
            continue
        got.setdefault(number, []).append(time.monotonic())
ear = threading.Thread(target=listen)
ear.start()
print("ready", flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), ending.set())).start()
due = time.monotonic()
number = 0
while not ending.is_set():
    sock.sendto(b"%012d" % number + bytes(200), (peer, port))
    number += 1
    due += interval
    time.sleep(max(0, due - time.monotonic()))
ear.join()
print(json.dumps([number, got]), flush=True)
"""


class TwoClients(MultiWan):
    """A second client, of one path, behind the router: an end called SECOND."""

    def make(self) -> None:
        self.ns[SECOND] = f"mqd{os.getpid()}t"
        self.program[SECOND] = "-m mpquic"
        self.mounts[SECOND] = []
        sh(f"ip netns add {self.ns[SECOND]}")
        super().make()
        wire = f"mqt{os.getpid()}"[:15]
        sh(f"ip link add {wire} netns {self.ns[SECOND]} type veth peer name {wire} netns {self.router}")
        self.route(f"addr add 10.99.9.254/24 dev {wire}")
        self.route(f"link set {wire} up")
        for line in (
            "link set lo up",
            f"addr add 10.99.9.1/24 dev {wire}",
            f"link set {wire} up",
            "route add default via 10.99.9.254",
        ):
            self.ip(SECOND, line)
        sh(f"ip netns exec {self.ns[SECOND]} ip tuntap add {TUN} mode tun user 65534")
        for line in (
            f"link set {TUN} addrgenmode none",
            f"addr add {SECOND_ADDRESS}/32 dev {TUN}",
            f"link set {TUN} mtu 1300 up",
            f"route add {ADDRESS['server']}/32 dev {TUN} src {SECOND_ADDRESS}",
        ):
            self.ip(SECOND, line)
        self.ip("server", f"route add {SECOND_ADDRESS}/32 dev {TUN}")
        pin = self.configured("client")["tls_server_pin"]
        self.configure(SECOND, bind_ip=f"if:{wire}", remote_addr=SERVER, remote_port=PORT)
        self.configure(SECOND, tun_cidr=f"{SECOND_ADDRESS}/32", tls_server_pin=pin)
        peer = {"name": "client2", "pins": [self.identify(SECOND)], "allowed": [f"{SECOND_ADDRESS}/32"]}
        self.configure("server", peers=[*self.configured("server")["peers"], peer], multi_conn_enabled=True)

    def bring_up(self) -> None:
        super().bring_up()
        self.start(SECOND)
        self.wait_state(SECOND, "up")


class Flow:
    """Packets at both ends of a tunnel, each way, as long as this is open."""

    def __init__(self, wan: Wan, *, client: str = "client", port: int = 7000) -> None:
        self._wan = wan
        self._port = port
        self._other = {client: "server", "server": client}
        self._address = {**ADDRESS, SECOND: SECOND_ADDRESS}
        self._ends: dict[str, subprocess.Popen[str]] = {}
        #: By the end that received: what is missing, what came twice, and the longest time with nothing (seconds).
        self.lost: dict[str, int] = {}
        self.twice: dict[str, int] = {}
        self.still: dict[str, float] = {}
        self.sent: dict[str, int] = {}

    def __enter__(self) -> Self:
        for role, other in self._other.items():
            place = ["ip", "netns", "exec", self._wan.ns[role], sys.executable, "-c", _PROBE]
            line = [*place, self._address[role], self._address[other], str(self._port), str(INTERVAL)]
            self._ends[role] = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for end in self._ends.values():
            assert end.stdout is not None
            assert end.stdout.readline() == "ready\n"
        time.sleep(0.5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told: dict[str, str] = {}

        def end(role: str, process: subprocess.Popen[str]) -> None:
            told[role] = process.communicate("\n", timeout=60)[0]

        threads = [threading.Thread(target=end, args=item) for item in self._ends.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = {role: json.loads(text) for role, text in told.items()}
        for role, (_sent, got) in found.items():
            sent = found[self._other[role]][0]
            # What the other end sent before this one listened is not counted.
            first = min(map(int, got), default=0)
            self.sent[role] = sent - first
            self.lost[role] = sent - first - len(got)
            self.twice[role] = sum(len(times) - 1 for times in got.values())
            times = sorted(time for each in got.values() for time in each)
            self.still[role] = max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def __str__(self) -> str:
        return f"sent {self.sent}, lost {self.lost}, twice {self.twice}, still {self.still}"


def hand_over(wan: Wan, role: str) -> tuple[int, dict[str, Any]]:
    """Hand over an end; return the exit code and what became of it."""
    line = [sys.executable, "-m", "mpquic", "handover", role, "--json", "--run-dir", str(wan.folder)]
    before = wan.processes[role].pid
    done = subprocess.run(line, capture_output=True, text=True, timeout=90, check=False)
    answer = json.loads(done.stdout)["instances"][0]
    if done.returncode == 0:
        assert wan.processes[role].wait(10) == 0
        pid = wan.status(role)["pid"]
        assert pid != before
        wan.processes[role] = _Adopted(pid)  # type: ignore[assignment]
    return done.returncode, answer


class _Adopted:
    """A process that is no child of this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)

    def poll(self) -> int | None:
        try:
            return None if re.search(r"\) Z ", Path(f"/proc/{self.pid}/stat").read_text()) is None else 0
        except FileNotFoundError:
            return 0

    def wait(self, seconds: float) -> int:
        until(lambda: self.poll() is not None, seconds)
        return 0
