# SPDX-License-Identifier: GPL-3.0-or-later
"""A rate on whole daemons: the timers of a real event loop, the clock of a real host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from wan import ADDRESS

if TYPE_CHECKING:
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

RATE = 8_000_000
SECONDS = 3
SIZE = 1200

#: Sends 16 Mbit/s of bulk (CS1) to port 7001, 50 small packets a second (EF) to port 7002, each with its time.
SEND = """
import socket, struct, sys, time
where, seconds, size = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
def open_socket(dscp, port):
    it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    it.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    it.connect((where, port))
    return it
bulk, voice = open_socket(8, 7001), open_socket(46, 7002)
def send(it, octets):
    it.send(struct.pack("d", time.monotonic()) + bytes(octets - 36))
start, sent, spoken = time.monotonic(), 0, 0
while (now := time.monotonic()) < start + seconds:
    while sent * size * 8 < (now - start) * 16e6:
        send(bulk, size)
        sent += 1
    while spoken < (now - start) * 50:
        send(voice, 200)
        spoken += 1
    time.sleep(0.002)
"""

#: Prints when the packets of both ports arrived and how old they were. Namespaces share the monotonic clock.
RECEIVE = """
import json, select, socket, struct, sys, time
sockets = {}
for port in (7001, 7002):
    it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    it.bind((sys.argv[1], port))
    sockets[it] = []
print("ready", flush=True)
while readable := select.select(list(sockets), [], [], 3)[0]:
    for it in readable:
        data, now = it.recv(2048), time.monotonic()
        sockets[it].append((now, now - struct.unpack("d", data[:8])[0]))
print(json.dumps(list(sockets.values())))
"""


def test_a_rate_holds_and_what_is_critical_does_not_wait(wan: Wan) -> None:
    wan.configure("client", rate="8mbit")
    wan.bring_up()
    place = ADDRESS["server"]
    prefix = {role: ["ip", "netns", "exec", wan.ns[role], sys.executable, "-c"] for role in ADDRESS}
    with subprocess.Popen([*prefix["server"], RECEIVE, place], stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            assert receiver.stdout.readline() == "ready\n"
            subprocess.run([*prefix["client"], SEND, place, str(SECONDS), str(SIZE)], check=True, timeout=20)
            bulk, voice = json.loads(receiver.communicate(timeout=20)[0])
        finally:
            receiver.kill()
    # One packet in an Ethernet frame: UDP, IP, context, QUIC, UDP and IP again, Ethernet.
    on_the_wire = [8 * (SIZE - 8 + 1 + 30 + 28 + 14) for _ in bulk] + [8 * (200 - 8 + 73) for _ in voice]
    # A busy host wakes up late and then sends less, never more.
    assert 0.5 * RATE < sum(on_the_wire) / (bulk[-1][0] - bulk[0][0]) < 1.01 * 0.98 * RATE
    assert len(voice) == pytest.approx(50 * SECONDS, abs=2)
    # Medians: the tails belong to whatever else this host does.
    voice_age, bulk_age = (sorted(age for _at, age in flow)[len(flow) // 2] for flow in (voice, bulk))
    assert voice_age < bulk_age / 2
    assert 0.02 < bulk_age < 0.06
    status = wan.status("client")
    assert (status["rate_bps"], status["held_to_bps"]) == (RATE, None)
    assert status["drops"]["queue_age"] + status["drops"]["queue_delay"] > len(bulk) / 2
    assert wan.status("server")["rate_bps"] is None
