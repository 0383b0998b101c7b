# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers on payloads, and runs of them on arrival."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import wire
from mpquic.core.multipath.sequence import BUCKETS, HEAD, NUMBERS, Sequencer, parts, run

_PAYLOADS = [b"\x06one", b"\x00two", b"\x06three"]


def numbered(numbers: list[int], *, bucket: int = 7, flags: int = 0) -> list[bytes]:
    """Return payloads that say their own number, by the layout in docs/protocol.md."""
    return [bytes([2, flags, bucket]) + number.to_bytes(4, "big") + b"\x00%d" % number for number in numbers]


def runs(payloads: list[bytes]) -> list[tuple[int, list[bytes], int]]:
    """Return the runs: the first head, what follows the heads, and where the first is."""
    heads, rests = parts(payloads)
    found, at = [], 0
    while at < len(heads):
        end = run(heads, at)
        found.append((heads[at], rests[at:end], at))
        at = end
    return found


def told(payloads: list[bytes]) -> list[tuple[int, int, list[bytes]]]:
    """Return the runs: what is before the number, the first number, and the rests."""
    return [(head >> 32, head & 0xFFFFFFFF, rests) for head, rests, _start in runs(payloads)]


def test_layout() -> None:
    sequencer = Sequencer()
    assert sequencer.number(_PAYLOADS, [0xAB], [3], 3, ordered=True, copy=False) == [
        bytes.fromhex("02 13 ab 00000000") + _PAYLOADS[0],
        bytes.fromhex("02 13 ab 00000001") + _PAYLOADS[1],
        bytes.fromhex("02 13 ab 00000002") + _PAYLOADS[2],
    ]
    assert sequencer.number(_PAYLOADS[:1], [0xAB], [1], 15, ordered=False, copy=True) == [
        bytes.fromhex("02 2f ab 00000003") + _PAYLOADS[0]
    ]
    assert sequencer.number(_PAYLOADS[:1], [0xAC], [1], 0, ordered=False, copy=False) == [
        bytes.fromhex("02 00 ac 00000000") + _PAYLOADS[0]
    ]
    assert HEAD + wire.OVERHEAD == wire.SEQUENCED_OVERHEAD


def test_each_bucket_has_numbers_of_its_own() -> None:
    sequencer = Sequencer()
    sequencer._next[9] = NUMBERS - 1
    # Of four reads the first was cut in two, the second refused, and the last two are of one bucket.
    payloads = [b"\x06%d" % number for number in range(4)]
    found = sequencer.number(payloads, [7, 8, 9, 9], [2, 2, 3, 4], 1, ordered=False, copy=False)
    heads = ["020107" + "00000000", "020107" + "00000001", "020109" + "ffffffff", "020109" + "00000000"]
    assert found == [bytes.fromhex(head) + payload for head, payload in zip(heads, payloads, strict=True)]
    assert [sequencer._next[bucket] for bucket in (7, 8, 9)] == [2, 0, 1]
    assert sequencer.number([], [7, 8], [0, 0], 1, ordered=False, copy=False) == []


def test_numbers_wrap_inside_a_batch() -> None:
    sequencer = Sequencer()
    sequencer._next = [NUMBERS - 2] * BUCKETS
    found = sequencer.number(_PAYLOADS, [255], [3], 15, ordered=True, copy=True)
    assert [payload[:HEAD].hex() for payload in found] == [
        "023fff" + "fffffffe",
        "023fff" + "ffffffff",
        "023fff00000000",
    ]
    assert sequencer.number(_PAYLOADS[:1], [255], [1], 0, ordered=False, copy=False)[0][3:7] == b"\0\0\0\x01"


def test_a_flow_alone_is_one_run() -> None:
    payloads = numbered([5, 6, 7, 8])
    assert told(payloads) == [(0x020007, 5, [payload[HEAD:] for payload in payloads])]
    assert runs([]) == []


def test_runs_end_at_gaps_other_buckets_and_flags() -> None:
    payloads = numbered([1, 2]) + numbered([3], bucket=8) + numbered([4, 6]) + numbered([7], flags=0x10)
    assert [(kind, first, len(rests)) for kind, first, rests in told(payloads)] == [
        (0x020007, 1, 2),
        (0x020008, 3, 1),
        (0x020007, 4, 1),
        (0x020007, 6, 1),
        (0x021007, 7, 1),
    ]


def test_the_last_number_of_a_bucket_is_not_followed_by_the_next_bucket_s_first() -> None:
    payloads = numbered([NUMBERS - 2, NUMBERS - 1]) + numbered([0, 1], bucket=8)
    assert told(payloads) == [
        (0x020007, NUMBERS - 2, [payload[HEAD:] for payload in payloads[:2]]),
        (0x020008, 0, [payload[HEAD:] for payload in payloads[2:]]),
    ]
    wrapped = numbered([NUMBERS - 1, 0])
    assert [each[:2] for each in told(wrapped)] == [(0x020007, NUMBERS - 1), (0x020007, 0)]


def test_other_contexts_and_cut_heads_are_kept_whole() -> None:
    others = [
        b"\x00" + bytes(30),
        b"\x04" + bytes(30),
        b"",
        b"\x02",
        b"\x02\x00\x07\x00\x00\x00",
        b"\x42\x00" + bytes(9),
    ]
    payloads = [*numbered([1]), *others, *numbered([2])]
    found = runs(payloads)
    assert [head & 0xFFFFFFFF for head, _rests, _start in found if head >> 48 == 2] == [1, 2]
    strange = [payloads[start : start + len(rests)] for head, rests, start in found if head >> 48 != 2]
    assert [payload for part in strange for payload in part] == others


_HEADS = st.tuples(
    st.sampled_from([0, NUMBERS - 3, 77]), st.integers(0, 6), st.integers(0, 1), st.sampled_from([0, 16])
)


@given(st.lists(st.one_of(_HEADS, st.binary(max_size=12)), max_size=40))
def test_runs_say_what_the_payloads_say(items: list[tuple[int, int, int, int] | bytes]) -> None:
    payloads = [
        item
        if isinstance(item, bytes)
        else bytes([2, item[3], 254 + item[2]]) + ((item[0] + item[1]) % NUMBERS).to_bytes(4, "big") + b"\x06body"
        for item in items
    ]
    again = []
    for head, rests, start in runs(payloads):
        assert start == len(again)
        if head >> 48 == 2:
            assert (head & 0xFFFFFFFF) + len(rests) <= NUMBERS
            again += [(head + offset).to_bytes(HEAD) + rest for offset, rest in enumerate(rests)]
        else:
            again += payloads[start : start + len(rests)]
    assert again == payloads
