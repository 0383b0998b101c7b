# SPDX-License-Identifier: GPL-3.0-or-later
"""All nft tables of the host, as text that nft(8) loads again."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from mpquic.host import programs
from mpquic.host.errors import HostError
from mpquic.host.guard.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds; a ruleset of ten thousand elements takes one.
_PATIENCE = 30
_TABLE = re.compile(r"^table (\S+ \S+) \{(?: #[^\n]*)?$.*?^\}$", re.MULTILINE | re.DOTALL)
#: The kernel lets nobody but its owner, a process that runs, change such a table; it goes with that process.
_OWNED = re.compile(r"^\tflags [^\n]*\bowner\b", re.MULTILINE)
_SET = re.compile(r"^\t(?:set|map|meter) \S+ \{$.*?^\t\}$", re.MULTILINE | re.DOTALL)
_MOVING = re.compile(r"^\t\tflags .*\b(?:dynamic|timeout)\b", re.MULTILINE)
_ELEMENTS = re.compile(r"^\t\telements = \{.*?\}\n", re.MULTILINE | re.DOTALL)
#: What iptables put there and nft has no words for: loaded again, it would mean something else.
_FOREIGN_WORDS = re.compile(r"# xt_|\bxt (?:match|target) ")


def read() -> dict[str, str]:
    """Return every table's text, without counters, by family and name ("inet filter"); not those that a process owns.

    Raises:
        HostError: nft is missing or does not answer.

    """
    done = programs.answer("nft", "--stateless", "list", "ruleset", patience=_PATIENCE)
    if done is None or done.returncode != 0:
        raise HostError(f"nft list ruleset: {done.stderr.strip() if done else 'nft does not answer'}")
    return {match[1]: match[0] for match in _TABLE.finditer(done.stdout) if not _OWNED.search(match[0])}


def restore(wanted: dict[str, str]) -> Report:
    """Bring back the tables that differ, all in one transaction; packets never see the host without one of them."""
    report = Report()
    found = read()
    changes: dict[str, tuple[str, str]] = {}
    for name in found.keys() - wanted.keys():
        changes[name] = (f"removed the nft table {name}", f"delete table {name}\n")
    for name, text in wanted.items():
        if name in found and _settled(found[name]) == _settled(text):
            continue
        words = f"put back the nft table {name}"
        if _FOREIGN_WORDS.search(text):
            report.failed.append(f"{words}: it holds rules of iptables that nft cannot load")
            continue
        changes[name] = (words, f"table {name}\ndelete table {name}\n{text}\n")
    if changes and _load(script for _words, script in changes.values()) is None:
        report.done += [words for words, _script in changes.values()]
        return report
    # One that nft refuses must not keep the others away.
    for words, script in changes.values():
        problem = _load([script])
        if problem is None:
            report.done.append(words)
        else:
            report.failed.append(f"{words}: {problem}")
    return report


def _settled(text: str) -> str:
    """Return a table's text without the elements that packets add and time removes."""
    return _SET.sub(lambda found: _ELEMENTS.sub("", found[0]) if _MOVING.search(found[0]) else found[0], text)


def _load(scripts: Iterable[str]) -> str | None:
    """Load scripts in one transaction; return why not, or None."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"],  # noqa: S607
            input="".join(scripts),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "nft does not answer"
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[0]
