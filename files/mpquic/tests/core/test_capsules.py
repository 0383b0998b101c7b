# SPDX-License-Identifier: GPL-3.0-or-later
"""The control stream's framing: whatever the pieces in which it arrives, the same capsules come out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.capsules import MAX_VALUE, CapsuleReader, ProtocolError, encode, encode_varint
from mpquic.core.wire import varint

TOP = (1 << 62) - 1
#: Where an integer gets longer (RFC 9000 section 16).
EDGES = [0, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, TOP]

kinds = st.one_of(st.sampled_from(EDGES), st.integers(0, TOP))
capsules = st.lists(st.tuples(kinds, st.binary(max_size=300)), max_size=12)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a stream at some of its positions."""
    at = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(at)]


def read(parts: list[bytes]) -> tuple[list[tuple[int, bytes]], str]:
    """Return the capsules in these pieces and the error that ended them, "" for none."""
    reader, found = CapsuleReader(), []
    try:
        for part in parts:
            found += reader.feed(part)
    except ProtocolError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("number", EDGES)
def test_integers_take_no_more_bytes_than_they_need(number: int) -> None:
    encoded = encode_varint(number)
    assert varint(encoded + b"\xff") == (number, len(encoded))
    assert len(encoded) == 1 << sum(number >= 1 << bits for bits in (6, 14, 30))


@pytest.mark.parametrize("number", [1 << 62, 1 << 64, -1])
def test_integers_that_do_not_fit_are_no_integers(number: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        encode_varint(number)


@given(kinds)
def test_integers_come_back(number: int) -> None:
    assert varint(encode_varint(number))[0] == number


@given(capsules, st.lists(st.integers(0, 1 << 20), max_size=12))
def test_any_split_gives_the_same_capsules(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(encode(kind, value) for kind, value in sent)
    assert read([stream]) == read(pieces(stream, cuts)) == (sent, "")
    assert read([stream[at : at + 1] for at in range(len(stream))]) == (sent, "")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_any_bytes_ends_the_same(stream: bytes, cuts: list[int]) -> None:
    whole, error = read([stream])
    found, other = read(pieces(stream, cuts))
    assert error == other
    # An error in the same piece takes the capsules before it along; nobody needs them.
    assert found[: len(whole)] == whole
    assert error or found == whole


@given(capsules)
def test_a_capsule_comes_with_its_last_byte_and_not_before(sent: list[tuple[int, bytes]]) -> None:
    reader = CapsuleReader()
    for kind, value in sent:
        data = encode(kind, value)
        assert reader.feed(data[:-1]) == []
        assert reader.feed(data[-1:]) == [(kind, value)]


def test_a_type_may_take_more_bytes_than_it_needs() -> None:
    for kind in (b"\x07", b"\x40\x07", b"\x80\x00\x00\x07", b"\xc0" + bytes(6) + b"\x07"):
        for length in (b"\x02", b"\x40\x02", b"\x80\x00\x00\x02", b"\xc0" + bytes(6) + b"\x02"):
            stream = kind + length + b"ab"
            assert read([stream[at : at + 1] for at in range(len(stream))]) == ([(7, b"ab")], "")


def test_the_longest_value_passes() -> None:
    value = bytes(MAX_VALUE)
    assert MAX_VALUE == 16384
    stream = encode(5, value)
    assert read([stream]) == read(pieces(stream, [1, 3, 7, 9000])) == ([(5, value)], "")


@pytest.mark.parametrize("length", [MAX_VALUE + 1, 1 << 20, TOP])
def test_a_longer_value_is_refused_before_it_is_waited_for(length: int) -> None:
    capsules, error = read([encode(1, b""), encode_varint(0x41) + encode_varint(length)])
    assert capsules == [(1, b"")]
    assert error == f"capsule 0x41: found {length} bytes, expected at most {MAX_VALUE}"
