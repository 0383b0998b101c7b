# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches to and from a descriptor, given to a TUN device and its native twin."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from compiled import library
from mpquic.io.native_tun import NativeTunDevice
from mpquic.io.tun import take_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.io.tun import TakeDevice, TunDevice


def _take_native(name: str, fd: int, drops: Counter[str], *, udp: bool) -> TunDevice:
    return NativeTunDevice(library(), name, fd, drops, udp=udp)


@pytest.fixture(params=[take_device, _take_native], ids=["python", "native"])
def take(request: pytest.FixtureRequest) -> TakeDevice:
    made: TakeDevice = request.param
    return made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return two ends that keep packets apart, as a TUN does."""
    device, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with kernel:
        # Packets of 9216 bytes and more are refused.
        device.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        yield device, kernel
    if device.fileno() >= 0:
        device.close()


@pytest.mark.parametrize("sizes", [[60], [60, 61], [1, 2000, 3], [64] * 10, [2000] * 2, list(range(40, 50))])
def test_packets_are_written_whole_and_in_order(
    take: TakeDevice, ends: tuple[socket.socket, socket.socket], sizes: list[int]
) -> None:
    device, kernel = ends
    drops = Counter[str]()
    tun = take("mpq1", device.detach(), drops, udp=True)
    packets = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    tun.write([(packet[:1], packet[1:]) for packet in packets])
    assert [kernel.recv(4096) for _packet in packets] == packets
    assert not drops
    tun.close()


def test_a_packet_that_is_refused_stops_no_other(take: TakeDevice, ends: tuple[socket.socket, socket.socket]) -> None:
    device, kernel = ends
    drops = Counter[str]()
    tun = take("mpq1", device.detach(), drops, udp=True)
    sizes = [40, 9500, 41, 42, 43, 44]
    tun.write([(bytes(size),) for size in sizes])
    assert [len(kernel.recv(4096)) for _packet in range(5)] == [40, 41, 42, 43, 44]
    assert drops == {"tun_refused": 1}
    tun.close()


@pytest.mark.parametrize("sizes", [[60], [60, 1400, 60], [40] * 8])
def test_packets_are_read_whole_and_in_order(
    take: TakeDevice, ends: tuple[socket.socket, socket.socket], sizes: list[int]
) -> None:
    device, kernel = ends
    tun = take("mpq1", device.detach(), Counter(), udp=True)
    packets = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for packet in packets:
        kernel.send(packet)
    assert tun.read() == packets
    assert tun.read() == []
    tun.close()
