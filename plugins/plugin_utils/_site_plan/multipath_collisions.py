# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Compares multipath tunnels with each other and with all other tunnels. Each message names both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.claims import (
    Claim,
    of_key,
    of_link_lans,
    of_link_tuns,
    of_tunnel,
    refuse_overlaps,
    same,
    same_number,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import by_port
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import MultipathTunnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Server
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems


def of_client(client: Client, server: Server | None, problems: Problems) -> None:
    """Compare what is on one client."""
    for tunnel in client.multipaths:
        if client.legacy:
            problems.errors.append(
                f"{tunnel.where}: found beside mpquic_legacy_from, expected a client that runs this collection"
            )
        elif server is not None and server.legacy:
            problems.errors.append(
                f"{tunnel.where}: its VPS {server.host} has mpquic_legacy_pin, expected one that runs this collection"
            )
        _unheld(client, tunnel, problems)
    _classified_lans(client, problems)


def of_server(clients: Sequence[Client], problems: Problems) -> None:
    """Compare what meets on one VPS."""
    multipaths = [tunnel for client in clients for tunnel in client.multipaths]
    if not multipaths:
        return
    same(of_key(multipaths, "id"), problems, lambda _a, _b: False)
    others = [tunnel for client in clients for tunnel in client.tunnels]
    # One link speaks for those that share its instance.
    leaders = [members[0][1] for members in by_port(clients).values()]
    for key, of_link in (("port", "port"), ("tun_name", "server_tun")):
        claims = [*of_key(others, key), *of_key(leaders, of_link), *of_key(multipaths, key)]
        same(claims, problems, lambda a, b: not _is_multipath(b) or same_number(a, b))
    claims = [claim for tunnel in others for claim in of_tunnel(tunnel)]
    claims += [claim for link in leaders for claim in of_link_tuns(link)]
    claims += [claim for client in clients for link in client.links if link.routed for claim in of_link_lans(link)]
    claims += [claim for tunnel in multipaths for claim in of_tunnel(tunnel)]
    owners = {id(tunnel): client for client in clients for tunnel in client.multipaths}
    link_owners = {id(link): client for client in clients for link in client.links}

    def quiet(a: Claim, b: Claim) -> bool:
        if not (_is_multipath(a) or _is_multipath(b)) or a.entry is b.entry or same_number(a, b):
            return True
        # The client has been asked already about the LANs of its links, which come before all multipath tunnels.
        owner = link_owners.get(id(a.entry)) if a.interface is not None else None
        return owner is not None and owner is owners[id(b.entry)]

    refuse_overlaps(claims, problems, quiet)


def _is_multipath(claim: Claim) -> bool:
    return isinstance(claim.entry, MultipathTunnel)


def _classified_lans(client: Client, problems: Problems) -> None:
    """Check that no class link takes what a multipath tunnel is for, behind NAT or not."""
    claims = [claim for link in client.links for claim in of_link_lans(link) if claim.own]
    claims += [claim for tunnel in client.multipaths for claim in of_tunnel(tunnel)]
    refuse_overlaps(claims, problems, lambda a, b: _is_multipath(a) or not _is_multipath(b))


def _unheld(client: Client, tunnel: MultipathTunnel, problems: Problems) -> None:
    """Mention where a VPS may send more than a WAN carries: its shaper cannot tell the WANs of this tunnel apart."""
    for path in tunnel.paths:
        link = next((link for link in client.links if link.wan == path.wan and link.rates.down), None)
        if link is not None and not path.own_rates.down:
            of_link = f"the {link.rates.down} of {link.where}"
            text = f"not set, the VPS may send {path.rates.down} by {path.wan} beside {of_link}"
            problems.warn(f"{path.where}: rate_down", text)
