# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits for what, and for how long."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from mpquic.core.multipath import reorder as reorder_module
from mpquic.core.multipath.dedup import SIZE, Dedup
from mpquic.core.multipath.patience import Patience
from mpquic.core.multipath.reorder import CAPACITY, CAPACITY_OCTETS, Reorder
from mpquic.core.multipath.sequence import NUMBERS

_HOLD = 0.05


class Fixed(Patience):
    """Some paths that differ by as much as is waited."""

    def __init__(self, hold: float, paths: int) -> None:
        super().__init__({})
        self.found = paths, hold

    def hold(self, class_index: int, now: float) -> tuple[int, float]:
        return self.found


class End:
    """A reorder buffer behind a window, as at a receiver."""

    def __init__(self, start: int = 0, hold: float = _HOLD, paths: int = 9) -> None:
        self.start = start
        self.dedup = Dedup()
        self.patience = Fixed(hold, paths)
        self.reorder = Reorder(self.patience)
        self.out: list[int] = []
        #: Something came before.
        self.came(-1)
        self.out.clear()

    def came(
        self,
        *numbers: int,
        now: float = 1.0,
        ordered: bool = False,
        bucket: int = 5,
        size: int = 0,
        path: int = 1,
    ) -> list[int]:
        """Return what is handed on when these come, as far as they are new."""
        for number in numbers:
            first = (self.start + number) % NUMBERS
            floor = self.dedup.following[bucket]
            if self.dedup.note(bucket, first, 1) is not None:
                continue
            body = b"%d" % number
            self.reorder.push(bucket, floor, first, [body.ljust(size)], bucket & 1, now=now, ordered=ordered, path=path)
        return self.taken()

    def taken(self) -> list[int]:
        out = [int(body) for bodies in self.reorder.take().values() for body in bodies]
        self.out += out
        return out

    def fire(self, now: float) -> list[int]:
        self.reorder.fire(now)
        return self.taken()


def starts() -> list[End]:
    """The same at the beginning and at the wrap."""
    return [End(1), End(NUMBERS - 2), End(NUMBERS // 2 - 2)]


def test_in_order_nothing_waits() -> None:
    for end in starts():
        assert end.came(0, 1, 2, ordered=True) == [0, 1, 2]
        assert (end.reorder.waiting, end.reorder.deadline()) == (0, math.inf)


def test_a_gap_is_waited_for_and_filled() -> None:
    for end in starts():
        assert end.came(2, 3, ordered=True) == []
        assert end.came(1, ordered=True) == []
        assert end.reorder.waiting == 3
        assert end.came(0, ordered=True) == [0, 1, 2, 3]
        assert end.reorder.waiting == 0
        assert end.came(5, ordered=True) == []
        assert end.came(4) == [4, 5], "flagged or not"


def test_a_gap_is_given_up_in_time() -> None:
    for end in starts():
        end.came(2, now=1.0, ordered=True)
        end.came(5, now=1.02, ordered=True)
        assert end.reorder.deadline() == 1.0 + _HOLD
        assert end.fire(1.0 + _HOLD - 0.001) == []
        assert end.fire(1.0 + _HOLD) == [2]
        assert end.reorder.deadline() == 1.02 + _HOLD
        assert end.came(0, 1, now=1.06, ordered=True) == [0, 1], "late, but not lost"
        assert end.came(3, now=1.06) == [3]
        assert end.fire(1.02 + _HOLD) == [5]
        assert (end.reorder.waiting, end.reorder.deadline()) == (0, math.inf)


def test_what_waited_longest_takes_along_what_comes_before_it() -> None:
    end = End()
    end.came(8, now=1.0, ordered=True)
    end.came(4, 5, 9, 11, now=1.03, ordered=True)
    assert end.fire(1.0 + _HOLD) == [4, 5, 8, 9]
    assert end.fire(1.03 + _HOLD) == [11]


def test_only_flagged_payloads_begin_to_wait() -> None:
    for end in starts():
        assert end.came(5) == [5]
        assert end.came(2) == [2]
        assert end.reorder.deadline() == math.inf


def test_what_was_missing_before_is_not_waited_for() -> None:
    """Numbers 0 to 4 are lost or late; a flow that moves now has nothing to do with them."""
    for end in starts():
        assert end.came(5) == [5]
        assert end.came(6, ordered=True) == [6]
        assert end.came(8, ordered=True) == []
        assert end.came(3) == [3]
        assert end.came(7) == [7, 8]


def test_a_move_to_a_faster_path() -> None:
    """0 to 9 are under way on the old path, the first three have come, when 10 and on come by the new one."""
    for end in starts():
        assert end.came(0, 1, 2) == [0, 1, 2]
        assert end.came(10, 11, ordered=True) == []
        assert end.came(3, 4, 6) == [3, 4, 6], "what comes by the old path passes at once, also past a loss"
        assert end.came(12, ordered=True) == []
        assert end.came(7, 8, 9) == [7, 8, 9]
        assert end.came(13) == [], "it may be of the flow whose packets wait"
        assert end.came(5) == [5, 10, 11, 12, 13]
        assert end.reorder.waiting == 0


def test_what_every_path_has_passed_is_lost() -> None:
    """Sprayed over two paths, 3 lost: as soon as both have brought something clearly later, nothing waits for it."""
    for start in (1, NUMBERS - 4):
        end = End(start, paths=2)
        assert end.came(0, 2, path=1, ordered=True) == [0]
        assert end.came(1, path=2, ordered=True) == [1, 2]
        assert end.came(4, path=1, ordered=True) == []
        assert end.came(5, path=2, ordered=True) == []
        assert end.came(6, 7, path=1, ordered=True) == []
        assert end.came(8, path=1, ordered=True) == [], "the other path may still have it"
        assert end.came(9, path=2, ordered=True) == [4, 5, 6, 7, 8, 9]
        assert end.reorder.waiting == 0


def test_a_path_that_brings_nothing_is_waited_for() -> None:
    end = End(paths=3)
    end.came(0, path=1, ordered=True)
    assert end.came(2, 3, 4, 5, 6, 7, path=1, ordered=True) == []
    assert end.came(8, 9, 10, 11, 12, path=2, ordered=True) == []
    assert end.came(13, path=2) == []
    assert end.came(20, path=3) == [*range(2, 14)]


def test_buckets_do_not_wait_for_each_other() -> None:
    end = End()
    assert end.came(2, ordered=True) == []
    assert end.came(7, ordered=True, bucket=6) == []
    assert end.came(0, 1, 2, bucket=7) == [0, 1, 2]
    assert set(end.reorder.busy) == {5, 6}
    assert end.came(0, 1) == [0, 1, 2]
    assert end.fire(2.0) == [7]


def test_with_one_path_nothing_waits() -> None:
    end = End(hold=0.0)
    assert end.came(3, ordered=True) == [3]
    end.patience.found = 2, _HOLD
    assert end.came(6, ordered=True) == []
    end.reorder.release()
    assert end.taken() == [6]
    assert end.reorder.waiting == 0


def test_a_gap_wider_than_the_window_is_not_waited_for() -> None:
    for end in starts():
        assert end.came(SIZE + 5, ordered=True) == [SIZE + 5]
        assert end.came(SIZE + 7, ordered=True) == []
        assert end.came(3 * SIZE, ordered=True) == [SIZE + 7, 3 * SIZE]
        assert end.reorder.waiting == 0


def test_want_of_room_gives_up_the_first_gap() -> None:
    end = End()
    assert end.came(*range(1, 500), *range(501, CAPACITY + 2), ordered=True) == []
    assert end.reorder.waiting == CAPACITY
    assert end.came(CAPACITY + 2, ordered=True) == list(range(1, 500))
    assert end.reorder.waiting == CAPACITY + 1 - 499
    assert end.came(500) == list(range(500, CAPACITY + 3))


def test_want_of_room_for_bytes() -> None:
    end = End()
    fit = CAPACITY_OCTETS // 60_000
    assert end.came(*range(1, fit + 1), ordered=True, size=60_000) == []
    assert end.came(fit + 1, ordered=True, size=60_000) == list(range(1, fit + 2))


def test_another_bucket_takes_no_room_away() -> None:
    end = End()
    end.came(*range(1, CAPACITY + 1), ordered=True)
    assert end.came(3, ordered=True, bucket=6) == [3], "no room: it passes"
    assert 6 not in end.reorder.busy
    assert end.reorder.waiting == CAPACITY


def test_a_hostile_peer_gets_no_memory() -> None:
    """Numbers of all buckets with gaps, flagged or not."""
    end, choose = End(), random.Random(6)
    for _ in range(6000):
        end.came(choose.randrange(2000), ordered=choose.random() < 0.4, bucket=choose.randrange(256))
        queues = end.reorder.busy.values()
        assert end.reorder.waiting == sum(len(queue.held) + len(queue.passed) for queue in queues) <= CAPACITY
    end.fire(math.inf)
    assert (end.reorder.waiting, end.reorder._octets, end.reorder.busy) == (0, 0, {})


def test_a_peer_that_skips_half_of_all_numbers_may_say_one_again() -> None:
    """The window forgets what is further behind, while it still waits here."""
    for end in starts():
        assert end.came(2, ordered=True) == []
        far = NUMBERS // 2 + 2
        assert end.came(far) == [far], "nothing waits so far ahead"
        assert end.came(2, ordered=True) == [2]
        assert end.reorder.waiting == 1
        assert end.fire(math.inf) == [2]
        assert (end.reorder.waiting, end.reorder._octets, end.reorder.busy) == (0, 0, {})


_ARRIVALS = st.lists(
    st.tuples(st.integers(0, 60), st.booleans(), st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.06])), max_size=80
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([1, NUMBERS - 20]), _ARRIVALS, st.sampled_from([4, 16, CAPACITY]))
def test_nothing_is_lost_and_nothing_comes_twice(
    start: int, arrivals: list[tuple[int, bool, float]], capacity: int
) -> None:
    kept, reorder_module.CAPACITY = reorder_module.CAPACITY, capacity
    try:
        end, now, came = End(start), 1.0, set()
        for number, ordered, pause in arrivals:
            now += pause
            before = end.reorder.deadline()
            end.fire(now)
            assert end.reorder.deadline() > now, "nothing waits longer than it may"
            assert before <= now or end.reorder.deadline() == before
            came.add(number)
            end.came(number, now=now, ordered=ordered)
            assert end.reorder.waiting <= capacity
        end.fire(math.inf)
    finally:
        reorder_module.CAPACITY = kept
    assert sorted(end.out) == sorted(came)
    assert end.reorder.waiting == 0


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(1, 30)), st.sampled_from([1, NUMBERS - 20]))
def test_a_sprayed_flow_is_put_in_order(order: list[int], start: int) -> None:
    end = End(start)
    end.came(0, ordered=True)
    end.came(*order, ordered=True)
    assert end.out == list(range(30))
