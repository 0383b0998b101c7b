# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole tunnel ends: what strangers send to a server and to a client, and what those send who have the keys."""

from __future__ import annotations

import functools
import logging
import sys
import tempfile
from collections import deque
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import encode_quic_retry, encode_quic_version_negotiation, pull_quic_header
from mpquic.core import gate, inner, wire
from mpquic.core.capsules import encode_varint
from mpquic.core.guest import DEADLINE
from mpquic.core.roster import Roster
from mpquic.quic import ServerEndpoint, private, seal
from mpquic.quic.link import Link

from fuzzing import corpus
from fuzzing.callers import HALF_OPEN, STATES, Callers
from fuzzing.decoder import Decoder
from fuzzing.mutation import Mutator

sys.path.append(str(Path(__file__).parents[2] / "quic"))

from simulation import PREFIXES, SERVER, World, arrivals, packet, turned

if TYPE_CHECKING:
    from random import Random

    from mpquic.core.types import Address, Frame

    from fuzzing.decoder import Input

_LIBRARY = logging.getLogger("quic")
#: Inputs between two looks at whether the tunnel works.
_LOOK = 2000
#: Inputs between two moments in which half-open connections end.
_PAUSE = 400
#: Inputs for one attempt of a client to connect.
_ATTEMPT = 40
#: Inputs per step of virtual time, and its length (seconds).
_STEP, _SECONDS = 4, 0.001
#: Seconds after which everything has ended that ends by itself.
_LONG = 70.0
#: Bytes of an Initial beside token and content: header with ids of 8 bytes, tag.
_AROUND = 46
#: Keys that are kept.
_REMEMBERED = 64
_CIDS = tuple(f"fuzz-{number:03}".encode() for number in range(6))


class _Tunnel(Decoder):
    """A client and a server whose tunnel is up, in virtual time."""

    longest = 1500

    def __init__(self, rng: Random) -> None:
        """Connect them."""
        super().__init__(rng)
        self._temporary = tempfile.TemporaryDirectory(prefix="mpquic-fuzz-")
        # As in the daemon: what strangers send is no news.
        self._level = _LIBRARY.level
        _LIBRARY.setLevel(logging.CRITICAL)
        # A connection contains what it does not understand; here that is a finding.
        self._contained, Link._break = Link._break, _found  # type: ignore[method-assign]
        self.world = World(Path(self._temporary.name), seed=1)
        self._fed = 0
        self._number = 0
        self._connect()

    @property
    def server(self) -> Any:
        assert self.world.server is not None
        return self.world.server

    @property
    def client_link(self) -> Any:
        """The client's connection, up or on its way."""
        return self.world.client.connection

    def settle(self) -> None:
        """Let time pass, and see that the tunnel works."""
        self._run(_LONG)
        self._connect()
        # Answers to acknowledgements end the memory of what was sent.
        for link in self._links() * 2:
            link.ping()
            self._run(1.0)
        # How many pairs of addresses are remembered is tested elsewhere.
        lanes = [self.world.client._lane, *[session.path.lane for session in self.server.sessions.values()]]
        for each in (gate.OPEN, self.world.client._outbound, *[lane.gate for lane in lanes]):
            each._remembered.clear()
        self.server._roster.table._remembered.clear()

    def close(self) -> None:
        """Remove the files, and let the library speak again."""
        _LIBRARY.setLevel(self._level)
        Link._break = self._contained  # type: ignore[method-assign]
        self._temporary.cleanup()

    def _connect(self) -> None:
        """Wait until both ends have the same connection, and carry a packet each way."""
        world = self.world
        world.run_until(lambda: world.client.session is not None and world.client.session == self.server.session, 120.0)
        self._number += 1
        sent = packet(self._number)
        for send, got in ((world.from_client, world.at_server), (world.from_server, world.at_client)):
            send(sent)
            world.run_until(functools.partial(_holds, got, sent), 10.0)
        self._tidy()

    def _run(self, seconds: float) -> None:
        self.world.run(seconds)
        self._tidy()

    def _tidy(self) -> None:
        """Forget what the simulation wrote down."""
        world = self.world
        for book in (world.history, world.told, world.at_client, world.at_server):
            book.clear()

    def _links(self) -> list[Any]:
        """Return the connections of both ends that are the tunnel."""
        return [self.client_link, self.server.connection]


def _found(link: Link, error: Exception) -> None:
    # What is over already may fail as it likes.
    if not link._closed:
        raise AssertionError("an internal error would end the connection") from error


def _holds(got: list[tuple[float, bytes]], sent: bytes) -> bool:
    return any(data == sent for _at, data in got)


class _Initials:
    """Makes Initials with any content: their keys follow from what everybody can read (RFC 9001 section 5.2)."""

    def __init__(self, *, is_client: bool) -> None:
        self._is_client = is_client
        self._keys: dict[bytes, CryptoPair] = {}

    def keys(self, original: bytes) -> CryptoPair:
        """Return the keys for a client's first destination."""
        if original not in self._keys:
            if len(self._keys) >= _REMEMBERED:
                self.forget()
            self._keys[original] = CryptoPair()
            self._keys[original].setup_initial(cid=original, is_client=self._is_client, version=1)
        return self._keys[original]

    def forget(self) -> None:
        """Forget the keys."""
        self._keys.clear()

    def seal(self, original: bytes, header: tuple[bytes, bytes, bytes], plain: bytes, number: int) -> bytes:
        """Return an Initial with this destination, source and token."""
        destination, source, token = header
        start = b"\xc3\0\0\0\1" + bytes([len(destination)]) + destination + bytes([len(source)]) + source
        start += encode_varint(len(token)) + token
        plain = plain.ljust(4, b"\0")
        start += (0x4000 | 4 + len(plain) + 16).to_bytes(2, "big") + number.to_bytes(4, "big")
        sealed: bytes = self.keys(original).encrypt_packet(start, plain, number)
        return sealed


def _opened(datagram: bytes, original: bytes, *, is_client: bool) -> bytes:
    """Return the content of the first Initial in a datagram."""
    keys = CryptoPair()
    keys.setup_initial(cid=original, is_client=is_client, version=1)
    buffer = Buffer(data=datagram)
    header = pull_quic_header(buffer, host_cid_length=wire.CID_LENGTH)
    _header, plain, _number = keys.decrypt_packet(datagram[: header.packet_length], buffer.tell(), 0)
    return plain.rstrip(b"\0")


class ServerDatagrams(_Tunnel):
    """What is sent to a server that has a tunnel, by strangers and by callers who have come some way.

    Nothing of strangers gets in, of callers what is theirs, and the tunnel goes on.
    """

    name = "server"
    quick = 1200
    # As with the client below.
    max_blocks = 5000
    states = STATES

    def __init__(self, rng: Random) -> None:
        """Take a real Initial apart."""
        super().__init__(rng)
        flight = self.world.client_endpoint.connect(SERVER, self.world.now).seal([], self.world.now)[0]
        hello, found = flight[0][0], wire.long_header(flight[0][0])
        assert found is not None
        self._hello = _opened(hello, found.destination, is_client=False)
        #: What the transport parameters in it say, too (RFC 9000 section 7.3).
        self._source = found.source
        self._initials = _Initials(is_client=True)
        self._callers = Callers(rng, self.world, Path(self._temporary.name))
        #: What is fed comes from the present caller, under its keys.
        self._called = False
        roster = Roster([*self.world.members, self._callers.member])
        self.server.configure(self.server._board.listener, roster, self.world.now)
        #: Where to come from, where to, and with which token, after a Retry.
        self._asked: deque[tuple[Address, bytes, bytes]] = deque(maxlen=16)
        self._from: Address | None = None
        self.world.on_stray = self._stray

    def generate(self, mutator: Mutator) -> Input:
        """Return datagrams: mutated ones, Initials under the right keys, garbage for connections, words of a caller."""
        if self._callers.next():
            self.notes[self._callers.state] += 1
        draw = self.rng.random()
        if draw > 0.8:
            items = self._callers.generate()
            if items:
                self._called = True
                return items
        if draw < 0.25:
            return (self._initial(mutator),)
        items = mutator.next()
        if draw < 0.6:
            cid = self.rng.choice(list(self.server._board._by_cid))
            items = tuple(self._to(cid, data) for data in items)
        return items

    def feed(self, items: Input) -> bool:
        """Receive; nothing may come out."""
        self._fed += 1
        address = self._from or (f"203.0.{self._fed >> 6 & 255}.{self._fed & 63}", 1000 + self._fed % 7)
        if self._called:
            address = self._callers.address
        elif not self._fed % 5:
            # Somebody who forges addresses.
            address = self.world.address
        called, self._called, self._from = self._called, False, None
        before = self.server.counters.drops.total()
        # The socket keeps empty ones to itself.
        items = tuple(filter(None, items))
        batch = arrivals(address, *items)
        if len({len(data) for data in items}) == 1:
            batch = [(b"".join(items), len(items[0]), address)]
        frames = self.server.receive(batch, self.world.now)
        assert called or not frames, "a stranger's packet got in"
        self._callers.check(frames)
        if not self._fed % _STEP:
            self._run(_SECONDS)
        if not self._fed % _PAUSE:
            # Half-open connections come to their end, and others begin.
            self._run(DEADLINE)
        if not self._fed % _LOOK:
            assert self.world.client.state == "up", self.world.client.reason
            self._connect()
        return bool(self.server.counters.drops.total() == before)

    def settle(self) -> None:
        """Forget what is only remembered here."""
        self._initials.forget()
        self._callers.forget()
        self._asked.clear()
        super().settle()
        # How many sources are remembered is tested elsewhere.
        self.server._board._admission._by_source.clear()

    def _initial(self, mutator: Mutator) -> bytes:
        rng = self.rng
        cid = original = rng.choice(_CIDS)
        source, token = self._source, b""
        if self._callers.guest is not None and self._callers.state == HALF_OPEN and rng.random() < 0.3:
            self._from = self._callers.address
            cid = original = self._callers.original
            source = self._callers.source
        elif self._asked and rng.random() < 0.3:
            self._from, cid, token = self._asked.popleft()
            original = cid
        plain = self._hello if rng.random() < 0.2 else mutator.mutate(self._hello)
        full = plain.ljust(wire.MIN_INITIAL - _AROUND - len(token), b"\0")
        return self._initials.seal(original, (cid, source, token), full, rng.getrandbits(3))

    @staticmethod
    def _to(cid: bytes, data: bytes) -> bytes:
        """Address a datagram to a connection that exists."""
        if data[:1] >= b"\x80":
            return data[:5] + bytes([len(cid)]) + cid + data[6 + (data[5] if len(data) > 5 else 0) :]
        return data[:1] + cid[:8].ljust(8, b"\0") + data[9:]

    def _stray(self, data: bytes, to: Address) -> None:
        header = wire.long_header(data)
        if header is not None and data[0] & 0xF0 == 0xF0 and header.version == 1:
            self.notes["retries"] += 1
            self._asked.append((to, header.source, data[7 + len(header.destination) + len(header.source) : -16]))


class ClientDatagrams(_Tunnel):
    """What strangers send to a client, while it is connected and while it tries to be."""

    name = "client"
    quick = 1200
    # Python itself remembers names of attributes, some more for each connection that is made.
    max_blocks = 5000

    def __init__(self, rng: Random) -> None:
        """Take a real server's first answer apart."""
        super().__init__(rng)
        now = self.world.now
        caller = self.world.client_endpoint.connect(SERVER, now)
        [(hello, _to), *_more] = caller.seal([], now)[0]
        found = wire.long_header(hello)
        assert found is not None
        callee = ServerEndpoint(identity=self.world.identity, tun_mtu=1300).accept(found.destination, now)
        callee.open(arrivals(("198.51.100.9", 9), hello), now)
        self._hello = _opened(callee.seal([], now)[0][0][0], found.destination, is_client=True)
        self._initials = _Initials(is_client=False)

    def generate(self, mutator: Mutator) -> Input:
        """Return datagrams: mutated ones, those that need no secret, garbage for the connection."""
        link = self.client_link
        if link is None or self.rng.random() < 0.3:
            return mutator.next()
        connection = link._connection
        own, original = connection.host_cid, connection.original_destination_connection_id
        if connection._retry_count:
            original = connection._peer_cid.cid
        rng, draw = self.rng, self.rng.random()
        if draw < 0.1:
            return (self._retry(mutator, own, original),)
        if draw < 0.2:
            versions = [rng.choice([0, 1, 2, rng.getrandbits(32)]) for _ in range(rng.randrange(4))]
            data = encode_quic_version_negotiation(
                source_cid=original, destination_cid=own, supported_versions=versions
            )
            return (mutator.mutate(data) if rng.random() < 0.5 else data,)
        if draw < 0.6:
            plain = self._hello if rng.random() < 0.2 else mutator.mutate(self._hello)
            return (self._initials.seal(original, (own, rng.choice(_CIDS), b""), plain, rng.getrandbits(3)),)
        return tuple(ServerDatagrams._to(own, data) for data in mutator.next())

    def feed(self, items: Input) -> bool:
        """Receive; nothing may come out."""
        self._fed += 1
        before = self._taken()
        frames = self.world.client.receive(arrivals(SERVER, *filter(None, items)), self.world.now)
        assert not frames, "a stranger's packet got in"
        accepted = self._taken() != before
        if not self._fed % _STEP:
            self._run(_SECONDS)
        if not self._fed % (_LOOK // 4):
            # By turns it is connected, and calls into nothing, where anybody may answer.
            self.world.up.cut = not self.world.up.cut
            if not self.world.up.cut:
                self._connect()
        world = self.world
        if world.up.cut and not self._fed % _ATTEMPT:
            world.client.renew(world.client_endpoint.connect, world.now, redial=False)
        if world.up.cut and world.client.state != "connecting":
            world.run_until(lambda: world.client.state == "connecting", 120.0)
            self._tidy()
        return accepted

    def settle(self) -> None:
        """Connect it first."""
        self.world.up.cut = False
        self._initials.forget()
        super().settle()

    def _taken(self) -> tuple[object, ...]:
        """Return what changes when the client believes a datagram."""
        link = self.client_link
        if link is None:
            return ()
        connection = link._connection
        numbers = [space.largest_received_packet for space in connection._spaces.values()]
        return id(link), link._closed, connection._retry_count, connection._close_event is None, *numbers

    def _retry(self, mutator: Mutator, own: bytes, original: bytes) -> bytes:
        rng = self.rng
        token = rng.randbytes(rng.choice([0, 1, 30, 62, 64, 500, 1100, 1180, 1300]))
        data: bytes = encode_quic_retry(
            version=1,
            source_cid=rng.randbytes(rng.choice([0, 1, 8, 8, 8, 20])),
            destination_cid=own,
            original_destination_cid=original,
            retry_token=token,
        )
        return mutator.mutate(data) if rng.random() < 0.5 else data


def _of_this_client(payload: bytes) -> bytes:
    """Return a payload from 10.200.4.1 or 172.16.4.0/30 with the addresses of the simulation."""
    return payload.replace(b"\x0a\xc8\x04\1", b"\x0a\xc8\1\1").replace(b"\xac\x10\x04", b"\xac\x10\1")


class Frames(_Tunnel):
    """What those send who have the keys: any frames, and in DATAGRAM frames any payloads; both ways by turns."""

    name = "frames"
    quick = 400
    max_blocks = 5000
    longest = 1200
    #: Share of inputs that are anything but DATAGRAM frames: most of them end the connection, which costs a handshake.
    _WILD = 0.01

    def __init__(self, rng: Random) -> None:
        """Take payloads from another decoder's samples."""
        super().__init__(rng)
        payloads = [tuple(map(_of_this_client, sample)) for sample in corpus.load("payloads").values()]
        self._payloads = Mutator(rng, payloads, longest=self.longest)

    def generate(self, mutator: Mutator) -> Input:
        """Return the contents of packets."""
        if self.rng.random() < self._WILD:
            return mutator.next()
        payloads = self._payloads.next()
        if not self._upwards(self._fed + 1):
            payloads = tuple(payload[:1] + turned(payload[1:]) for payload in payloads if len(payload) > 1)
        return tuple(map(self._datagram, payloads))

    def feed(self, items: Input) -> bool:
        """Seal the contents with the real keys; what comes out has the addresses that it must have."""
        self._fed += 1
        world, upwards = self.world, self._upwards(self._fed)
        link = self._links()[0 if upwards else 1]
        connection = link._connection
        contents = [content[: self.longest] or b"\1" for content in items or (b"",)]
        sealed = seal.seal(contents, private.send_state(connection))
        private.note_sealed(connection, link._recovery, list(map(len, sealed)), world.now)
        if upwards:
            frames = self.server.receive(arrivals(world.address, *sealed), world.now)
        else:
            frames = world.client.receive(arrivals(SERVER, *sealed), world.now)
        self._check(frames, upwards=upwards)
        self._run(_SECONDS)
        if any(end is None or end._closed for end in self._links()) or world.client.state != "up":
            self.notes["connections ended"] += 1
            self._connect()
        elif not self._fed % _LOOK:
            self._connect()
        return bool(frames)

    @staticmethod
    def _upwards(number: int) -> bool:
        return bool(number % 3)

    def _datagram(self, payload: bytes) -> bytes:
        return b"\x30" + payload if self.rng.random() < 0.5 else b"\x31" + encode_varint(len(payload)) + payload

    @staticmethod
    def _check(frames: list[Frame], *, upwards: bool) -> None:
        for frame in frames:
            data = b"".join(frame)
            assert inner.fault(data, 0) is None
            source, destination = (data[12:16], data[16:20]) if data[0] >> 4 == 4 else (data[8:24], data[24:40])
            own = [any(ip_address(each) in prefix for prefix in PREFIXES) for each in (source, destination)]
            assert own[0] if upwards else own == [False, True], f"{source.hex()} to {destination.hex()}"
