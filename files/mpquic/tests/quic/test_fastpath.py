# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast way against aioquic's own: the same traffic, whoever seals and whoever opens."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aioquic.tls import CipherSuite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpquic.core.connection import ProbeAcked
from mpquic.quic import link as link_module
from mpquic.quic import private, seal
from pairs import Pair
from simulation import arrivals

if TYPE_CHECKING:
    from pathlib import Path

    from pairs import End

BOTH = [(True, True), (True, False), (False, True), (False, False)]


def payloads(start: int, count: int, size: int = 1300) -> list[bytes]:
    return [b"\0" + number.to_bytes(4, "big") + bytes(size - 5) for number in range(start, start + count)]


def paced(pair: Pair, end: End, batch: list[bytes]) -> None:
    """Send as the pacer of aioquic allows, if it is asked."""
    while batch:
        datagrams, taken = end.link.seal(batch, pair.now)
        end.wire += [data for data, _to in datagrams]
        batch = batch[taken:]
        pair.settle(1)


def in_flight(end: End) -> int:
    return private.packet_space(end.link._connection).ack_eliciting_in_flight


@pytest.mark.parametrize("suite", [CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256])
@pytest.mark.parametrize("fast", BOTH)
def test_every_size_both_ways(tmp_path: Path, fast: tuple[bool, bool], suite: CipherSuite) -> None:
    pair = Pair(tmp_path, fast=fast, suite=suite)
    sizes = [*range(1, 80), *range(1000, pair.client.link.max_payload + 1, 7), pair.client.link.max_payload]
    sent = [bytes([size & 0xFF]) * size for size in sizes]
    for end in pair.ends:
        for start in range(0, len(sent), 17):
            pair.send(end, sent[start : start + 17])
    assert max(map(len, pair.client.wire)) <= pair.client.link.datagram_size
    pair.settle()
    for end in pair.ends:
        assert end.got == sent
        assert end.link.clock.outstanding == 0
        assert in_flight(end) == 0


def test_small_payloads_share_packets(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    sent = payloads(0, 64, size=65)
    pair.send(pair.client, sent)
    assert len(pair.client.wire) == 4
    pair.deliver(pair.client)
    assert pair.server.got == sent


Step = tuple[str, int, int]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fast=st.sampled_from(BOTH[:3]),
    seed=st.integers(0, 2**32),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["send", "send", "send", "deliver", "deliver", "drop", "update", "tick"]),
            st.integers(0, 1),
            st.integers(1, 40),
        ),
        min_size=5,
        max_size=40,
    ),
)
def test_any_traffic(tmp_path: Path, fast: tuple[bool, bool], seed: int, steps: list[Step]) -> None:
    """Loss, reordering, duplicates and key updates in any order; what is delivered once counts once, on any end.

    aioquic alone refuses packets that are more than 127 late or under the keys before: such an end may lose those.
    """
    pair = Pair(tmp_path, fast=fast)
    shuffle = random.Random(seed)
    number = 0
    sent: Counter[bytes] = Counter()
    dropped = [0, 0]
    for action, who, amount in steps:
        end = pair.ends[who]
        if action == "send":
            batch = [
                b"\0" + bytes([who]) + n.to_bytes(4, "big") + bytes(shuffle.choice([0, 50, 700, 1290]))
                for n in range(number, number + amount)
            ]
            number += amount
            sent.update(batch)
            pair.send(end, batch)
        elif action == "deliver":
            shuffle.shuffle(end.wire)
            now, end.wire = end.wire[:amount], end.wire[amount:]
            pair.deliver(end, now)
            # Some come twice, and later.
            end.wire += now[: amount // 4]
        elif action == "drop":
            shuffle.shuffle(end.wire)
            dropped[who] += len(end.wire[:amount])
            end.wire = end.wire[amount:]
        elif action == "update":
            phases = end.link._phases
            largest = private.packet_space(end.link._connection).largest_acked_packet
            if phases is not None and phases.settled(largest):
                end.link.update_keys()
        else:
            pair.tick(amount / 1000)
    pair.settle()
    pair.tick(1.0)
    pair.settle()
    for who, end in enumerate(pair.ends):
        assert not end.closed
        assert in_flight(end) == 0
        assert end.link.clock.outstanding == 0
        counts = Counter(pair.other(end).got)
        assert max(counts.values(), default=1) == 1, "delivered twice"
        assert not counts - sent, "never sent"
        ours = [payload for payload in sent if payload[1] == who]
        if fast[1 - who] and not dropped[who]:
            assert set(counts) == set(ours), "what arrived was lost"


@pytest.mark.parametrize("fast", [(True, True), (False, True)])
def test_reordering_of_thousands(tmp_path: Path, fast: tuple[bool, bool]) -> None:
    pair = Pair(tmp_path, fast=fast)
    sent = payloads(0, 5000)
    for start in range(0, 5000, 50):
        pair.send(pair.client, sent[start : start + 50])
    late = pair.client.wire[::-1]
    pair.deliver(pair.client, late)
    assert sorted(pair.server.got) == sent
    pair.deliver(pair.client, late)
    assert len(pair.server.got) == 5000, "duplicates"


@pytest.mark.parametrize("first", [0, 1])
def test_key_updates_at_every_phase_with_packets_in_flight(tmp_path: Path, first: int) -> None:
    """Whoever updates: packets under the old keys arrive late, between and after those under the new."""
    pair = Pair(tmp_path)
    number = 0
    for phase in range(8):
        initiator = pair.ends[(phase + first) % 2]
        peer = pair.other(initiator)
        early = payloads(number, 100)
        number += 100
        pair.send(peer, early)
        pair.send(initiator, early)
        old_peer, peer.wire = peer.wire, []
        old_own, initiator.wire = initiator.wire, []
        initiator.link.update_keys()
        new = payloads(number, 100)
        number += 100
        pair.send(initiator, new)
        pair.deliver(initiator)
        assert peer.got == new
        pair.send(peer, new)
        pair.deliver(peer)
        assert initiator.got == new
        # The stragglers of both, in reverse.
        pair.deliver(peer, old_peer[::-1])
        pair.deliver(initiator, old_own[::-1])
        for end in pair.ends:
            assert sorted(end.got) == sorted(early + new)
            end.got.clear()
            assert end.link.key_updates == phase + 1
        pair.settle()
        # Old keys go after three probe timeouts, with the next packet under the new ones.
        pair.now += 1.0
        for end in pair.ends:
            pair.send(end, payloads(number, 1))
            number += 1
        pair.settle()
        for end in pair.ends:
            end.got.clear()
            assert end.link._phases is not None
            assert not end.link._phases.changing
        pair.deliver(peer, old_peer)
        assert not initiator.got


def test_keys_are_updated_by_count_and_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "KEY_UPDATE_PACKETS", 200)
    pair = Pair(tmp_path)
    for number in range(40):
        for end in pair.ends:
            pair.send(end, payloads(number * 50, 50))
        pair.settle(3)
        pair.now += 0.1
    assert pair.client.link.key_updates == pair.server.link.key_updates >= 4
    assert len(pair.client.got) == len(pair.server.got) == 2000
    monkeypatch.setattr(link_module, "KEY_UPDATE_PACKETS", 1 << 20)
    before = pair.client.link.key_updates
    pair.send(pair.client, payloads(0, 1))
    pair.settle()
    assert pair.client.link.key_updates == before
    for _ in range(95):
        pair.now += 10.0
        pair.send(pair.client, payloads(0, 1))
        pair.settle(3)
    assert pair.client.link.key_updates == pair.server.link.key_updates == before + 1


def test_one_sided_traffic_does_not_stop_key_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender of a one-way flow sees nothing but acknowledgements under the new keys."""
    monkeypatch.setattr(link_module, "KEY_UPDATE_PACKETS", 100)
    pair = Pair(tmp_path)
    for number in range(30):
        pair.send(pair.server, payloads(number * 50, 50))
        pair.settle(3)
        pair.now += 0.2
    assert pair.server.link.key_updates >= 5
    assert len(pair.client.got) == 1500


def test_losses_are_counted_one_by_one(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    clock = pair.client.link.clock
    lost = []
    clock_lost = type(clock).lost

    class Spy(type(clock)):  # type: ignore[misc]
        __slots__ = ()

        def lost(self, count: int) -> None:
            lost.append(count)
            clock_lost(self, count)

    clock.__class__ = Spy
    shuffle = random.Random(7)
    gone = 0
    for start in range(0, 2000, 40):
        pair.send(pair.client, payloads(start, 40))
        kept = [data for data in pair.client.wire if shuffle.random() > 0.05]
        gone += len(pair.client.wire) - len(kept)
        pair.client.wire = []
        pair.deliver(pair.client, kept)
        pair.settle(2)
    pair.send(pair.client, payloads(5000, 40))
    pair.settle()
    assert sum(lost) == gone > 50
    assert len(pair.server.got) == 2040 - gone
    assert clock.outstanding == 0


def test_round_trips_are_as_aioquic_measures_them(tmp_path: Path) -> None:
    samples = {}
    for fast in ((True, True), (False, False)):
        pair = Pair(tmp_path, fast=fast)
        for end in pair.ends:
            private.set_ack_delay(end.link._connection, 0.005)
        for number in range(20):
            pair.send(pair.client, payloads(number, 3))
            pair.now += 0.013 + number / 1000
            pair.deliver(pair.client)
            pair.tick(0.005)
            pair.now += 0.017
            pair.deliver(pair.server)
        loss = pair.client.link._connection._loss
        samples[fast] = (pair.client.link.clock.srtt, loss._rtt_smoothed, loss._rtt_variance, loss._rtt_min)
    assert samples[True, True] == pytest.approx(samples[False, False])


def test_a_lost_tail_arms_the_probe_timer(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.send(pair.client, payloads(0, 10))
    pair.client.wire.clear()
    deadline = pair.client.link.deadline()
    assert pair.now < deadline < pair.now + 1.0
    pair.now = deadline
    pair.client.link.fire(pair.now)
    pair.send(pair.client, [])
    assert pair.client.wire, "no probe"
    pair.settle()
    assert pair.client.link.clock.outstanding == 0


def test_forgeries_change_nothing(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    shuffle = random.Random(3)
    pair.send(pair.client, payloads(0, 200))
    genuine, pair.client.wire = pair.client.wire, []
    forged = []
    for data in genuine:
        broken = bytearray(data)
        for _ in range(shuffle.randint(1, 3)):
            broken[shuffle.randrange(len(broken))] ^= 1 << shuffle.randrange(8)
        forged.append(bytes(broken[: shuffle.choice([len(broken), shuffle.randrange(len(broken))])]))
    pair.deliver(pair.client, forged)
    assert pair.server.got == []
    pair.deliver(pair.client, genuine)
    assert pair.server.got == payloads(0, 200)
    pair.settle()
    assert not pair.server.closed


def test_receive_offload_buffers(tmp_path: Path) -> None:
    """Datagrams of one size in one buffer, a last one that is shorter or too short to be anything."""
    pair = Pair(tmp_path)
    sent = [*payloads(0, 20), b"\0" + bytes(40)]
    pair.send(pair.client, sent)
    data = b"".join(pair.client.wire)
    size = len(pair.client.wire[0])
    assert pair.server.link.open([(data, size, pair.client.address)], pair.now) == sent
    pair.client.wire.clear()
    pair.send(pair.client, payloads(100, 3))
    data = b"".join(pair.client.wire) + b"\x40junk"
    assert pair.server.link.open([(data, size, pair.client.address)], pair.now) == payloads(100, 3)


def test_the_server_follows_a_client_that_moves(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.client.address = ("203.0.113.77", 999)
    for number in range(10):
        pair.send(pair.client, payloads(number * 10, 10))
        pair.settle(2)
    assert pair.server.got == payloads(0, 100)
    assert pair.server.link.peer == pair.client.address
    pair.send(pair.server, payloads(0, 100))
    pair.settle()
    assert pair.client.got == payloads(0, 100)


def test_a_change_of_connection_id_is_noticed(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    before = pair.client.link._connection._peer_cid.cid
    pair.client.link._connection.change_connection_id()
    assert pair.client.link._connection._peer_cid.cid != before
    pair.send(pair.client, payloads(0, 50))
    pair.deliver(pair.client)
    assert pair.server.got == payloads(0, 50)
    assert pair.server.link._connection.host_cid == pair.client.link._connection._peer_cid.cid


def test_idle_timer_runs_from_the_last_packet(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    for _ in range(40):
        pair.now += 1.0
        pair.send(pair.client, payloads(0, 1))
        pair.settle(3)
    assert not pair.client.closed
    pair.now += 31.0
    for end in pair.ends:
        end.link.fire(pair.now)
        assert [event.reason for event in end.closed] == ["Idle timeout"]


def test_a_probe_tells_its_size_and_its_loss_is_no_loss(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    link = pair.client.link
    link.probe(1400)
    link.probe(1452)
    pair.send(pair.client, payloads(0, 2))
    assert [len(data) for data in pair.client.wire[-2:]] == [1400, 1452]
    pair.client.wire.pop()
    pair.settle()
    assert [event.size for event in pair.client.link.events() if isinstance(event, ProbeAcked)] == [1400]
    for number in range(5):
        pair.send(pair.client, payloads(number, 5))
        pair.settle()
    assert link.clock.outstanding == 0
    assert in_flight(pair.client) == 0
    assert link.clock.large_lost == link.clock.lost_total == 0
    assert not [event for event in link.events() if isinstance(event, ProbeAcked)]


def test_lost_large_packets_in_a_row(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    clock = pair.client.link.clock
    for number in range(3):
        pair.send(pair.client, payloads(number, 2))
        pair.client.wire.clear()
        pair.send(pair.client, payloads(number, 1, size=1100) * 4)
        pair.settle(4)
    assert clock.large_lost == 6
    pair.send(pair.client, payloads(0, 1))
    pair.settle()
    assert clock.large_lost == 0


@pytest.mark.parametrize("algorithm", ["cubic", "reno"])
def test_other_controllers_send_by_aioquic_and_open_the_fast_way(tmp_path: Path, algorithm: str) -> None:
    pair = Pair(tmp_path, algorithm=algorithm)
    link = pair.client.link
    datagrams, taken = link.seal(payloads(0, 500), pair.now)
    assert 0 < taken < 500, "no window"
    pair.client.wire = [data for data, _to in datagrams]
    pair.settle()
    assert pair.server.got == payloads(0, taken)


def test_a_close_ends_opening_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.send(pair.client, payloads(0, 10))
    before, pair.client.wire = pair.client.wire, []
    pair.send(pair.client, payloads(10, 10))
    after, pair.client.wire = pair.client.wire, []
    pair.client.link.close("done")
    bye = [data for data, _to in pair.client.link.seal([], pair.now)[0]]
    got = pair.server.link.open(arrivals(pair.client.address, *before, *bye, *after), pair.now)
    assert got == payloads(0, 10)
    assert [event.reason for event in pair.server.closed] == ["done"]


def test_updates_in_quick_succession(tmp_path: Path) -> None:
    """A peer need not wait until we have forgotten its old keys; the phase bit is the same again then."""
    pair = Pair(tmp_path)
    for number in range(12):
        pair.server.link.update_keys()
        pair.send(pair.server, payloads(number * 50, 50))
        pair.settle(2)
    assert pair.client.got == payloads(0, 600)
    assert pair.client.link.key_updates == 12


def test_the_next_update_waits_for_an_answer_and_for_the_old_keys(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    link = pair.client.link
    space = private.packet_space(link._connection)
    phases = link._phases
    assert phases is not None

    def settled() -> bool:
        return phases.settled(space.largest_acked_packet)

    link.update_keys()
    pair.send(pair.client, payloads(0, 1))
    pair.client.wire.clear()
    assert not settled()
    pair.send(pair.client, payloads(0, 1))
    pair.settle(4)
    assert phases.changing
    assert not settled()
    pair.now += 1.0
    # Data alone, without an acknowledgement, is enough to let go of the old keys.
    pair.send(pair.server, payloads(0, 1))
    pair.deliver(pair.server)
    assert not phases.changing
    assert settled()
    assert not phases.settled(phases.first_sent - 1)


def test_duplicates_in_one_buffer(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.send(pair.client, payloads(0, 4))
    first, second, third, fourth = pair.client.wire
    data = b"".join([first, second, second, first, fourth, third, fourth, third])
    got = pair.server.link.open([(data, len(first), pair.client.address)], pair.now)
    assert sorted(got) == payloads(0, 4)


def test_forged_numbers_do_not_end_the_old_keys(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    early = payloads(0, 100)
    pair.send(pair.client, early)
    late, pair.client.wire = pair.client.wire, []
    pair.client.link.update_keys()
    pair.send(pair.client, [])
    pair.deliver(pair.client)
    pair.send(pair.client, payloads(100, 1))
    genuine = pair.client.wire[0]
    pair.deliver(pair.client)
    number = private.packet_space(pair.server.link._connection).largest_received_packet
    assert number == private.next_packet_number(pair.client.link._connection) - 1
    # The mask stays, so the number can be chosen: far below the packets that are still on their way.
    forged = bytearray(genuine)
    for at, bits in zip(range(9, 12), (number ^ max(0, number - 120)).to_bytes(3, "big"), strict=True):
        forged[at] ^= bits
    for address in (("203.0.113.5", 5), pair.client.address):
        assert pair.server.link.open(arrivals(address, bytes(forged)), pair.now) == []
    pair.server.got.clear()
    pair.deliver(pair.client, late)
    assert pair.server.got == early


def test_reserved_bits_end_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path)
    pair.client.link._sealer = seal.Sealer()
    monkeypatch.setattr(seal, "FIRST", seal.FIRST | 0x08)
    pair.send(pair.client, payloads(0, 1))
    pair.deliver(pair.client)
    assert pair.server.got == []
    assert [event.reason for event in pair.server.closed] == ["Reserved bits must be zero"]


def test_sending_restarts_the_idle_timer_once(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.now += 20.0
    pair.send(pair.client, payloads(0, 1))
    pair.now += 10.0
    pair.send(pair.client, payloads(0, 1))
    pair.client.wire.clear()
    for seconds, ends in ((15.0, 0), (6.0, 1)):
        pair.now += seconds
        pair.client.link.fire(pair.now)
        assert len(pair.client.closed) == ends


def test_the_spin_bit_spins_as_aioquic_spins_it(tmp_path: Path) -> None:
    spins = {}
    for fast in ((True, True), (False, False)):
        pair = Pair(tmp_path, fast=fast)
        spins[fast] = []
        for number in range(12):
            end = pair.ends[number % 2]
            pair.send(end, payloads(number, 2))
            pair.deliver(end)
            spins[fast] += [other.link._connection._spin_bit for other in pair.ends]
    assert spins[True, True] == spins[False, False]
    assert len(set(spins[True, True])) == 2


def test_acknowledgement_ranges_are_bounded(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.send(pair.client, payloads(0, 400))
    pair.deliver(pair.client, pair.client.wire[::2])
    assert len(pair.server.got) == 200
    connection = pair.server.link._connection
    assert len(private.packet_space(connection).ack_queue) <= private.ACK_RANGES
    assert private.ack_is_due(connection, pair.now), "ranges are about to be dropped"


def test_bytes_are_counted_and_limited_on_an_unproved_path(tmp_path: Path) -> None:
    """RFC 9000 section 8.1: three times what came from there, until the client answers from its new address."""
    pair = Pair(tmp_path)
    path = pair.client.link._connection._network_paths[0]
    before = path.bytes_sent
    pair.send(pair.client, payloads(0, 7))
    assert path.bytes_sent - before == sum(map(len, pair.client.wire))
    pair.deliver(pair.client)
    pair.client.address = ("203.0.113.77", 999)
    pair.send(pair.client, payloads(0, 1, size=100))
    pair.deliver(pair.client)
    received = len(pair.client.wire)
    datagrams, _taken = pair.server.link.seal(payloads(0, 64), pair.now)
    sent = sum(len(data) for data, to in datagrams if to == pair.client.address)
    assert received == 0
    assert 0 < sent <= 3 * 160


def test_acknowledgements_in_any_order(tmp_path: Path) -> None:
    """What aioquic sent after sealed packets stays in order in its own books."""
    pair = Pair(tmp_path)
    link = pair.client.link
    for number in range(20):
        pair.send(pair.client, payloads(number, 3))
        data, pair.client.wire = pair.client.wire, []
        link.ping()
        pair.send(pair.client, [])
        held, pair.client.wire = pair.client.wire, []
        link.ping()
        pair.send(pair.client, [])
        pair.client.wire.clear()
        pair.deliver(pair.client, data)
        pair.tick(0.006)
        pair.deliver(pair.server)
        assert in_flight(pair.client) == 2
        pair.deliver(pair.client, held)
        pair.settle(4)
        pair.tick(0.1)
        pair.settle(4)
        assert in_flight(pair.client) == link.clock.outstanding == 0
        assert not [n for n, p in private.packet_space(link._connection).sent_packets.items() if p.is_ack_eliciting]


def test_loss_by_time(tmp_path: Path) -> None:
    """RFC 9002 section 6.1.2: after nine eighths of a round trip, without anything else that is sent."""
    pair = Pair(tmp_path)
    clock = pair.client.link.clock
    start = pair.now
    pair.send(pair.client, payloads(0, 2))
    pair.client.wire = pair.client.wire[1:]
    pair.now += 0.01
    pair.deliver(pair.client)
    pair.tick(0.006)
    pair.deliver(pair.server)
    assert clock.outstanding == 1
    due = pair.client.link.deadline()
    assert due == pytest.approx(start + 9 / 8 * max(clock.srtt or 0.0, clock.latest), abs=1e-4)
    pair.now = due
    pair.client.link.fire(pair.now)
    assert clock.outstanding == 0


def test_data_is_acknowledged_together(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.send(pair.client, payloads(0, 64))
    pair.deliver(pair.client)
    assert pair.server.link.seal([], pair.now) == ([], 0)
    assert pair.server.link.deadline() == pytest.approx(pair.now + link_module.ACK_DELAY, abs=1e-4)


@pytest.mark.parametrize("who", [0, 1])
def test_a_duplicate_of_the_first_packet_under_new_keys(tmp_path: Path, who: int) -> None:
    """That packet goes aioquic's way, and its copy the fast way."""
    pair = Pair(tmp_path, fast=(who == 1, who == 0))
    end = pair.ends[who]
    pair.send(end, payloads(0, 1))
    pair.deliver(end)
    end.link._connection.request_key_update()
    pair.send(end, payloads(1, 1))
    data, end.wire = end.wire, []
    for _ in range(3):
        pair.deliver(end, data)
    assert pair.other(end).got == payloads(0, 2)


def test_a_receiver_keeps_no_record_of_its_acknowledgements(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    most = 0
    for number in range(1000):
        pair.send(pair.client, payloads(number, 1))
        pair.settle(2)
        most = max(most, len(private.packet_space(pair.server.link._connection).sent_packets))
    assert most <= 2 * link_module.ACKS_UNANSWERED
    assert len(pair.server.got) == 1000


@pytest.mark.parametrize("algorithm", ["tunnel", "cubic", "reno"])
def test_every_controller_updates_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    monkeypatch.setattr(link_module, "KEY_UPDATE_PACKETS", 100)
    pair = Pair(tmp_path, algorithm=algorithm)
    for number in range(400):
        paced(pair, pair.client, payloads(number, 1))
        if number % 10 == 0:
            pair.now += 0.2
    pair.settle()
    assert pair.client.link.key_updates >= 3
    assert pair.server.got == payloads(0, 400)


def test_an_update_waits_until_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9001 section 6.1: not before the peer has answered under the present keys."""
    pair = Pair(tmp_path)
    monkeypatch.setattr(link_module, "KEY_UPDATE_PACKETS", 10)
    for number in range(20):
        pair.send(pair.client, payloads(number * 10, 10))
    assert pair.client.link.key_updates == 0
    pair.settle()
    pair.send(pair.client, payloads(0, 1))
    for number in range(20):
        pair.send(pair.client, payloads(number * 10, 10))
    assert pair.client.link.key_updates == 1


@pytest.mark.parametrize("algorithm", ["tunnel", "cubic", "reno"])
def test_a_lost_packet_is_no_silence(tmp_path: Path, algorithm: str) -> None:
    pair = Pair(tmp_path, algorithm=algorithm)
    clock = pair.server.link.clock
    paced(pair, pair.server, payloads(0, 1, size=100))
    pair.settle()
    pair.send(pair.server, payloads(1, 1, size=100))
    pair.server.wire.clear()
    # The answer to the third of these is what gives it up, and the last thing that happens.
    for number in range(3):
        paced(pair, pair.server, payloads(number, 1, size=100))
    pair.settle()
    assert clock.lost_total == 1
    assert clock.outstanding == 0
    assert clock.pending_since is None


def test_what_comes_out_of_order_is_acknowledged(tmp_path: Path) -> None:
    """Two paths of unequal length: every other packet late, more gaps than one ACK frame of aioquic's would name."""
    pair = Pair(tmp_path)
    clock = pair.client.link.clock
    for number in range(10):
        pair.send(pair.client, payloads(number * 240, 240))
        sent, pair.client.wire = pair.client.wire, []
        pair.deliver(pair.client, sent[::2])
        pair.tick(0.001)
        pair.deliver(pair.server)
        pair.deliver(pair.client, sent[1::2])
        pair.settle(4)
    assert len(pair.server.got) == 2400
    assert clock.lost_total == 0
    assert clock.acked_total >= 2400


def test_a_late_probe_counts(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    link = pair.client.link
    link.probe(1400)
    pair.send(pair.client, [])
    late, pair.client.wire = pair.client.wire, []
    for number in range(6):
        pair.send(pair.client, payloads(number, 1))
    pair.settle()
    pair.deliver(pair.client, late)
    pair.settle()
    assert [event.size for event in link.events() if isinstance(event, ProbeAcked)] == [1400]


def test_a_frame_longer_than_its_packet_ends_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path)
    pair.client.link._sealer = seal.Sealer()
    monkeypatch.setattr(seal, "plaintexts", lambda _payloads, _room: [b"\x31\x40\xffshort"])
    pair.send(pair.client, payloads(0, 1))
    pair.deliver(pair.client)
    assert pair.server.got == []
    assert pair.server.closed


def test_a_window_put_in_late_knows_what_was_acknowledged(tmp_path: Path) -> None:
    """After a Retry there are new packet number spaces."""
    pair = Pair(tmp_path, fast=(True, False))
    pair.send(pair.client, payloads(0, 5))
    copies = list(pair.client.wire)
    pair.deliver(pair.client)
    link = pair.server.link
    assert private.use_window(link._connection, link._window)
    pair.deliver(pair.client, copies)
    assert pair.server.got == payloads(0, 5)


@pytest.mark.parametrize("length", [1, 4, 16, 20])
def test_ids_of_other_lengths(tmp_path: Path, length: int) -> None:
    """A foreign client may choose its own; the server's packets have room for what is left."""
    pair = Pair(tmp_path, fast=(False, True), client_ids=length)
    assert pair.server.link.max_payload == pair.server.link.datagram_size - 30 - max(0, length - 8)
    sent = payloads(0, 100, size=pair.server.link.max_payload)
    for end in pair.ends:
        pair.send(end, sent)
    assert max(map(len, pair.server.wire)) <= pair.server.link.datagram_size
    pair.settle()
    for end in pair.ends:
        assert end.got == sent
        assert not end.closed
