# SPDX-License-Identifier: GPL-3.0-or-later
"""The receive window and the ledger against naive models."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mpquic.quic.ledger import LARGE, MEMORY, PROBES, Acked, Ledger
from mpquic.quic.window import SIZE, ReceiveWindow


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * SIZE), st.integers(1, 80)), max_size=30), st.integers(0, 3 * SIZE))
def test_window_is_a_set_with_a_floor(ranges: list[tuple[int, int]], probe: int) -> None:
    window, model, stop = ReceiveWindow(), set[int](), 0
    for start, count in ranges:
        window.add_range(start, start + count)
        model |= set(range(start, start + count))
        stop = max(stop, start + count)
    for number in {probe, stop, stop - 1, stop - SIZE, stop - SIZE - 1, *[start for start, _ in ranges]}:
        if number >= 0:
            assert (number in window) is (number in model or number < stop - SIZE)


def test_a_window_that_jumps() -> None:
    window = ReceiveWindow()
    window.add(0)
    window.add(1 << 40)
    assert 0 in window
    assert (1 << 40) in window
    assert (1 << 40) - 1 not in window


_SIZES = st.lists(st.sampled_from([100, LARGE, LARGE + 1, 1400]), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_ledger_knows_each_packet(data: st.DataObject) -> None:
    ledger = Ledger()
    sizes: dict[int, int] = {}
    times: dict[int, float] = {}
    given_up: set[int] = set()
    number, now, highest = 0, 0.0, -1
    for _ in range(data.draw(st.integers(1, 15))):
        now += 0.01
        if data.draw(st.booleans()) or not number:
            batch = data.draw(_SIZES)
            number += data.draw(st.integers(0, 2))  # packets that aioquic sent between
            ledger.sent(number, batch, now)
            for size in batch:
                sizes[number], times[number] = size, now
                number += 1
        elif data.draw(st.booleans()):
            chosen = sorted(data.draw(st.sets(st.integers(0, number - 1), min_size=1, max_size=number)))
            ranges = _ranges(chosen)
            new = [n for n in chosen if n in sizes]
            highest = max(highest, *chosen)
            acked = ledger.acked(ranges)
            if not new:
                assert acked is None
            else:
                large = any(sizes[n] > LARGE for n in new)
                assert acked == Acked(len(new), new[-1], times[new[-1]], large, ())
            for n in new:
                del sizes[n]
            assert ledger.late(ranges) == len(given_up.intersection(chosen))
            given_up.difference_update(chosen)
        else:
            before = now - data.draw(st.sampled_from([0.0, 0.015, 0.025, 1.0]))
            lost = ledger.lost(highest, 3, before)
            gone = [n for n in sizes if n <= highest and (n <= highest - 3 or times[n] <= before)]
            assert lost.data == len(gone)
            assert lost.large == sum(sizes[n] > LARGE for n in gone)
            for n in gone:
                del sizes[n]
            given_up.update(gone)
            waiting = [times[n] for n in sizes if n <= highest]
            assert lost.next_sent_at == min(waiting, default=None)
        assert bool(ledger) is bool(sizes)


def test_ledger_keeps_probes_apart() -> None:
    ledger = Ledger()
    ledger.sent(0, [1400], 1.0, probe=1400)
    ledger.sent(1, [1300, 1300], 1.0)
    ledger.sent(3, [1452], 1.0, probe=1452)
    assert ledger.acked([range(1)]) == Acked(1, 0, 1.0, large=False, probes=(1400,))
    lost = ledger.lost(10, 3, 0.0)
    assert (lost.data, lost.large, lost.probes) == (2, 2, 1)
    assert not ledger


def test_a_late_probe_has_arrived_all_the_same() -> None:
    ledger = Ledger()
    for number in range(PROBES + 1):
        ledger.sent(2 * number, [1400 + number], 1.0, probe=1400 + number)
        ledger.sent(2 * number + 1, [1300], 1.0)
    assert ledger.lost(2 * PROBES + 9, 3, 0.0).probes == PROBES + 1
    assert ledger.late_probes([range(1), range(4, 5), range(7, 8)]) == [1402]
    assert ledger.late_probes([range(5), range(6, 9)]) == [1401, 1403, 1404]
    assert ledger.late_probes([range(9)]) == []


def test_what_was_given_up_is_remembered_for_a_while() -> None:
    ledger = Ledger()
    ledger.sent(0, [1300], 1.0)
    assert ledger.lost(5, 3, 1.0).data == 1
    ledger.sent(10 * MEMORY, [1300, 1300], 1.0)
    assert ledger.lost(10 * MEMORY + 5, 3, 1.0).data == 2
    assert ledger.late([range(10 * MEMORY)]) == 0
    assert ledger.late([range(11 * MEMORY)]) == 2
    assert ledger.late([range(11 * MEMORY)]) == 0


def _ranges(numbers: list[int]) -> list[range]:
    ranges: list[range] = []
    for number in numbers:
        if ranges and ranges[-1].stop == number:
            ranges[-1] = range(ranges[-1].start, number + 1)
        else:
            ranges.append(range(number, number + 1))
    return ranges
