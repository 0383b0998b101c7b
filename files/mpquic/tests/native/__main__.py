# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the native library with the reference at length: ``python files/mpquic/tests/native --count 10000000``."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("core", "quic")]

import forks  # noqa: E402 - the path comes first
import offloads  # noqa: E402
from aioquic.tls import CipherSuite  # noqa: E402

_SUITES = (CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256)


def main() -> int:
    """Return 0 when nothing differs; raises AssertionError with the seed otherwise."""
    parser = argparse.ArgumentParser(prog="python files/mpquic/tests/native", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="packets to compare (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: %(default)s)")
    arguments = parser.parse_args()
    begun, last = time.monotonic(), 0.0
    sealed = offloaded = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in itertools.count(arguments.seed):
            if sealed + offloaded >= arguments.count:
                break
            try:
                sealed += forks.Fork(Path(folder), seed, _SUITES[seed % 2]).run(300)
                offloaded += offloads.compare(seed)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            if time.monotonic() - last > 10:
                last = time.monotonic()
                _say(f"seed {seed}: {sealed} sealed and opened, {offloaded} cut and merged")
    took = time.monotonic() - begun
    _say(f"{sealed} packets sealed and opened, {offloaded} cut and merged, no difference, {took:.0f} s")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
