# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Puts the pins of keys into server instances of the plan, which knows only who the peers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def peer_pins(instances: Iterable[Mapping[str, Any]], pins: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the instances with the pins of each peer that is known by its key.

    Where several peers are one host's, ``owners`` beside ``config`` says whose key each of them shows. A peer with
    ``cert_names`` stays as it is. One without a known key is left out: nobody can connect in its place.
    """
    return [_with_pins(instance, pins) for instance in instances]


def _with_pins(instance: Mapping[str, Any], pins: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    config = instance["config"]
    if "peers" not in config:
        return dict(instance)
    owners = instance.get("owners", {})
    peers = []
    for peer in config["peers"]:
        known = pins.get(owners.get(peer["name"], peer["name"]))
        if "cert_names" in peer:
            peers.append(peer)
        elif known:
            # The name first: people read these files.
            peers.append({"name": peer["name"], "pins": list(known), **peer})
    return {**instance, "config": {**config, "peers": peers}}
