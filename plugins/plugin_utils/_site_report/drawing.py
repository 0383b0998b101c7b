# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The drawing of a site: LANs, tunnels, WANs, and the ports of the VPS, with a line for each path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import live, words
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.layout import (
    Box,
    Drawing,
    Label,
    Wire,
    mean,
    stack,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 1120.0
_TOP, _GAP = 40.0, 12.0
#: Left edge and width of each column.
_LANS, _TUNNELS, _WANS, _PORTS = (8.0, 172.0), (232.0, 244.0), (528.0, 176.0), (892.0, 212.0)
#: Between the lines that end at one port.
_PITCH = 19.0
#: Prefixes of a LAN that are drawn; all are in the table.
_PREFIXES = 3


def draw(client: str, server: str, tunnels: Sequence[live.Live], wans: Mapping[str, Sequence[str]]) -> Drawing:
    """Return the drawing of one client; ``wans`` is what to say of a WAN, line by line."""
    drawing = Drawing(client, _said(client, server, tunnels), _WIDTH)
    boxes = [_tunnel(one) for one in tunnels]
    below = [stack(boxes, *_TUNNELS, _TOP, _GAP)] if boxes else [_TOP]
    middles = {id(one): box.centre for one, box in zip(tunnels, boxes, strict=True)}
    lans = _lans(tunnels, middles)
    uplinks = _wans(tunnels, middles, wans)
    ports = _ports(tunnels, middles)
    below.append(stack([*lans.values()], *_LANS, _TOP, _GAP))
    below.append(stack([*uplinks.values()], *_WANS, _TOP, _GAP))
    below.append(stack([*ports.values()], _PORTS[0] + 10, _PORTS[1] - 20, _TOP + 34, _GAP))
    drawing.boxes = [*lans.values(), *boxes, *uplinks.values(), *ports.values()]
    drawing.height = max(below) + 20
    remote = tunnels[0].tunnel.remote if tunnels else ""
    drawing.frames = [_frame(f"VPS {server}", [remote], below[-1] + 10)]
    drawing.wires = _wires(tunnels, boxes, lans, uplinks, ports)
    columns = (("LANs", _LANS), (f"tunnels of {client}", _TUNNELS), ("WANs", _WANS), ("tunnel's end", _PORTS))
    drawing.heads = [Label(place[0], 20, text, "head") for text, place in columns]
    return drawing


def _said(client: str, server: str, tunnels: Sequence[live.Live]) -> str:
    told = [f"{one.tunnel.title} by {words.listed([path.wan for path in one.tunnel.paths])}" for one in tunnels]
    return f"{client} to {server}: {'; '.join(told) or 'no tunnel'}"


def _tunnel(one: live.Live) -> Box:
    tunnel = one.tunnel
    mark = f" · mark {tunnel.mark:#x}" if tunnel.mark is not None else ""
    return Box(
        title=f"{tunnel.title} · {tunnel.tun}" if tunnel.tun != tunnel.id else tunnel.title,
        lines=[
            ", ".join(tunnel.addresses),
            f"table {tunnel.table} · rule {tunnel.priority}",
            *([mark[3:]] if mark else []),
        ],
        tone=one.worst,
        state=_state(one),
        hint=_hint(one.whole),
    )


def _state(one: live.Live) -> str:
    if one.whole.tone == one.worst:
        return one.whole.state
    return f"{sum(row.tone == live.GOOD for row in one.paths.values())} of {len(one.paths)} paths well"


def _hint(row: live.Row) -> str:
    fault = f"; {row.fault}" if row.fault != words.NONE else ""
    since = f" for {row.since}" if row.since != words.NONE else ""
    return f"{row.name}: {row.state}{since}{fault}"


def _lans(tunnels: Sequence[live.Live], middles: Mapping[int, float]) -> dict[str, Box]:
    at: dict[str, list[float]] = {}
    behind: dict[str, dict[str, None]] = {}
    for one in tunnels:
        for lan in one.tunnel.lans:
            at.setdefault(lan.name, []).append(middles[id(one)])
            behind.setdefault(lan.name, {}).update(dict.fromkeys(lan.cidrs))
    found = {}
    for name, cidrs in behind.items():
        lines = list(cidrs)
        if len(lines) > _PREFIXES:
            lines = [*lines[: _PREFIXES - 1], f"and {len(lines) - _PREFIXES + 1} more"]
        found[name] = Box(name, lines, mean(at[name]), hint=", ".join(cidrs))
    return found


def _wans(
    tunnels: Sequence[live.Live], middles: Mapping[int, float], said: Mapping[str, Sequence[str]]
) -> dict[str, Box]:
    at: dict[str, float] = {}
    local: dict[str, str] = {}
    for one in tunnels:
        for path in one.tunnel.paths:
            # Beside the first of its tunnels, which keeps most lines straight.
            at.setdefault(path.wan, middles[id(one)])
            row = one.path(path.name)
            if not row.seen and row.local:
                local[path.wan] = row.local
    return {
        wan: Box(wan, [line for line in (local.get(wan), *said.get(wan, ())) if line], middle)
        for wan, middle in at.items()
    }


def _ports(tunnels: Sequence[live.Live], middles: Mapping[int, float]) -> dict[int, Box]:
    """Return a box for each port; classes share one."""
    found: dict[int, Box] = {}
    for port in dict.fromkeys(one.tunnel.port for one in tunnels):
        ours = [one for one in tunnels if one.tunnel.port == port]
        lines = sum(len(one.tunnel.paths) for one in ours)
        far = ours[0].tunnel
        found[port] = Box(
            f":{port}" + (f" · {far.far_tun}" if far.far_tun else ""),
            [", ".join(far.far_addresses)],
            mean([middles[id(one)] for one in ours]),
            least=10 + _PITCH * (lines + 1),
        )
    return found


def _frame(title: str, lines: Sequence[str], bottom: float) -> Box:
    return Box(title, [line for line in lines if line], x=_PORTS[0], y=28.0, width=_PORTS[1], least=bottom - 28.0)


def _wires(
    tunnels: Sequence[live.Live],
    boxes: Sequence[Box],
    lans: Mapping[str, Box],
    uplinks: Mapping[str, Box],
    ports: Mapping[int, Box],
) -> list[Wire]:
    wires = []
    ended: dict[int, int] = {}
    for one, box in zip(tunnels, boxes, strict=True):
        for lan in one.tunnel.lans:
            source = lans[lan.name]
            wires.append(Wire((source.right, source.centre), (box.x, box.centre), "plain", ""))
        port = ports[one.tunnel.port]
        for path in one.tunnel.paths:
            uplink, row = uplinks[path.wan], one.path(path.name)
            hint = _hint(row)
            wires.append(Wire((box.right, box.centre), (uplink.x, uplink.centre), row.tone, hint))
            ended[one.tunnel.port] = ended.get(one.tunnel.port, 0) + 1
            y = port.y + 12 + _PITCH * ended[one.tunnel.port] - _PITCH / 2
            wires.append(Wire((uplink.right, uplink.centre), (port.x, y), row.tone, hint, _figures(one, row)))
    return wires


def _figures(one: live.Live, row: live.Row) -> str:
    if row.state == "not known":
        return "not known"
    said = [row.state] if one.paths and row.state != "up" else []
    said += [row.rtt] if row.rtt != words.NONE else []
    said += [f"{row.loss} lost"] if row.loss not in {words.NONE, "0 %"} else []
    return " · ".join(said)
