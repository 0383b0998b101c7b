# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples on disk: ``corpus/DECODER/NAME.hex`` with one item per line in hex, or any other file as it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuzzing.decoder import Input

FOLDER = Path(__file__).parents[1] / "corpus"


def load(name: str) -> dict[str, Input]:
    """Return the samples of a decoder by file name."""
    return {path.name: read(path) for path in sorted((FOLDER / name).iterdir())}


def read(path: Path) -> Input:
    """Return one sample. Lines with ``#`` are comments in hex files."""
    if path.suffix != ".hex":
        return (path.read_bytes(),)
    # An empty item is a line with nothing but a minus sign.
    lines = [line.strip() for line in path.read_text().splitlines()]
    return tuple(bytes.fromhex(line.strip("-")) for line in lines if line and not line.startswith("#"))


def write(path: Path, items: Input, comment: str) -> None:
    """Write a sample in hex."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in (f"# {comment}", *(item.hex() or "-" for item in items))))


def keep(name: str, items: Input, comment: str) -> Path:
    """Keep an input that failed, and return its file."""
    digest = hashlib.sha256(b"\0".join(items)).hexdigest()[:12]
    path = FOLDER / name / f"failure-{digest}.hex"
    write(path, items, comment)
    return path
