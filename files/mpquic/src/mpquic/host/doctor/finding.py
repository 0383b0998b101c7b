# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing that is wrong, as an operator wants to hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mpquic.host.doctor.advice import advice


class Level(Enum):
    """How bad it is."""

    #: Packets do not get through, or not as they should.
    FAIL = "fail"
    #: They do, but something that is needed is missing, or will be.
    WARN = "warn"
    #: Worth knowing, and nothing to mend.
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with ``where`` (``tunnel 4``, ``tunnel mp1, path wan2``, ``host``), why it matters, what mends it.

    `mend` is a command, or begins with one; None where nobody here can do anything.
    """

    level: Level
    where: str
    code: str
    message: str
    why: str
    mend: str | None


def finding(where: str, code: str, message: str, **names: str) -> Finding:
    """Return a finding with the advice for its code, into which ``names`` are put."""
    found = advice(code)
    mend = found.mend.format_map({"id": "ID", "wan": "WAN", **names}) if found.mend is not None else None
    return Finding(Level(found.level), where, code, message, found.why, mend)
