# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes as expected is taken by a short cut, which must make no difference but in time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import wire
from mpquic.core.multipath.patience import Patience
from mpquic.core.multipath.receiver import Receiver
from mpquic.core.multipath.sequence import NUMBERS, Sequencer
from mpquic.core.multipath.tally import Tally
from spreading import BALANCED, make_path, policy, spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.path import Path

#: A flow's bucket, its class, whether it is ordered, and how many packets of it follow each other.
_RUNS = st.lists(st.tuples(st.integers(7, 9), st.integers(0, 1), st.booleans(), st.integers(1, 3)), max_size=12)
#: Lost, said twice, swapped with the next, or in a later batch: what and where.
_FAULTS = st.lists(
    st.tuples(st.sampled_from(["lose", "double", "swap", "late", "late"]), st.integers(0, 40)), max_size=4
)
_OTHERS = [b"\x05other", b"\x02cut", bytes([wire.CONTEXT_STATUS, 7])]


class Taker:
    """A receiver, what it is told, and what it hands on."""

    def __init__(self, kind: type[Receiver]) -> None:
        paths = {number: make_path(number, rtt=0.02 * number) for number in (1, 2)}
        patience = Patience(paths)
        patience.configure(policy(*map(spec, paths.values()), classes=(BALANCED, BALANCED)))
        patience.look(1.0)
        self.paths: dict[int, Path] = paths
        self.drops: Counter[str] = Counter()
        self.tally = Tally()
        self.said: list[bytes] = []
        self.receiver = kind(self.drops, self.tally, patience, lambda _path, payload, _now: self.said.append(payload))
        self.taken: list[dict[int, list[bytes]]] = []

    def take(self, number: int, payloads: list[bytes], now: float) -> None:
        self.receiver.reorder.fire(now)
        self.receiver.receive(self.paths[number], payloads, now)
        self.taken.append(self.receiver.reorder.take())

    def known(self) -> list[object]:
        """Return everything that shows."""
        counters = [(path.counters.rx_packets, path.counters.rx_bytes, path.rx_err) for path in self.paths.values()]
        # The paths of two takers are not the same: their numbers are.
        classes = [
            (counted.rx_packets, counted.rx_dups, {path.number: share for path, share in counted.shares.items()})
            for counted in self.tally.by_index
        ]
        return [self.taken, self.said, self.drops, classes, counters]


def spoil(payloads: list[bytes], faults: list[tuple[str, int]]) -> list[bytes]:
    """Let happen what happens on the way; return what comes later."""
    late = []
    for fault, where in faults:
        if where + 1 < len(payloads):
            if fault == "lose":
                del payloads[where]
            elif fault == "double":
                payloads.insert(where, payloads[where])
            elif fault == "late":
                late.append(payloads.pop(where))
            else:
                payloads[where : where + 2] = payloads[where + 1], payloads[where]
    return late


class Plain(Receiver):
    """One without the short cut."""

    __slots__ = ()

    def _take_expected(self, path: Path, heads: Sequence[int], bodies: list[bytes]) -> int:
        del path, heads, bodies
        return 0


@given(st.lists(st.tuples(st.integers(1, 2), _RUNS, _FAULTS), max_size=8), st.sampled_from([0, NUMBERS - 9]))
def test_any_batches(
    batches: list[tuple[int, list[tuple[int, int, bool, int]], list[tuple[str, int]]]], begin: int
) -> None:
    short, plain = Taker(Receiver), Taker(Plain)
    sequencer, count = Sequencer(), 0
    late: list[bytes] = []
    sequencer._next = [begin] * len(sequencer._next)
    for at, (number, flows, faults) in enumerate(batches):
        payloads = []
        for bucket, index, ordered, packets in flows:
            bodies = [b"\0%d" % each for each in range(count, count + packets)]
            payloads += sequencer.number(bodies, [bucket], [packets], index, ordered=ordered, copy=False)
            count += packets
        payloads += [*late, *_OTHERS[at % 4 : at % 4 + 1]]
        late = spoil(payloads, faults)
        for taker in (short, plain):
            taker.take(number, payloads, 1.0 + at / 100)
        assert short.known() == plain.known()


def test_many_flows_are_handed_on_in_one_piece() -> None:
    taker = Taker(Receiver)
    sequencer, bodies = Sequencer(), [b"\0%d" % bucket for bucket in range(200)]
    for now in (1.0, 1.1):
        payloads = sequencer.number(bodies, range(200), range(1, 201), 1, ordered=False, copy=False)
        taker.take(1, payloads, now)
        assert taker.taken[-1] == {1: [payload[7:] for payload in payloads]}
    following = [int.from_bytes(payload[:7]) + 1 for payload in payloads]
    assert [head == taker.receiver._expected[head >> 32 & 0xFF] for head in following] == [True] * 200
    assert not taker.drops


def test_what_comes_late_comes_once() -> None:
    taker, sequencer = Taker(Receiver), Sequencer()
    payloads = [sequencer.number([b"\0%d" % each], [7], [1], 0, ordered=False, copy=False)[0] for each in range(6)]
    others = [sequencer.number([b"\0other%d" % each], [8], [1], 0, ordered=False, copy=False)[0] for each in range(2)]
    # While one is missing, nothing is taken as expected: what is known of the others would no longer be right.
    first, missed, *rest = payloads
    for number, batch in ((1, [first]), (1, [rest[0], others[0]]), (1, [rest[1], others[1], rest[2]]), (2, [missed])):
        taker.take(number, batch, 1.0)
    taker.take(2, [missed], 1.0)
    taker.take(1, [rest[3], rest[2]], 1.0)
    handed = [body for taken in taker.taken for body in taken.get(0, [])]
    assert sorted(handed) == sorted([payload[7:] for payload in payloads + others])
    assert taker.drops == {"duplicate": 2}
