# SPDX-License-Identifier: GPL-3.0-or-later
"""The native library under sanitizers of addresses and undefined behaviour: the corpus, new inputs, real traffic."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compiled import SOURCES, compile_library

sys.path.append(str(Path(__file__).parent / "fuzz"))

from harness import CORPUS, TARGETS, compile_target, fuzz, replay

_SECONDS = int(os.environ.get("MPQUIC_FUZZ_SECONDS", "5"))


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_stays_fixed(name: str, tmp_path: Path) -> None:
    assert len(list((CORPUS / name).iterdir())) > 10
    replay(compile_target(name, tmp_path, fuzzer=False), name)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    outcome = fuzz(compile_target(name, tmp_path, fuzzer=True), name, _SECONDS)
    assert not outcome.finding
    assert outcome.runs > 100


def test_carrying_packets_allocates_nothing(tmp_path: Path) -> None:
    binary, source = tmp_path / "allocations", Path(__file__).with_name("allocations.c")
    flags = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{SOURCES}")
    library = map(str, sorted(SOURCES.glob("*.c")))
    subprocess.run(["gcc", *flags, str(source), *library, "-lcrypto", "-o", str(binary)], check=True)
    done = subprocess.run([str(binary)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_comparison_is_clean_under_sanitizers(tmp_path: Path) -> None:
    file = tmp_path / "libmpquic.so"
    compile_library(file, "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-U_FORTIFY_SOURCE")
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "MPQUIC_NATIVE_LIBRARY": str(file),
        "LD_PRELOAD": runtime,
        # Python keeps what it has.
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent), "--count", "20000"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "no difference" in done.stdout
