# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile the fuzz targets with sanitizers, run them on what is known and on what is new."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "native"
CORPUS = HERE / "corpus"
TARGETS = ("merge", "open", "seal", "split")
_FLAGS = ("-std=gnu11", "-g", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fno-omit-frame-pointer")
#: Longest input (bytes).
_LONGEST = 8192


@dataclass(frozen=True)
class Outcome:
    """How a run of a fuzzer ended."""

    runs: int
    #: What it found, empty for nothing.
    finding: str


def compile_target(name: str, folder: Path, *, fuzzer: bool) -> Path:
    """Return a target: with libFuzzer by clang, or by gcc, and then it only takes files."""
    binary = folder / name
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    sources = [str(HERE / f"{name}.c"), *map(str, sorted(SOURCES.glob("*.c")))]
    if not fuzzer:
        sources.append(str(HERE / "replay.c"))
    compiler = ("clang", "-fsanitize=fuzzer") if fuzzer else ("gcc",)
    subprocess.run(
        [*compiler, *_FLAGS, *sanitizers, f"-I{SOURCES}", f"-I{HERE}", *sources, "-lcrypto", "-o", str(binary)],
        check=True,
    )
    return binary


def replay(binary: Path, name: str) -> None:
    """Run a target of gcc's on its corpus. Raises CalledProcessError with what the sanitizers said."""
    files = sorted(map(str, (CORPUS / name).iterdir()))
    subprocess.run([str(binary), *files], check=True, capture_output=True, text=True, env=_environment())


def fuzz(binary: Path, name: str, seconds: int, *, grow: bool = False) -> Outcome:
    """Run a target of clang's for so many seconds; with ``grow``, what is new comes into the corpus."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [str(CORPUS / name)] if grow else [scratch, str(CORPUS / name)]
        limits = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-timeout=20", "-print_final_stats=1"]
        done = subprocess.run(
            [str(binary), *limits, f"-artifact_prefix={scratch}/", *folders],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(),
        )
        runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        finding = ""
        if done.returncode:
            kept = [_keep(name, file) for file in Path(scratch).glob("*-*") if file.name.partition("-")[0] != name]
            said = re.search(r"^(SUMMARY|.*Assertion|.*runtime error).*$", done.stderr, re.MULTILINE)
            finding = f"{said[0] if said else f'exit code {done.returncode}'} {' '.join(map(str, kept))}"
        return Outcome(int(runs[1]) if runs else 0, finding)


def _keep(name: str, file: Path) -> Path:
    """Keep a finding where replay() meets it."""
    kept = CORPUS / name / file.name
    kept.write_bytes(file.read_bytes())
    return kept


def _environment() -> dict[str, str]:
    return {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
