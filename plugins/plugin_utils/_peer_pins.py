# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Puts the pins of keys into server instances of the plan, which knows only who the peers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def peer_pins(instances: Iterable[Mapping[str, Any]], pins: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the instances with the pins of each peer that is known by its key.

    A peer with ``cert_names`` stays as it is. One without a known key is left out: nobody can connect in its place.
    """
    return [_with_pins(instance, pins) for instance in instances]


def _with_pins(instance: Mapping[str, Any], pins: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    config = instance["config"]
    if "peers" not in config:
        return dict(instance)
    peers = [
        # The name first: people read these files.
        peer if "cert_names" in peer else {"name": peer["name"], "pins": list(pins[peer["name"]]), **peer}
        for peer in config["peers"]
        if "cert_names" in peer or pins.get(peer["name"])
    ]
    return {**instance, "config": {**config, "peers": peers}}
