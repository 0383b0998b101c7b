# SPDX-License-Identifier: GPL-3.0-or-later
"""A site as one HTML file: what is planned, what the hosts say, and where the two differ.

PRIVATE to this collection. Pure but for the templates that it reads: the plan and what the play brought back in, text
out. ``answers`` reads what hosts said and ``ends`` the plan; ``live``, ``past`` and ``plots`` put them together,
``drawing`` and ``overview`` place what is drawn, ``page`` is what the templates show.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.page import page
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.plots import BAR, BOTTOM, THICK
from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Mapping


def site_report(plan: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]], now: float) -> str:
    """Return the report of a site as HTML.

    Args:
        plan: A site plan without errors.
        seen: By host, what the play brought back: ``reached``, the result of a ping, ``answers``, that of the loop over
            questions, and ``changes``, of the filter site_changes. Hosts that are left out were not asked.
        now: Unix seconds.

    """
    numbers = {"bottom": BOTTOM, "bar": BAR, "thick": THICK}
    return _templates().get_template("report.html.j2").render(page=page(plan, seen, now), **numbers) + "\n"


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # whatever hosts and their peers say
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
