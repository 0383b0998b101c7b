# SPDX-License-Identifier: GPL-3.0-or-later
"""Every link of the documentation to the checkout leads to a file, and to a heading where it names one."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from doc_pages import PAGES, ROOT, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    found: dict[str, int] = {}
    made = set()
    stream = tokens(page)
    for opening, inline in pairwise(stream):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            made.add(f"{name}-{found[name]}" if name in found else name)
            found[name] = found.get(name, 0) + 1
    return frozenset(made)


def links(page: Path) -> Iterator[tuple[int, str]]:
    for token in tokens(page):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if isinstance(target, str) and "://" not in target:
                yield (token.map or (0, 0))[0] + 1, target


def test_links_lead_somewhere() -> None:
    found = []
    for page in PAGES:
        for line, target in links(page):
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists():
                found.append(f"{page.relative_to(ROOT)}:{line}: no {name}")
            elif anchor and anchor not in anchors(file):
                found.append(f"{page.relative_to(ROOT)}:{line}: no heading {target}")
    assert not found


def test_every_page_can_be_reached_from_the_first_one() -> None:
    seen: set[Path] = set()
    new = {ROOT / "README.md"}
    while new:
        page = new.pop()
        seen.add(page)
        for _line, target in links(page):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file not in seen:
                new.add(file)
    assert {page for page in PAGES if (ROOT / "docs") in page.parents} <= seen
