# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shaper is for: a flood in one class does not delay another, nor get more than the rate."""

from __future__ import annotations

import json
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

# The namespaces belong to the tests of the command; a second copy of them would only drift.
sys.path.insert(0, str(Path(__file__).parents[1] / "cli_host"))

from host_netns import Namespace, eventually
from shaper_link import LINK

pytestmark = pytest.mark.netns

RATE = LINK["rate"]
SECONDS = 2.0
CALL, BULK = 9001, 9002
# Payload of a packet of the flood, and what is around it as tc counts it.
PAYLOAD, HEADERS = 1400, 42
NFT = f"""
table ip shapertest {{
    chain out {{
        type filter hook output priority mangle;
        udp dport {CALL} meta priority set 6d71:101
        udp dport {BULK} meta priority set 6d71:102
    }}
}}
"""


@pytest.fixture
def ends(tmp_path):
    """Two hosts with one line between them."""
    namespaces = []
    try:
        for name in ("near", "far"):
            (tmp_path / name).mkdir()
            namespaces.append(Namespace(tmp_path / name))
        near, far = namespaces
        near.veth("wan7", "192.0.2.1/24")
        near.ip(f"link set p-wan7 netns {far.name}")
        far.ip("address add 192.0.2.2/24 dev p-wan7")
        far.ip("link set p-wan7 up")
        yield near, far
    finally:
        for namespace in namespaces:
            namespace.close()


def receive(ready, result):
    """Note how long packets took and when they came, until a call packet says that it was the last."""
    sockets = {}
    for port in (CALL, BULK):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("", port))
        sockets[sock] = port
    found = {CALL: [], BULK: []}
    ready.touch()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for sock in select.select(list(sockets), [], [], 0.2)[0]:
            data = sock.recv(2048)
            if len(data) < 12:
                result.write_text(json.dumps(list(found.values())))
                return 0
            now = time.monotonic()
            sent, number = struct.unpack_from("=dI", data)
            found[sockets[sock]].append((now, now - sent, number))
    return 1


def flood():
    """Send three times the rate."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.settimeout(0)
    start = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - start) < SECONDS:
        due = int(elapsed * 3 * RATE / 8 / (PAYLOAD + HEADERS))
        for _ in range(min(due - sent, 50)):
            try:
                sock.sendto(struct.pack("=d", time.monotonic()).ljust(PAYLOAD, b"\0"), ("192.0.2.2", BULK))
            except BlockingIOError:
                break
        sent = due
        time.sleep(0.001)
    return 0


def call():
    """Send a small packet each 20 ms while the flood lasts, and the last word."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    start = time.monotonic()
    time.sleep(0.3)
    number = 0
    while time.monotonic() - start < SECONDS:
        sock.sendto(struct.pack("=dI", time.monotonic(), number).ljust(160, b"\0"), ("192.0.2.2", CALL))
        number += 1
        time.sleep(0.02)
    time.sleep(0.5)
    sock.sendto(b"end", ("192.0.2.2", CALL))
    return 0


def test_a_flood_in_one_class_leaves_the_other_alone(ends, tmp_path):
    near, far = ends
    subprocess.run(["ip", "netns", "exec", near.name, "nft", "-f", "-"], input=NFT, text=True, check=True)
    (tmp_path / "shaper.yaml").write_text(yaml.safe_dump({"links": [LINK]}))
    done = near.mpquic("shaper", "fix", "--file", str(tmp_path / "shaper.yaml"))
    assert done.rc == 0, done
    ready, result = tmp_path / "ready", tmp_path / "result"
    receiver = far.fork(lambda: receive(ready, result))
    assert eventually(ready.exists)
    senders = [near.fork(flood), near.fork(call)]
    assert [os.waitpid(process, 0)[1] for process in (*senders, receiver)] == [0, 0, 0]
    calls, bulk = json.loads(result.read_text())
    delay = statistics.median(waited for _when, waited, _number in calls)
    queued = statistics.median(waited for _when, waited, _number in bulk)
    took = bulk[-1][0] - bulk[0][0]
    used = len(bulk) * (PAYLOAD + HEADERS) * 8 / took
    assert used < 1.1 * RATE
    assert used > 0.7 * RATE
    # A queue stood in the class of the flood, and the calls did not wait in it.
    assert queued > 0.02
    assert delay < 0.01
    assert [number for _when, _waited, number in calls] == list(range(len(calls)))
