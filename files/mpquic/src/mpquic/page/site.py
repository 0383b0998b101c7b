# SPDX-License-Identifier: GPL-3.0-or-later
"""The site as a picture: LANs, classes, tunnels, paths, WANs and the VPS, and what leads from each to the next.

States and faults are those of `mpquic.host.overview`. A node has an ``id``, a ``kind``, a ``name``, what it is
``about``, a ``level`` and, of what daemons measure, figures; None is what is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.host import overview
from mpquic.host.history import usage
from mpquic.io import symptoms
from mpquic.page.names import node
from mpquic.page.plan import Lan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpquic.page.plan import Plan

LAN, CLASS, TUNNEL, PATH, WAN, VPS = "lan", "class", "tunnel", "path", "wan", "vps"
"""Kinds of nodes, from left to right."""
_RANK = {overview.GOOD: 0, overview.UNSURE: 1, overview.BAD: 2}
#: What the only peer of a server says for its instance.
_OF_ONE = ("recent", "figures", "datagram", "last_fault", "rtt_ms", "remote")
_USED = {usage.OK: overview.GOOD, usage.WARN: overview.UNSURE, usage.FULL: overview.UNSURE}


def picture(statuses: Sequence[dict[str, Any]], wans: Iterable[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """Return ``summary``, ``nodes`` and ``links`` of what the instances of this host say."""
    found = _Picture(plan)
    for status in statuses:
        found.instance(status)
    found.used(wans)
    found.sum_up()
    levels = [one["level"] for one in found.nodes.values()]
    return {
        "summary": overview.summary(statuses) if statuses else "no instance: nothing runs and nothing is configured",
        "level": max(levels, key=_RANK.__getitem__, default=overview.UNSURE),
        "nodes": list(found.nodes.values()),
        "links": list(found.links.values()),
    }


class _Picture:
    def __init__(self, plan: Plan) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.links: dict[tuple[str, str], dict[str, Any]] = {}
        self._plan = plan

    def instance(self, status: dict[str, Any]) -> None:
        """Add an instance, or all the peers of a server."""
        lan = self._plan.lans.get(status["id"])
        peers = status.get("peers", ())
        if len(peers) > 1:
            for peer in peers:
                self._end(status, peer, _behind(peer, None), peer["name"])
        elif peers:
            one = status | {key: peers[0].get(key) for key in _OF_ONE if peers[0].get(key) is not None}
            one |= {key: peers[0][key] for key in ("paths", "classes") if peers[0].get(key)}
            if _RANK[overview.level(peers[0]["state"])] > _RANK[overview.level(status["state"])]:
                one |= {key: peers[0].get(key) for key in ("state", "reason", "since_s")}
            self._end(status, one, _behind(peers[0], lan), peers[0]["name"], alone=True)
        else:
            self._end(status, status, lan, "")

    def _end(
        self, status: dict[str, Any], end: dict[str, Any], lan: Lan | None, peer: str, *, alone: bool = False
    ) -> None:
        """Add a tunnel with all that is before and behind it."""
        instance = status["id"]
        place = (instance, "") if alone else (instance, peer)
        about = " ".join(part for part in (status.get("role", ""), peer) if part)
        tunnel = self._add(TUNNEL, node(TUNNEL, *place), instance, about, measured(end))
        near = self._classes(instance, peer, end, tunnel)
        for one in near:
            self._before(one, lan)
        paths = end.get("paths") or ()
        for path in paths:
            mine = self._add(
                PATH, node(PATH, instance, peer, path["name"]), path["name"], f"of {instance}", measured(path)
            )
            self._link(tunnel, mine, mine)
            self._outside(mine, path, status)
        if not paths:
            self._outside(tunnel, end, status)

    def _classes(self, instance: str, peer: str, end: dict[str, Any], tunnel: dict[str, Any]) -> list[dict[str, Any]]:
        """Add the classes of a tunnel; return what its LAN leads to."""
        added = []
        for one in end.get("classes") or ():
            about = one["policy"] + (f", {one['tx_err']} packets without a path" if one["tx_err"] else "")
            figures = _rates(one) | {"level": tunnel["level"], "of": instance}
            added.append(self._add(CLASS, node(CLASS, instance, peer, one["name"]), one["name"], about, figures))
        link = self._plan.links.get(instance)
        if link is not None:
            figures = {key: tunnel[key] for key in ("level", "tx", "rx")} | {"of": instance}
            added.append(self._add(CLASS, node(CLASS, instance), instance, f"of {link}", figures))
        for mine in added:
            self._link(mine, tunnel, mine)
        return added or [tunnel]

    def _before(self, mine: dict[str, Any], lan: Lan | None) -> None:
        """Add the LAN behind a class or tunnel."""
        if lan is None or not lan.prefixes:
            return
        first, *more = lan.prefixes
        about = " ".join(filter(None, [lan.interface, f"and {', '.join(more)}" if more else ""]))
        self._link(self._add(LAN, node(LAN, *lan.prefixes), first, about, {}), mine, mine)

    def _outside(self, mine: dict[str, Any], entry: dict[str, Any], status: dict[str, Any]) -> None:
        """Add the WAN and the VPS that a tunnel or path goes by."""
        remote = _host(entry.get("remote"))
        if status.get("role") == "server":
            # A server knows of a client's WAN the address that its packets come from.
            wan, vps = remote, _host(entry.get("local")) or _host(status.get("local")) or _bound(status)
        else:
            wan, vps = _bound(entry), remote
        last = mine
        if wan:
            last = self._add(WAN, node(WAN, wan), wan, "", {})
            self._link(mine, last, mine)
        if vps:
            self._link(last, self._add(VPS, node(VPS, vps), vps, "", {}), mine)

    def used(self, wans: Iterable[dict[str, Any]]) -> None:
        """Say of WANs what they have used of their quotas."""
        for wan in wans:
            found = self.nodes.get(node(WAN, str(wan.get("interface") or wan.get("wan"))))
            if found is not None:
                found["about"] = usage.line(wan).partition(": ")[2]
                found["quota"] = _USED.get(wan["level"], overview.GOOD)

    def sum_up(self) -> None:
        """Give LANs, WANs and VPSs the figures of what leads to them."""
        for found in self.nodes.values():
            into = [link for link in self.links.values() if link["to"] == found["id"]]
            if found["kind"] == LAN:
                into = [link for link in self.links.values() if link["from"] == found["id"]]
            elif found["kind"] not in {WAN, VPS}:
                continue
            levels = [link["level"] for link in into]
            # Where something works, it is not this that is broken.
            found["level"] = min(levels, key=_RANK.__getitem__, default=overview.GOOD)
            if found["kind"] == WAN:
                if overview.BAD in levels and found["level"] == overview.GOOD:
                    found["level"] = overview.UNSURE
                found["level"] = max(found["level"], found.get("quota", overview.GOOD), key=_RANK.__getitem__)
            for key in ("tx", "rx"):
                rates = [link[key] for link in into if link[key] is not None]
                found[key] = sum(rates) if rates else None

    def _add(self, kind: str, name: str, shown: str, about: str, figures: dict[str, Any]) -> dict[str, Any]:
        fresh: dict[str, Any] = {"id": name, "kind": kind, "name": shown, "about": about, "level": overview.GOOD}
        fresh |= {"tx": None, "rx": None}
        return self.nodes.setdefault(name, fresh | figures)

    def _link(self, one: dict[str, Any], other: dict[str, Any], figures: dict[str, Any]) -> None:
        """Let one thing lead to another; what several use is as good as the best of them."""
        key = (one["id"], other["id"])
        found = self.links.setdefault(
            key, {"from": key[0], "to": key[1], "level": figures["level"], "tx": None, "rx": None}
        )
        found["level"] = min(found["level"], figures["level"], key=_RANK.__getitem__)
        for name in ("tx", "rx"):
            if figures[name] is not None:
                found[name] = (found[name] or 0) + figures[name]


def measured(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the state and the figures of a tunnel, peer or path."""
    faults = overview.faults(entry)
    level = overview.level(entry["state"])
    if level == overview.GOOD and (faults or entry.get("legacy")):
        level = overview.UNSURE
    last = entry.get("last_fault")
    fault = "; ".join(faults.values())
    return _rates(entry) | {
        "state": entry["state"],
        "level": level,
        "since_s": entry.get("since_s"),
        "fault": fault or ("no identity (mpquic-ip)" if entry.get("legacy") else ""),
        "last": last if last is not None and last["ago_s"] < overview.OLD else None,
        "rtt": entry.get("rtt_ms"),
        "loss": symptoms.loss(entry),
        "queue": (entry.get("figures") or {}).get("queue_packets"),
        "mtu": entry.get("mtu"),
    }


def _rates(entry: dict[str, Any]) -> dict[str, Any]:
    recent = entry.get("recent") or {}
    return {"tx": recent.get("tx_bps"), "rx": recent.get("rx_bps")}


def _behind(peer: dict[str, Any], lan: Lan | None) -> Lan | None:
    """Return the prefixes of a server's peer that are not its TUN's address, or else those of the plan."""
    address = peer["address"].partition("/")[0]
    prefixes = tuple(one for one in peer.get("allowed", ()) if one not in {f"{address}/32", f"{address}/128"})
    return Lan(prefixes) if prefixes else lan


def _host(address: str | None) -> str:
    """Return an address without its port."""
    return (address or "").rpartition(":")[0].strip("[]")


def _bound(entry: dict[str, Any]) -> str:
    """Return the interface or address that an end is bound to."""
    found = (entry.get("bind") or "").removeprefix("if:")
    return found if found not in {"", "0.0.0.0", "::"} else _host(entry.get("local"))  # noqa: S104 - compared, not bound
