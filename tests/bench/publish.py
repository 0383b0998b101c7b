# SPDX-License-Identifier: GPL-3.0-or-later
"""``report``: the tables of a run as Markdown, to stdout or into the documentation with its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import picture, results, table
from tests.bench.errors import BenchError
from tests.bench.floors import judge
from tests.bench.lossy_tables import tables

if TYPE_CHECKING:
    import argparse

_DOCS = Path(__file__).resolve().parents[2] / "docs"
#: What lossy.py writes beside a run.
LOSSY = "lossy.json"
BEGIN, END = "<!-- figures: python tests/bench report --docs -->", "<!-- end of figures -->"


def configure(parser: argparse.ArgumentParser, source: Path) -> None:
    """Add the arguments."""
    parser.set_defaults(run=_report)
    parser.add_argument("file", nargs="?", type=Path, default=source, metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/benchmark.md, the picture beside")


def _report(args: argparse.Namespace) -> int:
    found = results.load(args.file)
    text = table.markdown(found, judge(found))
    lossy = args.file.parent / LOSSY
    if lossy.exists():
        text += "\n" + tables(json.loads(lossy.read_text()))
    if not args.docs:
        print(text, end="")
        return 0
    page = _DOCS / "benchmark.md"
    drawing = page.parent / "images" / "benchmark.svg"
    shown = f"![mpquic compared with other tunnels](images/{drawing.name})\n\n"
    page.write_text(insert(page.read_text(), shown + text))
    picture.save(found, drawing)
    print(f"written: {page}, {drawing}")
    return 0


def insert(page: str, text: str) -> str:
    """Return the page with ``text`` between its marks. Raises BenchError when a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"docs/benchmark.md: expected the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"
