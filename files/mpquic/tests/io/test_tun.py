# SPDX-License-Identifier: GPL-3.0-or-later
"""Real TUN devices in network namespaces that end with their process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

# The device goes away after the look at its name and before the attach, which makes a new one.
_REMOVED_BETWEEN_LOOK_AND_ATTACH = """
import os, socket, subprocess
from collections import Counter
from mpquic.io.tun import TunError, open_tun

def ip(action):
    subprocess.run(["ip", "tuntap", action, "dev", "mqt0", "mode", "tun"], check=True)

def exists():
    return "mqt0" in [name for _, name in socket.if_nameindex()]

ip("add")
open_tun("mqt0", Counter()).close()
assert exists(), "opening and closing removed a persistent device"

really_open = os.open
def open_after_removal(*arguments):
    ip("del")
    assert not exists()
    return really_open(*arguments)

os.open = open_after_removal
try:
    open_tun("mqt0", Counter())
except TunError as error:
    print(error)
assert not exists(), "a device was made and left behind"
"""


def test_a_device_that_would_not_last_is_refused() -> None:
    command = ["unshare", "--net", sys.executable, "-c", _REMOVED_BETWEEN_LOOK_AND_ATTACH]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "TUN device mqt0 is not persistent, create it with: mpquic tun ensure --name mqt0" in done.stdout


# A device that somebody has had with offload already; a kernel that refuses some of it; a giant datagram for it.
_OFFLOADS = """
import errno, fcntl, json, os, socket, struct, subprocess, sys
from collections import Counter
from pathlib import Path
from mpquic.core.gate import OPEN
from mpquic.io import tun

OFFLOAD, HEADER_SIZE, UDP_SEGMENT = 0x400454D0, 0x400454D8, 103
refused, giants = map(int, sys.argv[1:])
# The kernel would say things of its own there, to find routers.
Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
def ip(line):
    subprocess.run(["ip", *line.split()], check=True)

ip("tuntap add mqt0 mode tun")
before = tun.open_tun("mqt0", Counter())
fcntl.ioctl(before.fileno(), HEADER_SIZE, struct.pack("i", 12))
before.close()

really = fcntl.ioctl
def ioctl(fd, request, argument=0):
    if request == OFFLOAD and argument & refused:
        raise OSError(errno.EINVAL, "Invalid argument")
    return really(fd, request, argument)
fcntl.ioctl = ioctl

drops = Counter()
device = tun.open_tun("mqt0", drops)
# Not before: the kernel lets packets through some time after it has seen that somebody holds the device.
ip("link set mqt0 up mtu 1300")
ip("addr add 10.83.0.1/24 dev mqt0")
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1000)
for giant in range(giants):
    sender.sendto(bytes(60000 if giants > 1 else 3000), ("10.83.0.2", 9))
reads = []
while batch := device.read():
    reads.append(batch)
payloads = device.codec.ingress([read for batch in reads for read in batch], drops)
frames, packets, octets = device.codec.egress([b"\\x06" + payload[1:] for payload in payloads], drops, OPEN)
print(json.dumps({
    "codec": type(device.codec).__name__,
    "reads": [[len(read) for read in batch] for batch in reads],
    "payloads": [len(payload) for payload in payloads],
    "writes": len(frames),
    "drops": drops,
    "descriptors": len(os.listdir("/proc/self/fd")),
}))
"""


def offloads(refused: int, giants: int = 1) -> dict[str, Any]:
    command = ["unshare", "--net", sys.executable, "-c", _OFFLOADS, str(refused), str(giants)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    assert found["drops"] == {}
    assert found["payloads"] == [1029] * len(found["payloads"])
    return found


def test_the_device_takes_and_gives_packets_of_many_segments() -> None:
    found = offloads(0)
    assert found["codec"] == "VnetCodec"
    assert found["reads"] == [[3038]]
    assert found["writes"] == 1


def test_a_kernel_without_uso() -> None:
    found = offloads(0x20 | 0x40)
    assert found["codec"] == "VnetCodec"
    assert found["reads"] == [[1038] * 3]
    assert found["writes"] == 3


def test_a_kernel_without_ecn_for_segments() -> None:
    assert offloads(0x08)["codec"] == "VnetCodec"


@pytest.mark.parametrize("refused", [0x01, 0x7F])
def test_a_kernel_without_offload_cuts_by_itself_again(refused: int) -> None:
    found = offloads(refused)
    assert found["codec"] == "BareCodec"
    assert found["reads"] == [[1028] * 3]
    assert found["descriptors"] == offloads(0)["descriptors"]


def test_a_wake_up_takes_so_many_bytes() -> None:
    found = offloads(0, giants=8)
    assert found["reads"] == [[60038] * 3, [60038] * 3, [60038] * 2]
