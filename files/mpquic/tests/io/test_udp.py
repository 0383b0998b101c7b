# SPDX-License-Identifier: GPL-3.0-or-later
"""Real UDP sockets on the loopback interface."""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mpquic.core.types import Marked
from mpquic.io import udp
from mpquic.io.udp import BATCH, UdpSocket, open_udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.core.types import Datagram

_SO_NO_CHECK = 11


@pytest.fixture
def drops() -> Counter[str]:
    return Counter()


@pytest.fixture
def pair(drops: Counter[str]) -> Iterator[tuple[UdpSocket, UdpSocket]]:
    server = open_udp("127.0.0.1", 0, device=None, remote=None, drops=drops)
    client = open_udp("127.0.0.1", 0, device="lo", remote=server.local, drops=drops)
    yield client, server
    client.close()
    server.close()


def _receive(sock: UdpSocket, count: int) -> list[Datagram]:
    got: list[Datagram] = []
    while len(got) < count and select.select([sock], [], [], 2.0)[0]:
        for data, size, address in sock.receive():
            got += [(data[at : at + size], address) for at in range(0, len(data), size)]
    return got


SIZES = [1331] * 70 + [500, 1331, 1331, 90, 91, 92, 1331] + [40] * 5


def _datagrams(to: UdpSocket) -> list[Datagram]:
    return [(bytes([number]) * size, to.local) for number, size in enumerate(SIZES)]


def test_batches_arrive_whole_in_order_with_their_source(pair: tuple[UdpSocket, UdpSocket]) -> None:
    client, server = pair
    sent = _datagrams(server)
    client.send(sent)
    got = _receive(server, len(sent))
    assert [data for data, _ in got] == [data for data, _ in sent]
    # The address of a server's peer says which port of the server it is the peer of.
    assert {address for _, address in got} == {(*client.local, server.local[1])}
    server.send([(data, address) for data, address in got])
    back = _receive(client, len(sent))
    assert [data for data, _ in back] == [data for data, _ in sent]
    assert {address for _, address in back} == {server.local}


def test_an_empty_datagram_is_nothing(pair: tuple[UdpSocket, UdpSocket], drops: Counter[str]) -> None:
    client, server = pair
    client.send([(b"", server.local), (b"one", server.local)])
    assert [data for data, _ in _receive(server, 1)] == [b"one"]
    assert drops == {"udp_empty": 1}


def test_one_wakeup_takes_a_bounded_batch(pair: tuple[UdpSocket, UdpSocket]) -> None:
    client, server = pair
    client.gso = False
    client.send([(bytes(100), server.local)] * 1000)
    assert len(server.receive()) <= 2 * BATCH  # nothing was merged: one datagram each


def test_refused_segmentation_falls_back_and_loses_nothing(
    pair: tuple[UdpSocket, UdpSocket], drops: Counter[str]
) -> None:
    client, server = pair
    assert client.gso
    # The kernel refuses to segment for a socket that sends no checksums (udp_send_skb: EINVAL).
    client._sock.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
    sent = _datagrams(server)
    client.send(sent)
    assert not client.gso
    assert [data for data, _ in _receive(server, len(sent))] == [data for data, _ in sent]
    assert not drops


def test_a_probe_of_the_path_leaves_on_its_own(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """In one call with larger datagrams it would be dropped with them."""
    client, server = pair
    client.send([(bytes(size), server.local) for size in [1400] * 3 + [500] + [1400] * 3 + [1300, 1200]])
    select.select([server], [], [], 1)
    got = [(len(data), size) for data, size, _ in UdpSocket.receive(server)]
    assert got == [(3 * 1400 + 500, 1400), (3 * 1400, 1400), (1300, 1300), (1200, 1200)]


def test_without_receive_offload(drops: Counter[str]) -> None:
    server = open_udp("127.0.0.1", 0, device=None, remote=None, drops=drops)
    client = open_udp("127.0.0.1", 0, device=None, remote=server.local, drops=drops)
    server._sock.setsockopt(17, 104, 0)
    sent = _datagrams(server)
    client.send(sent)
    assert [data for data, _ in _receive(server, len(sent))] == [data for data, _ in sent]
    client.close()
    server.close()


def test_closed_port_is_a_hint(pair: tuple[UdpSocket, UdpSocket], drops: Counter[str]) -> None:
    client, server = pair
    to = server.local
    server.close()
    for _ in range(3):
        client.send([(b"x" * 100, to)] * 3)
    select.select([client], [], [], 1.0)
    client.receive()
    assert client.take_refused()
    assert not client.take_refused()
    assert "udp_error" not in drops


def test_too_big_is_counted_and_segmentation_stays(pair: tuple[UdpSocket, UdpSocket], drops: Counter[str]) -> None:
    client, server = pair
    client.send([(bytes(65530), server.local)])
    assert drops == {"udp_too_big": 1}
    assert client.take_too_big()
    assert not client.take_too_big()
    assert not client.last_error
    assert client.gso


def test_ipv6(drops: Counter[str]) -> None:
    server = open_udp("::1", 0, device=None, remote=None, drops=drops)
    client = open_udp("::1", 0, device=None, remote=server.local, drops=drops)
    client.send([(b"six", server.local)] * 3)
    assert [data for data, _ in _receive(server, 3)] == [b"six"] * 3
    client.close()
    server.close()


def test_address_of_nobody(drops: Counter[str]) -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        open_udp("192.0.2.1", 0, device=None, remote=None, drops=drops)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_buffers_of_an_ordinary_user_are_as_large_as_may_be_and_small_ones_are_told_once(
    drops: Counter[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    udp._tell_small.cache_clear()
    monkeypatch.setattr(udp, "BUFFER", 1 << 30)
    limits = {name: int(Path("/proc/sys/net/core", name).read_text()) for name in ("rmem_max", "wmem_max")}
    os.seteuid(65534)
    try:
        for _socket in range(2):
            open_udp("127.0.0.1", 0, device=None, remote=None, drops=drops).close()
    finally:
        os.seteuid(0)
    assert caplog.messages == [
        f'udp buffer small bytes={limit} wanted={1 << 30} note="bursts may be lost, raise net.core.{name}"'
        for name, limit in limits.items()
    ]
    caplog.clear()
    monkeypatch.setattr(udp, "BUFFER", min(limits.values()))
    udp._tell_small.cache_clear()
    open_udp("127.0.0.1", 0, device=None, remote=None, drops=drops).close()
    assert not caplog.messages


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("address", "around"), [("127.0.0.1", 28), ("::1", 48)])
def test_nothing_is_fragmented(address: str, around: int) -> None:
    """One byte more than the link takes is refused, alone and in a run, and what fits beside it leaves."""
    script = f"""
import collections, select
from mpquic.io.udp import open_udp
drops = collections.Counter()
server = open_udp({address!r}, 0, device=None, remote=None, drops=drops)
client = open_udp({address!r}, 0, device=None, remote=server.local, drops=drops)
fits = 1400 - {around}
big = fits + 1
for sizes in ([fits], [big], [big] * 5, [fits] * 3 + [big] * 3 + [500], [big, 1300, big + 1, 1200]):
    client.send([(bytes(size), server.local) for size in sizes])
got = []
while select.select([server], [], [], 0.3)[0]:
    got += [(len(data), size) for data, size, _ in server.receive()]
flat = [min(size, length - at) for length, size in got for at in range(0, length, size)]
assert flat == [fits] * 4 + [500, 1300, 1200], flat
assert drops == {{"udp_too_big": 11}}, drops
assert client.take_too_big() and client.gso
"""
    name = f"mqu{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "mtu", "1400", "up"], check=True)
        line = ["ip", "netns", "exec", name, sys.executable, "-c", script]
        done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


# --- marks ----------------------------------------------------------------------------------------------------------

_IP_RECVTOS, _IPV6_RECVTCLASS = 13, 66


def _marks(sock: UdpSocket, count: int) -> list[tuple[bytes, int]]:
    """Return datagrams as they arrive, each with the TOS or traffic class of its packet."""
    got: list[tuple[bytes, int]] = []
    while len(got) < count and select.select([sock], [], [], 2.0)[0]:
        data, ancillary, _flags, _address = sock._sock.recvmsg(65535, 256)
        found = [value for level, _kind, value in ancillary if level in {socket.IPPROTO_IP, socket.IPPROTO_IPV6}]
        got.append((data, int.from_bytes(found[0], sys.byteorder)))
    return got


@pytest.fixture(params=["127.0.0.1", "::1"])
def marked(request: pytest.FixtureRequest, drops: Counter[str]) -> Iterator[tuple[UdpSocket, UdpSocket, UdpSocket]]:
    """Return a socket that sees marks, one that is connected to it, and one that is to nobody."""
    seer = open_udp(request.param, 0, device=None, remote=None, drops=drops)
    seer._sock.setsockopt(17, 104, 0)
    if ":" in request.param:
        seer._sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1)
    else:
        seer._sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)
    client = open_udp(request.param, 0, device=None, remote=seer.local, drops=drops)
    server = open_udp(request.param, 0, device=None, remote=None, drops=drops)
    yield seer, client, server
    for sock in (seer, client, server):
        sock.close()


def test_each_datagram_has_its_mark(marked: tuple[UdpSocket, UdpSocket, UdpSocket], drops: Counter[str]) -> None:
    seer, *senders = marked
    tos = [0, 0, 0xB8, 0xB8, 0xB8, 0x04, 0, 0xB8, 0xB8, 0, 0xE0, 0xFC]
    sent = [(bytes([number]) * (1300 if number != 4 else 200), mark) for number, mark in enumerate(tos)]
    server = senders[-1]
    for sender in senders:
        to = (*seer.local, server.local[1]) if sender is server else seer.local
        for gso in (True, False):
            sender.gso = gso
            sender.send([(data, Marked(to, mark) if mark else to) for data, mark in sent])
            assert _marks(seer, len(sent)) == sent
    assert not drops


def test_a_run_has_one_mark(pair: tuple[UdpSocket, UdpSocket]) -> None:
    """Datagrams of one mark leave in one call; where it differs, the run ends."""
    client, server = pair
    marks = [Marked(server.local, tos) for tos in (0xB8, 0xB8, 0xB8, 0x04, 0x04)]
    client.send([(bytes(1300), to) for to in [*marks, server.local, server.local]])
    select.select([server], [], [], 1)
    assert [len(data) // size for data, size, _ in UdpSocket.receive(server)] == [3, 2, 2]


def test_refused_segmentation_keeps_marks(marked: tuple[UdpSocket, UdpSocket, UdpSocket]) -> None:
    seer, client, _server = marked
    client._sock.setsockopt(socket.SOL_SOCKET, _SO_NO_CHECK, 1)
    client.send([(bytes(100), Marked(seer.local, 0xB8))] * 3)
    assert _marks(seer, 3) == [(bytes(100), 0xB8)] * 3


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_socket_may_mark_everything(address: str, drops: Counter[str]) -> None:
    """Also what is sent before anybody knows whom it is for. A mark of a datagram goes before it."""
    seer = open_udp(address, 0, device=None, remote=None, drops=drops)
    option = (socket.IPPROTO_IPV6, _IPV6_RECVTCLASS) if ":" in address else (socket.IPPROTO_IP, _IP_RECVTOS)
    seer._sock.setsockopt(*option, 1)
    client = open_udp(address, 0, device="lo", remote=seer.local, drops=drops)
    client.set_dscp(46)
    client.send([(b"one", seer.local), (b"two", Marked(seer.local, 0x04))])
    assert _marks(seer, 2) == [(b"one", 0xB8), (b"two", 0x04)]
    client.close()
    seer.close()
