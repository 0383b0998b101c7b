# SPDX-License-Identifier: GPL-3.0-or-later
"""By which WANs a tunnel may leave, and what keeps one of them from carrying anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.config import InstanceConfig
    from mpquic.host.explain.report import Explanation
    from mpquic.host.state import HostState


def problems(state: HostState, wan: str | None, instance: str) -> Iterator[Problem]:
    """Yield what is wrong with the interface of a WAN."""
    if wan is None:
        return
    link = state.links.get(wan)
    if link is None:
        yield Problem("wan_missing", f"WAN {wan} of tunnel {instance} does not exist")
    elif not link.up or not link.carrier:
        yield Problem("wan_down", f"WAN {wan} of tunnel {instance} is {'down' if not link.up else 'unplugged'}")


def several(loaded: InstanceConfig, status: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the paths of a tunnel that has several, as its daemon tells them; none for a tunnel with one WAN.

    ``status`` is what the daemon says of the instance (client) or of the peer (server), None when it does not answer.
    """
    keys = ("name", "state", "bind", "local", "remote")
    told = [{key: path.get(key) for key in keys} for path in (status or {}).get("paths") or ()]
    if told or loaded.multipath is None:
        return told
    return [
        {"name": path.name, "state": "unknown", "bind": str(path.bind_ip), "local": None, "remote": None}
        for path in loaded.multipath.paths
    ]


def leave(paths: list[dict[str, Any]], found: Explanation, state: HostState) -> None:
    """Say by which WANs the tunnel's packets may leave. A WAN that is missing is no fault while another one works."""
    assert found.tunnel is not None
    found.tunnel["paths"] = paths
    for path in paths:
        ends = " -> ".join(text for text in (path["local"], path["remote"]) if text)
        bind = str(path["bind"] or "")
        found.step("path", " ".join(word for word in (f"{path['name']},", str(path["state"]), bind, ends) if word))
        wan = bind.removeprefix("if:") if bind.startswith("if:") else None
        found.notes += [problem.message for problem in problems(state, wan, str(found.tunnel["id"]))]
    found.notes.append("which path a packet takes, the daemon decides flow by flow (mpquic status)")
