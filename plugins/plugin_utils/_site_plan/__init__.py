# SPDX-License-Identifier: GPL-3.0-or-later
"""The site plan: what one inventory means for every host of it.

PRIVATE to this collection. Pure: plain data in, plain data out, no I/O, no templates, no clock.

``inventory`` reads the operator's words into the ``model``, ``collisions`` compares its parts, ``render`` turns it into
what the roles put on the hosts. Nothing is planned while anything is wrong; every error is found in one pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    collisions,
    exporters,
    inventory,
    pages,
    render,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CLIENTS = "mpquic_clients"
SERVERS = "mpquic_vps"
MONITORS = "mpquic_monitoring"


def site_plan(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan: ``errors``, ``warnings`` and, when there are no errors, ``hosts``, ``exporters`` and ``pages``.

    ``groups`` and ``hostvars`` are Ansible's variables of these names. Errors and warnings are lists of lines, each
    naming host, variable, entry and expectation. ``hosts`` maps every host of the two groups to its part:
    ``role``, ``legacy`` (it runs the Go implementation and is left alone), ``peers`` (the hosts whose keys it has to
    know), ``instances`` (``id``, ``config``, ``env``) and ``nft``; a client's part has ``server`` as well, the VPS's
    has ``clients``. Class links add ``classes`` (what they are, for whoever explains them on a client) and ``shaper``,
    WANs that are paid for by volume ``wans``.
    ``exporters`` maps those of ours to ``enabled``, ``address``, ``port`` and ``from`` of its metrics, and ``target``,
    what Prometheus asks; address and target are empty where nothing of it is on a network. ``pages`` maps them to
    ``enabled``, ``address``, ``port`` and ``from`` of their status page.
    """
    problems = Problems()
    site = inventory.read(groups.get(CLIENTS, []), groups.get(SERVERS, []), hostvars, problems)
    collisions.find(site, problems)
    ends = [*groups.get(CLIENTS, []), *groups.get(SERVERS, [])]
    offered = exporters.read(ends, groups.get(MONITORS, []), hostvars, problems)
    shown = pages.read(ends, hostvars, problems)
    found: dict[str, Any] = {"hosts": {}, "exporters": {}, "pages": {}}
    if not problems.errors:
        found = {"hosts": render.hosts(site), "exporters": offered, "pages": shown}
    return {"errors": problems.errors, "warnings": problems.warnings, **found}
