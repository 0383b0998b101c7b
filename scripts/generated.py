# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of scripts whose files follow from something else: write them anew, or see whether they differ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(what: str | None, folder: Path, contents: dict[str, str]) -> int:
    """Write or compare the files of a folder; return 1 when one is not as it would be written.

    ``what`` is the help of the script, ``contents`` the text of each file by its path in the folder.
    """
    arguments = argparse.ArgumentParser(description=what)
    arguments.add_argument("--check", action="store_true", help="write nothing, and fail when a file differs")
    check = arguments.parse_args().check
    differing = [name for name, text in contents.items() if not _has(folder / name, text)]
    for name in differing:
        if not check:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(contents[name], encoding="utf-8")
        told = f"differs, scripts/{Path(sys.argv[0]).name} writes it anew" if check else "written"
        sys.stdout.write(f"{(folder / name).relative_to(ROOT)}: {told}\n")
    return 1 if check and differing else 0


def _has(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text
