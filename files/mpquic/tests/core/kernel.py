# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces of a test, TUN devices in them, and the kernel as the judge of packets."""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import struct
import subprocess
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.core.offload import BareCodec
from mpquic.io import tun
from packets import TCP, Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mpquic.core.types import Frame

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
THREAD = "/proc/thread-self/ns/net"

V4 = Packet()
V6 = Packet(source="fd81:1::2", target="fd81:2::2", flow_label=0x12345)
SENDERS = {ipaddress.ip_address(packet.source).packed for packet in (V4, V6)}


def moved(code: int) -> None:
    assert code == 0, os.strerror(ctypes.get_errno())


class Namespace:
    """A network namespace that ends when it is closed and its sockets are."""

    def __init__(self) -> None:
        home = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
        try:
            moved(LIBC.unshare(CLONE_NEWNET))
            self.fd = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            moved(LIBC.setns(home, CLONE_NEWNET))
            os.close(home)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it."""
        home = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
        try:
            moved(LIBC.setns(self.fd, CLONE_NEWNET))
            yield
        finally:
            moved(LIBC.setns(home, CLONE_NEWNET))
            os.close(home)

    def close(self) -> None:
        os.close(self.fd)


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True)


def sysctl(name: str, value: object) -> None:
    Path("/proc/sys/net", name).write_text(str(value))


def start_tun(
    name: str,
    opener: Callable[[str, Counter[str]], tun.TunDevice],
    drops: Counter[str],
    *addresses: str,
    mtu: int = 1500,
) -> tun.TunDevice:
    """Make a TUN device, open it, and only then set it up: a carrier that comes later is seen later, by a worker."""
    ip(f"tuntap add {name} mode tun")
    device = opener(name, drops)
    ip(f"link set {name} mtu {mtu} txqueuelen 2000 addrgenmode none up")
    for address in addresses:
        ip(f"addr add {address} dev {name}" + (" nodad" if ":" in address else ""))
    return device


def open_plain(name: str, drops: Counter[str]) -> tun.TunDevice:
    """Open a TUN device and ask for no offload, whatever the kernel has."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
    fcntl.ioctl(fd, 0x400454D0, 0)
    return tun.TunDevice(name, fd, drops, BareCodec())


def all_ones(packet: bytes) -> bytes:
    """Return the packet with a TCP checksum of 0 as 65535: to a receiver that is the same.

    Linux completes a lone packet to 65535 (skb_checksum_help) and a segment to 0 (gso_make_checksum), for UDP never.
    """
    v4 = packet[0] >> 4 == 4
    at = 16 + ((packet[0] & 15) * 4 if v4 else 40)
    if packet[9 if v4 else 6] != TCP or packet[at : at + 2] != b"\x00\x00":
        return packet
    return packet[:at] + b"\xff\xff" + packet[at + 2 :]


class Kernel:
    """Two TUN devices, one with offload and one without, and the way through the kernel from the one to the other."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.namespace = Namespace()
        with self.namespace.entered():
            self.rich = start_tun("mqo1", tun.open_tun, self.drops, "10.81.1.1/24", "fd81:1::1/64")
            self.plain = start_tun("mqo2", open_plain, self.drops, "10.81.2.1/24", "fd81:2::1/64")
            sysctl("ipv4/ip_forward", 1)
            sysctl("ipv6/conf/all/forwarding", 1)
        self.taken()

    def taken(self) -> list[bytes]:
        """Return what has come out of the plain device."""
        found: list[bytes] = []
        while more := self.plain.read():
            found += more
        # The kernel says things of its own there, about neighbours and groups.
        return [all_ones(packet) for packet in found if {packet[12:16], packet[8:24]} & SENDERS]

    def forward(self, frames: Sequence[Frame]) -> list[bytes]:
        """Return what comes out for what is written: a write returns when its packets are through."""
        found: list[bytes] = []
        for frame in frames:
            self.rich.write([frame])
            found += self.taken()
        return found

    def close(self) -> None:
        self.rich.close()
        self.plain.close()
        self.namespace.close()
