# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What holds the tunnels of one WAN to its rate: tc classes, and by what nftables puts packets into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import classes, numbering, values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client

MAJOR = 0x6D71
_REST_PRIORITY = 7


def link(of: ClassLink, where: str, rate: str | None, *, default: bool) -> dict[str, Any]:
    """Return the shaper of a link on one of its ends.

    ``where``: the WAN of the client, the address of the VPS. ``default``: all else that leaves there is held as well.
    """
    shares = [
        {
            "name": item.tun_name,
            "minor": numbering.class_minor(of.id, item.number),
            "priority": item.priority,
            "share": item.share,
        }
        for item in of.classes
    ]
    rest = {
        "name": "rest",
        "minor": numbering.rest_minor(of.id),
        "priority": _REST_PRIORITY,
        "share": classes.REST_SHARE,
    }
    return {
        "name": of.server_tun,
        "on": where,
        "rate": values.bits_per_second(rate or ""),
        "inner": numbering.shaper_minor(of.id),
        "default": default,
        "classes": [*shares, rest],
    }


def of_client(of: ClassLink, owner: Client) -> list[dict[str, Any]]:
    """Return by what packets to the VPS are told apart on the WAN of a link of this client."""
    others = [tunnel.port for tunnel in owner.tunnels if tunnel.wan == of.wan]
    others += [tunnel.port for tunnel in owner.multipaths if of.wan in tunnel.wans]
    return _marks(of, others, of.wan, "dport")


def of_server(of: ClassLink, owner: Client) -> list[dict[str, Any]]:
    """Return the same for packets to that client: its ports say which they are.

    Those of a multipath tunnel do not: all its WANs have one.
    """
    return _marks(of, [tunnel.port for tunnel in owner.tunnels if tunnel.wan == of.wan], None, "sport")


def _marks(of: ClassLink, others: Iterable[int], interface: str | None, port_key: str) -> list[dict[str, Any]]:
    told: list[tuple[int, int | str | None, int]] = [
        (of.port, item.outer_dscp, numbering.class_minor(of.id, item.number)) for item in of.classes
    ]
    told += [(port, None, numbering.rest_minor(of.id)) for port in sorted(others)]
    return [
        {"interface": interface, "port_key": port_key, "port": port, "dscp": dscp, "classid": f"{MAJOR:x}:{minor:x}"}
        for port, dscp, minor in told
    ]
