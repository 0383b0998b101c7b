# SPDX-License-Identifier: GPL-3.0-or-later
"""Several UDP sockets as one, on the loopback interface."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from mpquic.core.types import Marked
from mpquic.io.udp import UdpSocket, open_udp
from mpquic.io.udpgroup import UdpGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.core.types import Address

ANSWER = b"answer"


@pytest.fixture(params=["127.0.0.1", "::1"])
def sockets(request: pytest.FixtureRequest) -> Iterator[list[UdpSocket]]:
    found = [open_udp(request.param, 0, device=None, remote=None, drops=Counter()) for _ in range(2)]
    yield found
    for udp in found:
        udp.close()


@pytest.fixture
def group(sockets: list[UdpSocket]) -> Iterator[UdpGroup]:
    found = UdpGroup(sockets)
    yield found
    found.release()


@contextlib.contextmanager
def _client(of: UdpSocket) -> Iterator[socket.socket]:
    """Open a client's socket, which takes nothing that does not come from its server's port."""
    family = socket.AF_INET6 if ":" in of.local[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(of.local)
        yield client


def _heard(group: UdpGroup) -> Address:
    """Return where the one datagram that is there came from."""
    assert select.select([group], [], [], 2)[0]
    ((_data, _size, address),) = group.receive()
    return address


def test_an_answer_leaves_by_the_socket_it_answers_for(group: UdpGroup, sockets: list[UdpSocket]) -> None:
    for udp in (*sockets, *sockets):
        with _client(udp) as client:
            client.send(b"question")
            address = _heard(group)
            assert address[:2] == client.getsockname()[:2]
            group.send([(ANSWER, address), (ANSWER, Marked(address, 0xB8))])
            assert [client.recv(100), client.recv(100)] == [ANSWER] * 2


def test_a_forged_datagram_to_another_port_changes_nothing(group: UdpGroup, sockets: list[UdpSocket]) -> None:
    with _client(sockets[0]) as client:
        if client.family == socket.AF_INET6:
            pytest.skip("a raw socket of IPv6 computes no checksum for UDP")
        client.send(b"question")
        address = _heard(group)
        source, other = client.getsockname()[1], sockets[1].local[1]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
            raw.sendto(struct.pack("!HHHH", source, other, 9, 0) + b"x", ("127.0.0.1", 0))
        forged = _heard(group)
        assert forged != address
        group.send([(ANSWER, address)])
        assert client.recv(100) == ANSWER


def test_a_batch_for_several_ports_stays_in_order(group: UdpGroup, sockets: list[UdpSocket]) -> None:
    with _client(sockets[0]) as one, _client(sockets[1]) as two:
        addresses = []
        for client in (one, two):
            client.send(b"question")
            addresses.append(_heard(group))
        group.send([(bytes([number]), addresses[number % 2]) for number in range(6)])
        assert [one.recv(10)[0] for _ in range(3)] == [0, 2, 4]
        assert [two.recv(10)[0] for _ in range(3)] == [1, 3, 5]


def test_what_is_for_a_port_that_is_served_no_more_leaves_by_the_first(sockets: list[UdpSocket]) -> None:
    group = UdpGroup(sockets[:1])
    with _client(sockets[0]) as client:
        group.send([(ANSWER, (*client.getsockname(), sockets[1].local[1]))])
        assert client.recv(100) == ANSWER
    group.release()
