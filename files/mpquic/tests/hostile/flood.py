# SPDX-License-Identifier: GPL-3.0-or-later
"""Initials by the thousand, each valid and from another source."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from typing import TYPE_CHECKING

import places
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion
from hosts import CROWD, SERVER
from mpquic.core.wire import CID_LENGTH
from mpquic.quic import ClientEndpoint, Trust

if TYPE_CHECKING:
    from hosts import Hosts

#: Bytes before the destination connection id: flags, version, its length.
_CID_AT = 6
#: Where the packet number is: two connection ids, a length before the second, no token (1), the packet's length (2).
_NUMBER_AT = _CID_AT + CID_LENGTH + 1 + CID_LENGTH + 1 + 2
#: Clients whose ClientHello is used.
_CLIENTS = 10
_IP_PKTINFO = 8
#: The packet type of a Retry in the first byte (RFC 9000 section 17.2.5).
_RETRY = 0xF0


def initials(count: int, server_pin: str) -> list[bytes]:
    """Return datagrams that begin as many connections: what a few clients sent, under connection ids of their own."""
    endpoint = ClientEndpoint(trust=Trust((server_pin,)), identity=None, tun_mtu=1300)
    opened = [_opened(endpoint) for _client in range(_CLIENTS)]
    made = []
    for number in range(count):
        header, payload, size = opened[number % _CLIENTS]
        cid = os.urandom(CID_LENGTH)
        pair = CryptoPair()
        pair.setup_initial(cid=cid, is_client=True, version=QuicProtocolVersion.VERSION_1)
        header = header[:_CID_AT] + cid + header[_CID_AT + CID_LENGTH :]
        made.append(pair.encrypt_packet(header, payload, 0).ljust(size, b"\0"))
    return made


def is_retry(data: bytes) -> bool:
    """Tell whether a datagram of a server is a Retry."""
    return data[0] & _RETRY == _RETRY


def _opened(endpoint: ClientEndpoint) -> tuple[bytes, bytes, int]:
    """Return header and payload of a client's Initial, and the size of the datagram that it came in."""
    now = time.monotonic()
    (datagram, _to), *_more = endpoint.connect(SERVER, now).seal([], now)[0]
    pair = CryptoPair()
    cid = datagram[_CID_AT : _CID_AT + CID_LENGTH]
    pair.setup_initial(cid=cid, is_client=False, version=QuicProtocolVersion.VERSION_1)
    length = int.from_bytes(datagram[_NUMBER_AT - 2 : _NUMBER_AT], "big") & 0x3FFF
    header, payload, number = pair.decrypt_packet(datagram[: _NUMBER_AT + length], _NUMBER_AT, 0)
    assert number == 0
    return header, payload, len(datagram)


class Flood:
    """So many datagrams per second, from all over the place or from one address, whoever has it."""

    def __init__(self, hosts: Hosts, datagrams: list[bytes], rate: float, source: str | None = None) -> None:
        self._source = socket.inet_aton(source) if source is not None else None
        self._sock = places.udp(hosts.outside)
        self._datagrams = iter(datagrams)
        self._rate = rate
        self._random = random.Random(1)
        self._first = int(CROWD.network_address)
        self._begin: float | None = None
        self.sent = self.octets_sent = 0
        self.answers = self.retries = self.octets_back = 0
        self.over = False

    def step(self) -> None:
        """Send what is due, count what comes back."""
        now = time.monotonic()
        if self._begin is None:
            self._begin = now
        while not self.over and self.sent < (now - self._begin) * self._rate:
            self._send()
        for data, _source in places.received(self._sock):
            self.answers += 1
            self.octets_back += len(data)
            self.retries += is_retry(data)

    def close(self) -> None:
        self._sock.close()

    def _send(self) -> None:
        datagram = next(self._datagrams, None)
        if datagram is None:
            self.over = True
            return
        source = self._source or (self._first + 1024 + self._random.randrange(CROWD.num_addresses - 2048)).to_bytes(
            4, "big"
        )
        place = [(socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("@I4s4s", 0, source, bytes(4)))]
        self._sock.sendmsg([datagram], place, 0, SERVER)
        self.sent += 1
        self.octets_sent += len(datagram)
