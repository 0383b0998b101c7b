# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table of the tunnels: the guard against leaks on a client, the NAT on a VPS. The roles write its file.

Whether the kernel still has what the file says is told by a listing that was taken right after the file was loaded
(`adopt`): nft prints a table in its own words, not in those of the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host import programs
from mpquic.host.errors import HostError
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path("/etc/mpquic/mpquic.nft")
RECORD = Path("/run/mpquic/nft.json")
NAME = "mpquic"
_TABLE = ("inet", NAME)
#: Seconds.
_PATIENCE = 10
_CHAIN = re.compile(r"^\t(chain (\S+) \{.*?^\t\})", re.MULTILINE | re.DOTALL)


def problem() -> Problem | None:
    """Return what is wrong with the table: it is not loaded, or is not what was loaded; None where all is well.

    A host without the file should have no table, so that nothing is wrong. Nor is it known what the table should be
    like where nobody has taken a listing of this very file.
    """
    if not FILE.exists():
        return None
    found = _listing()
    if found is None:
        return Problem("nft_missing", f"the nft table of {FILE} is not loaded")
    expected = _recorded()
    if expected is None or found == expected:
        return None
    return Problem("nft_differs", f"the nft table differs from {FILE}: {_difference(expected, found)}")


def adopted() -> bool:
    """Tell whether there is nothing to adopt: no file, or a listing of it."""
    return not FILE.exists() or _recorded() is not None


def unadopted() -> Problem:
    """Return that the file is to be adopted, with which one it is: another file is another matter."""
    return Problem("nft_new", f"{FILE} (sha256 {_digest()[:12]}) was not loaded yet")


def adopt() -> None:
    """Load the table and remember what it then looks like.

    Raises:
        HostError: nft refuses the file, does not answer, or the listing cannot be written.

    """
    digest = _digest()
    load()
    listing = _listing()
    if listing is None:
        raise HostError(f"{FILE}: loaded, but there is no table {' '.join(_TABLE)}")
    try:
        RECORD.parent.mkdir(mode=0o755, exist_ok=True)
        fresh = RECORD.with_suffix(".new")
        fresh.write_text(json.dumps({"file": digest, "listing": listing}), encoding="utf-8")
        fresh.replace(RECORD)
    except OSError as error:
        raise HostError(f"{RECORD}: {error.strerror}") from error


def load() -> None:
    """Load the table, in one transaction.

    Raises:
        HostError: nft refuses the file or does not answer.

    """
    programs.demand("nft", "-f", str(FILE), patience=_PATIENCE, task=str(FILE), fault="refused")


def chains() -> dict[str, str]:
    """Return the chains of the table as it was loaded, by name, in nft's own words."""
    return {name: text for text, name in _CHAIN.findall(_recorded() or "")}


def _listing() -> str | None:
    """Return the table without what it counts, None when there is none, or nft does not say."""
    done = programs.answer("nft", "-s", "list", "table", *_TABLE, patience=_PATIENCE)
    return done.stdout if done is not None and done.returncode == 0 else None


def _recorded() -> str | None:
    """Return the listing of the file as it is now, None where there is none."""
    try:
        found = json.loads(RECORD.read_text(encoding="utf-8"))
        listing = found["listing"] if found["file"] == _digest() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return listing if isinstance(listing, str) else None


def _digest() -> str:
    try:
        return hashlib.sha256(FILE.read_bytes()).hexdigest()
    except OSError as error:
        raise HostError(f"{FILE}: {error.strerror}") from error


def _difference(expected: str, found: str) -> str:
    """Return the first lines that are only in one of two listings."""
    return ", ".join([*_only("lacks", expected, found), *_only("has", found, expected)]) or "lines in another order"


def _only(word: str, one: str, other: str) -> Iterator[str]:
    beyond = set(other.splitlines())
    line = next((line.strip() for line in one.splitlines() if line not in beyond), None)
    if line is not None:
        yield f"{word} '{line}'"
