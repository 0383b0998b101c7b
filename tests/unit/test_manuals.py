# SPDX-License-Identifier: GPL-3.0-or-later
"""The man page and the completion of shells are those of the command line as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARE = ROOT / "files/mpquic/share"


def test_they_are_what_the_parser_makes_of_them() -> None:
    line = [sys.executable, ROOT / "scripts/make-manuals", "--check"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bash_completes_subcommands() -> None:
    script = f"""
    source {SHARE}/bash-completion/completions/mpquic
    COMP_WORDS=(mpquic do) COMP_CWORD=1
    $(complete -p mpquic | sed -n 's/.*-F \\([^ ]*\\).*/\\1/p')
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["doctor"], done.stderr
