# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads by what the hosts know each other: their keys, a CA, or the rules for the Go implementation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Server
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

_CA = "mpquic_ca_file"
_CERTIFICATE = "mpquic_certificate_file"
_FROM = "mpquic_legacy_from"
_PIN = "mpquic_legacy_pin"
#: Who has one of these runs the Go implementation.
LEGACY = (_FROM, _PIN)
VARIABLES = (_CA, _CERTIFICATE, *LEGACY)

# What the daemon takes as the name of a peer, and what a certificate can hold as a DNS name (RFC 1123 section 2.1).
_PEER_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DNS_NAME = re.compile(r"(?:(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\.)*(?=[A-Za-z0-9_-]*[A-Za-z])(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_SOURCES = values.Networks({4: range(8, 33)}, "198.51.100.0/24")


def legacy_from(host: str, variables: Mapping[str, Any], problems: Problems) -> tuple[IPNetwork, ...]:
    """Read the networks that a client with the Go implementation sends from; none for a client of ours."""
    if _FROM not in variables:
        return ()
    read = values.networks(variables[_FROM], f"{host}: {_FROM}", _SOURCES, problems)
    return tuple(network for network in read if network)


def legacy_pins(host: str, variables: Mapping[str, Any], problems: Problems) -> tuple[str, ...]:
    """Read the pins of a VPS with the Go implementation; none for a VPS of ours."""
    return values.pins(variables[_PIN], f"{host}: {_PIN}", problems) if _PIN in variables else ()


def certified(
    clients: Sequence[str], servers: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], problems: Problems
) -> bool:
    """Tell whether a CA vouches for the hosts of the site, all of them or none; check what that needs of each."""
    for client in clients:
        if not _PEER_NAME.fullmatch(client):
            problems.unexpected(f"{client}: name", client, "1 to 64 letters, digits, . _ - for a client")
    ours = [host for host in clients if _FROM not in hostvars[host]]
    ours += [host for host in servers if _PIN not in hostvars[host] and host not in clients]
    with_ca = [host for host in ours if _CA in hostvars[host]]
    for host in ours:
        if with_ca:
            _certified_host(host, hostvars[host], with_ca[0], problems)
        elif _CERTIFICATE in hostvars[host]:
            problems.warn(f"{host}: {_CERTIFICATE}", f"not used without {_CA}")
    return bool(with_ca)


def _certified_host(host: str, variables: Mapping[str, Any], example: str, problems: Problems) -> None:
    if _CA in variables:
        values.controller_path(variables[_CA], f"{host}: {_CA}", problems)
    else:
        problems.missing(f"{host}: {_CA}", f"the CA's certificate as for {example}: all hosts have one or none")
    if _CERTIFICATE in variables:
        values.controller_path(variables[_CERTIFICATE], f"{host}: {_CERTIFICATE}", problems)
    else:
        problems.missing(
            f"{host}: {_CERTIFICATE}", "the certificate that the CA issued for it (playbooks/requests.yml)"
        )
    if not _DNS_NAME.fullmatch(host):
        problems.unexpected(f"{host}: name", host, "a DNS name, as it stands in the host's certificate")


def refuse_two_old_ends(clients: Sequence[Client], servers: Mapping[str, Server], problems: Problems) -> None:
    """Record every tunnel of which neither end would be ours."""
    for client in clients:
        server = servers.get(client.server)
        if client.legacy and server and server.legacy:
            problems.errors.append(
                f"{client.host}: {_FROM}: its VPS {server.host} has {_PIN}, expected one end that runs this collection"
            )
