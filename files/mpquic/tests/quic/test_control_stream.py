# SPDX-License-Identifier: GPL-3.0-or-later
"""The control stream: in order and whole on any wire, and nothing beside it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from mpquic.core import wire
from mpquic.core.connection import Closed, ControlData, Established
from mpquic.quic.endpoint import MAX_CONTROL_DATA
from pairs import Pair
from parties import CLIENT, certified, ends
from simulation import SERVER, arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from pairs import End

BESIDE = "the peer opened a stream beside the control stream"
TOO_MUCH = "the peer sent more on the control stream than it may"


def said(end: End) -> bytes:
    """Return what came on the control stream so far."""
    end.events += end.link.events()
    return b"".join(event.data for event in end.events if isinstance(event, ControlData))


def payloads(count: int) -> list[bytes]:
    return [b"\0" + number.to_bytes(4, "big") + bytes(1200) for number in range(count)]


@pytest.mark.parametrize("algorithm", ["tunnel", "cubic", "reno"])
def test_both_ends_talk(tmp_path: Path, algorithm: str) -> None:
    pair = Pair(tmp_path, algorithm=algorithm)
    pair.client.link.control(b"hello")
    pair.client.link.control(b", register")
    pair.send(pair.client, [])
    assert pair.client.wire, "does not leave with the next seal()"
    pair.settle(1)
    assert said(pair.server) == b"hello, register"
    pair.server.link.control(b"registered")
    pair.settle(2)
    assert said(pair.client) == b"registered"
    pair.client.link.control(b"confirm")
    pair.settle(2)
    assert said(pair.server) == b"hello, registerconfirm"


def test_it_leaves_with_packets_of_the_fast_way(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.client.link.control(b"among packets")
    pair.send(pair.client, payloads(20))
    pair.deliver(pair.client)
    assert pair.server.got == payloads(20)
    assert said(pair.server) == b"among packets"


def test_a_server_may_speak_first_and_is_heard_when_the_stream_is_open(tmp_path: Path) -> None:
    """RFC 9000 section 19.8: a stream that its client has not opened takes nothing."""
    pair = Pair(tmp_path)
    pair.server.link.control(b"no ")
    pair.server.link.control(b"thanks")
    pair.settle(3)
    assert said(pair.client) == b""
    pair.client.link.control(b"hello")
    pair.settle(3)
    assert said(pair.client) == b"no thanks"
    assert said(pair.server) == b"hello"


@pytest.mark.parametrize("algorithm", ["tunnel", "cubic"])
@pytest.mark.parametrize("loss", [0.05, 0.3])
def test_on_a_wire_that_loses(tmp_path: Path, loss: float, algorithm: str) -> None:
    """With data of the tunnel in between, whose losses are another ledger's."""
    pair = Pair(tmp_path, algorithm=algorithm)
    chance = random.Random(5)
    words: dict[int, bytes] = {0: b"", 1: b""}
    for number in range(60):
        for who, end in enumerate(pair.ends):
            if number % 3 == 0:
                word = f"{who} says {number}. ".encode() * chance.randint(1, 60)
                words[who] += word
                end.link.control(word)
            datagrams, _taken = end.link.seal(payloads(chance.randint(0, 8)), pair.now)
            end.wire += [data for data, _to in datagrams if chance.random() >= loss]
        for end in pair.ends:
            pair.deliver(end)
        pair.tick(0.02)
        for end in pair.ends:
            end.wire = [data for data in end.wire if chance.random() >= loss]
    for _ in range(40):
        pair.tick(0.1)
        pair.settle(1)
    assert said(pair.server) == words[0]
    assert said(pair.client) == words[1]
    assert not pair.client.closed
    assert not pair.server.closed
    assert pair.client.link.clock.outstanding == pair.server.link.clock.outstanding == 0


def test_all_that_may_be_said_is_heard(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    for end in pair.ends:
        end.link.control(bytes(MAX_CONTROL_DATA))
    pair.settle(40)
    for end in pair.ends:
        assert len(said(end)) == MAX_CONTROL_DATA
        assert not end.closed


def test_an_honest_end_never_says_more(tmp_path: Path) -> None:
    """What one end may say does not grow as the other listens."""
    pair = Pair(tmp_path)
    for _ in range(5):
        for end in pair.ends:
            end.link.control(bytes(MAX_CONTROL_DATA // 2))
        pair.settle(20)
    for end in pair.ends:
        assert len(said(end)) == MAX_CONTROL_DATA
        assert not end.closed
        assert end.link._connection._remote_max_data == MAX_CONTROL_DATA


# --- abuse -----------------------------------------------------------------------------------------------------------


def _greedy(end: End) -> None:
    """Forget every limit that the other end has set."""
    connection = end.link._connection
    connection._remote_max_data = connection._remote_max_streams_bidi = connection._remote_max_streams_uni = 1 << 40
    for name in ("uni", "bidi_local", "bidi_remote"):
        setattr(connection, f"_remote_max_stream_data_{name}", 1 << 40)
    for stream in connection._streams.values():
        stream.max_stream_data_remote = 1 << 40


def _abused(pair: Pair, victim: End) -> Closed:
    """Return why the victim has had enough, and see that nothing more gets through."""
    pair.settle(60)
    assert len(victim.closed) == 1
    before = len(victim.events)
    pair.other(victim).link.control(b"more")
    pair.send(pair.other(victim), [])
    pair.settle(2)
    assert len(victim.events + victim.link.events()) == before
    return victim.closed[0]


@pytest.mark.parametrize("who", [0, 1])
def test_more_than_may_be_said_ends_the_connection(tmp_path: Path, who: int) -> None:
    pair = Pair(tmp_path)
    pair.client.link.control(b"open")
    pair.settle(2)
    end = pair.ends[who]
    _greedy(end)
    end.link.control(bytes(MAX_CONTROL_DATA + 1))
    victim = pair.other(end)
    assert _abused(pair, victim) == Closed(TOO_MUCH, by_peer=False)
    assert len(said(victim)) <= MAX_CONTROL_DATA
    assert [closed.by_peer for closed in end.closed] == [True]


@pytest.mark.parametrize(
    ("who", "stream"),
    [(0, 4), (0, 2), (1, 1), (1, 3), (1, 5)],
    ids=["second", "of one direction", "of the server", "of one direction of the server", "second of the server"],
)
def test_another_stream_ends_the_connection(tmp_path: Path, who: int, stream: int) -> None:
    pair = Pair(tmp_path)
    end = pair.ends[who]
    _greedy(end)
    end.link._connection.send_stream_data(stream, b"psst")
    end.link.ping()
    victim = pair.other(end)
    assert _abused(pair, victim) == Closed(BESIDE, by_peer=False)
    assert said(victim) == b""


@pytest.mark.parametrize("who", [0, 1])
def test_the_stream_must_not_end(tmp_path: Path, who: int) -> None:
    """Nor could another one take its place."""
    pair = Pair(tmp_path)
    pair.client.link.control(b"open")
    pair.settle(2)
    end, victim = pair.ends[who], pair.ends[1 - who]
    end.link._connection.send_stream_data(0, b"last", end_stream=True)
    end.link.ping()
    assert _abused(pair, victim) == Closed("the peer ended the control stream", by_peer=False)
    assert said(victim).endswith(b"last")
    assert [(closed.reason, closed.by_peer) for closed in end.closed] == [("control stream ended", True)]


@pytest.mark.parametrize("how", ["reset_stream", "stop_stream"])
@pytest.mark.parametrize("who", [0, 1])
def test_the_stream_must_not_be_given_up(tmp_path: Path, who: int, how: str) -> None:
    pair = Pair(tmp_path)
    pair.client.link.control(b"open")
    pair.settle(2)
    end, victim = pair.ends[who], pair.ends[1 - who]
    getattr(end.link._connection, how)(0, 7)
    end.link.ping()
    assert _abused(pair, victim) == Closed("the peer gave up the control stream", by_peer=False)


def test_what_a_refused_client_says_is_not_heard(tmp_path: Path) -> None:
    """It comes in one datagram with the end of the handshake."""
    client_end, server_end = ends(tmp_path, certified("mpquic-server"), certified("client1"))
    client_end._configuration.max_datagram_frame_size = 1000
    client = client_end.connect(SERVER, 100.0)
    flight = [data for data, _to in client.seal([], 100.0)[0]]
    header = wire.long_header(flight[0])
    assert header is not None
    server = server_end.accept(header.destination, 100.0)
    server.open(arrivals(CLIENT, *flight), 100.0)
    client.open(arrivals(SERVER, *[data for data, _to in server.seal([], 100.0)[0]]), 100.0)
    client.control(b"hello")
    server.open(arrivals(CLIENT, *[data for data, _to in client.seal([], 100.0)[0]]), 100.0)
    events = server.events()
    assert [event.by_peer for event in events if isinstance(event, Closed)] == [False]
    assert not [event for event in events if isinstance(event, ControlData | Established)]


def test_the_limits_are_in_the_transport_parameters(tmp_path: Path) -> None:
    """One bidirectional stream that the client opens, none of the server's (RFC 9000 section 18.2)."""
    pair = Pair(tmp_path)
    for end, bidirectional in ((pair.client, 1), (pair.server, 0)):
        connection = end.link._connection
        assert (connection._remote_max_streams_bidi, connection._remote_max_streams_uni) == (bidirectional, 0)
        assert connection._remote_max_data == MAX_CONTROL_DATA
