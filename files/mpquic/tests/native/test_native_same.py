# SPDX-License-Identifier: GPL-3.0-or-later
"""The native library and the reference, given the same: every byte, counter and book. Long form: __main__.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import forks
import offloads
import pytest
from aioquic.tls import CipherSuite
from compiled import library
from mpquic.daemon import nativetest
from mpquic.native.buffers import cut

if TYPE_CHECKING:
    from pathlib import Path

SUITES = [CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256]


@pytest.mark.parametrize("seed", range(20))
def test_packets_are_cut_and_merged_alike(seed: int) -> None:
    assert offloads.compare(seed) > 0


@pytest.mark.parametrize("suite", SUITES, ids=[suite.name for suite in SUITES])
@pytest.mark.parametrize("seed", range(4))
def test_packets_are_sealed_and_opened_alike(tmp_path: Path, seed: int, suite: CipherSuite) -> None:
    fork = forks.Fork(tmp_path, seed, suite)
    assert fork.run(200) > 0
    for end in (*fork.pure.ends, *fork.native.ends):
        assert not end.closed
        assert end.link.key_updates > 0


def test_the_comparison_meets_everything(tmp_path: Path) -> None:
    """What it should compare does happen: late, lost, doubled and forged packets, old keys, and merged ones."""
    seen = forks.Seen()
    for seed in range(4):
        forks.Fork(tmp_path, seed, SUITES[seed % 2], seen).run(200)
    assert min(seen.late, seen.forged, seen.other_frames, seen.other_keys, seen.together, seen.lost) > 20
    met = offloads.met(range(30))
    assert min(met.values()) > 2, met


def test_the_self_test_passes_and_takes_no_time() -> None:
    nativetest.run(library())


@pytest.mark.parametrize("kind", ["send", "acknowledge"])
def test_one_packet_that_comes_thousands_of_times_is_taken_once(tmp_path: Path, kind: str) -> None:
    """Anybody on the way can send again what is authentic, as often as they like and in one batch."""
    fork = forks.Fork(tmp_path, 1, SUITES[0])
    for pair in (fork.pure, fork.native):
        pair.send(pair.client, [b"\0" * 100] * 3)
        if kind == "acknowledge":
            pair.deliver(pair.client)
            pair.tick(0.05)
        end = pair.client if kind == "send" else pair.server
        assert end.wire
        end.wire = [data for data in end.wire for _time in range(3000)]
        pair.deliver(end)
    fork.compare(kind)


@pytest.mark.parametrize("sizes", [[], [0], [5], [3, 3, 3], [3, 3, 2], [1, 2, 3], [7] * 9 + [1] + [7] * 9, [0, 0, 4]])
def test_what_comes_out_is_taken_apart(sizes: list[int]) -> None:
    data = bytes(number & 255 for number in range(sum(sizes)))
    items = cut(data, sizes)
    assert [len(item) for item in items] == sizes
    assert b"".join(items) == data
