# SPDX-License-Identifier: GPL-3.0-or-later
"""The native library, compiled from the sources of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from mpquic.native import Library, load

SOURCES = Path(__file__).parents[2] / "native"


def compile_library(file: Path, *flags: str) -> None:
    """Compile the library with more ``flags``. Raises CalledProcessError with what the compiler said."""
    subprocess.run([str(SOURCES / "build"), str(file), *flags], check=True)


@lru_cache(maxsize=1)
def library() -> Library:
    """Return the library; MPQUIC_NATIVE_LIBRARY names one that is there already."""
    given = os.environ.get("MPQUIC_NATIVE_LIBRARY")
    if given:
        return load(Path(given))
    folder = Path(tempfile.mkdtemp(prefix="mpquic-native-"))
    try:
        compile_library(folder / "libmpquic.so")
        return load(folder / "libmpquic.so")
    finally:
        # What is loaded stays loaded.
        shutil.rmtree(folder)
