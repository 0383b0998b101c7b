# SPDX-License-Identifier: GPL-3.0-or-later
"""Small packets overtake large ones of other flows, and nothing else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core.offload.sparse import SMALL, sparse_first


def packet(flow: int, size: int, number: int = 0, *, version: int = 4, fragment: int = 0, options: int = 0) -> bytes:
    """A packet of one flow; ``number`` is in its last bytes."""
    if version == 4:
        head = struct.pack(
            ">BBHHHBBH4s4s", 0x45 + options, 0, size, 0, fragment, 64, 17, 0, b"\x0a\0\0\1", bytes([10, 0, 1, flow])
        )
        head += bytes(4 * options)
    else:
        head = struct.pack(">IHBB16s16s", 6 << 28, size - 40, 17, 64, b"\xfd" + bytes(15), bytes(15) + bytes([flow]))
    head += struct.pack(">HH", 5000, 6000)
    return head + bytes(size - len(head) - 4) + number.to_bytes(4, "big")


BIG = 1300


@pytest.mark.parametrize("at", [0, 10])
@pytest.mark.parametrize("version", [4, 6])
def test_a_call_overtakes_a_download(at: int, version: int) -> None:
    before = bytes(at)
    download = [before + packet(1, BIG, number, version=version) for number in range(3)]
    calls = [before + packet(flow, 200, flow, version=version) for flow in (2, 3)]
    tail = before + packet(1, 60, 9, version=version)
    reads = [download[0], calls[0], download[1], tail, calls[1], download[2]]
    assert sparse_first(reads, at) == (calls, [download[0], download[1], tail, download[2]])


def test_nothing_to_gain() -> None:
    for reads in ([packet(1, BIG)], [packet(1, BIG), packet(2, BIG)], [packet(1, 60), packet(2, 60)], []):
        assert sparse_first(reads, 0) == ((), reads)


@pytest.mark.parametrize(
    "opaque",
    [
        packet(1, BIG, fragment=0x2000),
        packet(1, BIG, fragment=0x0010),
        packet(1, BIG, options=1),
        b"\x45" + bytes(10),
        b"\x60" + bytes(BIG),
        bytes(BIG),
    ],
)
def test_nothing_overtakes_what_belongs_to_an_unknown_flow(opaque: bytes) -> None:
    early, late = packet(2, 100), packet(3, 100)
    reads = [packet(1, BIG), early, opaque, late]
    assert sparse_first(reads, 0) == ([early], [reads[0], opaque, late])


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([60, SMALL - 1, SMALL, BIG])), max_size=30))
def test_no_flow_is_reordered_and_nothing_is_lost(kinds: list[tuple[int, int]]) -> None:
    reads = [packet(flow, size, number) for number, (flow, size) in enumerate(kinds)]
    first, rest = sparse_first(reads, 0)
    after = [*first, *rest]
    assert sorted(after) == sorted(reads)
    for flow in range(5):
        assert [read for read in after if read[19] == flow] == [read for read in reads if read[19] == flow]
    assert all(len(read) < SMALL for read in first)
