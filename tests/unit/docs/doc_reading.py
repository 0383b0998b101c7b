# SPDX-License-Identifier: GPL-3.0-or-later
"""Which commands only read, so that a test may run them wherever it likes."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from mpquic.cli import SUBCOMMANDS, parser

if TYPE_CHECKING:
    from collections.abc import Sequence

_READING = {
    "check-config": (),
    "doctor": (),
    "explain": (),
    "guard": ("status",),
    "health": ("check",),
    "history": (),
    "mark": ("check",),
    "routing": ("check",),
    "shaper": ("check",),
    "status": (),
    "watch": ("status",),
}


def reads(words: Sequence[str]) -> bool:
    """Tell whether a whole command of mpquic changes nothing, and ends by itself."""
    program, name, *rest = (*words, "", "")
    if program != "mpquic":
        return False
    if name.startswith("--") or "--help" in rest or "--check" in rest:
        return True
    if name == "exporter":
        return "--once" in rest or "--print" in rest
    return name in _READING and (not _READING[name] or rest[0] in _READING[name])


def whole(words: Sequence[str]) -> bool:
    """Tell whether a command of mpquic has all that its parser asks for; a sentence may have no more than its name."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            parser(*SUBCOMMANDS).parse_args(words[1:])
    except SystemExit as end:
        return end.code == 0
    return True
