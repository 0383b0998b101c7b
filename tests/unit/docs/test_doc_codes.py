# SPDX-License-Identifier: GPL-3.0-or-later
"""The codes that the incident guide names are ones that the program says."""

from __future__ import annotations

import re

from doc_pages import ROOT, tokens
from mpquic.host.doctor import advice

GUIDE = ROOT / "docs/guides/something-is-wrong.md"
STATUS = ROOT / "docs/status.md"
CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")


def test_codes_are_known() -> None:
    events = {
        word for word in (ROOT / "docs/history.md").read_text(encoding="utf-8").split("`") if CODE.fullmatch(word)
    }
    named = {
        child.content
        for page in (GUIDE, STATUS)
        for token in tokens(page)
        for child in token.children or ()
        if child.type == "code_inline" and CODE.fullmatch(child.content)
    }
    assert len(named) > 20
    assert named <= advice.known() | events, named - advice.known() - events
