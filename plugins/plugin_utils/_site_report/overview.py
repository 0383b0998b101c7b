# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The drawing of all sites: each client and its VPS, with a dot for each tunnel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.layout import (
    Box,
    Drawing,
    Wire,
    mean,
    stack,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 720.0
_TOP, _GAP = 8.0, 8.0
_CLIENTS, _SERVERS = (8.0, 300.0), (500.0, 212.0)


@dataclass(frozen=True)
class Site:
    """A client on one line: its VPS, what to say of it, the worst of it, and the tone of each line to the VPS."""

    name: str
    server: str
    said: str
    tone: str


def draw(sites: Sequence[Site], servers: Mapping[str, tuple[str, str]]) -> Drawing:
    """Return the drawing; ``servers`` is the address of each VPS, and the tone of it."""
    boxes = [Box(site.name, [], tone=site.tone, state=site.said, least=30) for site in sites]
    below = [stack(boxes, *_CLIENTS, _TOP, _GAP)]
    found = {}
    for name, (address, tone) in servers.items():
        places = [box.centre for site, box in zip(sites, boxes, strict=True) if site.server == name]
        found[name] = Box(name, [address], mean(places), tone)
    below.append(stack([*found.values()], *_SERVERS, _TOP, _GAP))
    drawing = Drawing("All sites", f"{len(sites)} sites and {len(servers)} VPS", _WIDTH, max(below) + 8)
    drawing.boxes = [*boxes, *found.values()]
    for site, box in zip(sites, boxes, strict=True):
        far = found[site.server]
        hint = f"{site.name} to {site.server}: {site.said}"
        drawing.wires.append(Wire((box.right, box.centre), (far.x, far.centre), site.tone, hint))
    return drawing
