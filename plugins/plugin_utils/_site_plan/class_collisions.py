# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Compares class links with each other and with the other tunnels. Each message names both."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.claims import (
    Claim,
    at,
    of_key,
    of_link_lans,
    of_link_tuns,
    of_tunnel,
    overlapping,
    same,
    same_number,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink, by_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import TrafficClass
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Client, Tunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

# The daemon's limit for the name of a peer.
_LONGEST_PEER = 64


def of_client(client: Client, problems: Problems) -> None:
    """Compare what is on one client."""
    same(of_key(client.links, "id"), problems, lambda _a, _b: False)
    _wans(client, problems)
    for link in client.links:
        for item in link.classes:
            _peer_name(client, item, problems)
            if client.legacy and not item.nat:
                problems.unexpected(f"{item.where}: nat", item.nat, f"true, because {client.host} is a legacy client")
    _lans(client, problems)
    _rules_come_first(client, problems)


def of_server(clients: Sequence[Client], problems: Problems) -> None:
    """Compare what meets on one VPS."""
    instances = by_port(clients)
    for members in instances.values():
        _share(members, problems)
    # One link speaks for those that share its instance.
    leaders = [members[0][1] for members in instances.values()]
    owners = {id(link): client for client in clients for link in client.links}

    def of_one_client(a: Claim, b: Claim) -> bool:
        return owners.get(id(a.entry), a) is owners.get(id(b.entry), b)

    same(of_key(leaders, "id"), problems, of_one_client)
    tunnels = [tunnel for client in clients for tunnel in client.tunnels]
    for key, of_link in (("port", "port"), ("tun_name", "server_tun")):
        claims = [*of_key(tunnels, key), *of_key(leaders, of_link)]
        same(claims, problems, lambda a, b: not isinstance(b.entry, ClassLink) or same_number(a, b))
    _networks(clients, leaders, of_one_client, problems)


def networks(client: Client) -> Iterator[Claim]:
    """Yield the networks that class links bring to a client."""
    for link in client.links:
        yield from of_link_tuns(link)
        yield from (claim for claim in of_link_lans(link) if claim.own)


def _wans(client: Client, problems: Problems) -> None:
    first: dict[str, ClassLink] = {}
    for link in client.links:
        other = first.setdefault(link.wan, link)
        if other is not link and link.shaped:
            with_what = f"already used by {other.where}, and the rates of a WAN (mpquic_wans) are for one link"
            problems.clash(f"{link.where}: wan", link.wan, with_what)
        elif other is not link:
            problems.warn(f"{link.where}: wan", f"{link.wan} also carries {other.where}")


def _peer_name(client: Client, item: TrafficClass, problems: Problems) -> None:
    name = f"{client.host}.{item.tun_name}"
    if len(name) > _LONGEST_PEER:
        expected = f"at most {_LONGEST_PEER} characters in {client.host}.{item.tun_name}, as the VPS calls it"
        problems.unexpected(f"{item.where}: name", item.name, expected)


def _lans(client: Client, problems: Problems) -> None:
    """Check that the prefixes of classified LANs are classified once, and nothing else on the client."""

    def quiet(a: Claim, b: Claim) -> bool:
        if not (isinstance(a.entry, ClassLink) and a.interface) and not (
            isinstance(b.entry, ClassLink) and b.interface
        ):
            return True
        if a.interface is None or a.interface != b.interface:
            # What a link takes over from a tunnel is compared as that tunnel's.
            return not (a.own or b.own)
        # A link may take the LAN of a tunnel; nothing says which of two links classifies a packet.
        return type(a.entry) is not type(b.entry) or (a.entry is b.entry and not b.own)

    claims = [claim for tunnel in client.tunnels for claim in of_tunnel(tunnel)]
    for link in client.links:
        claims += [*of_link_tuns(link), *of_link_lans(link)]
    for a, b in overlapping(claims, quiet):
        of_whom = "of the same entry" if a.entry is b.entry else f"of {a.where}"
        problems.clash(at(b), b.value, f"overlaps {a.key} {a.value} {of_whom}")


def _rules_come_first(client: Client, problems: Problems) -> None:
    """Check that no tunnel's rule takes the packets of a LAN before those of its classes do."""
    tunnels: dict[str, list[Tunnel]] = defaultdict(list)
    for tunnel in client.tunnels:
        tunnels[tunnel.lan].append(tunnel)
    for link in client.links:
        last = max(link.classes, key=lambda item: item.rule_priority)
        for lan in link.lans:
            for tunnel in tunnels[lan.interface]:
                shared = any(a in b or b in a for a in lan.cidrs for b in tunnel.lan_cidrs)
                if shared and tunnel.priority < last.rule_priority:
                    expected = f"less than the priority {tunnel.priority} of {tunnel.where}, which has the same LAN"
                    problems.unexpected(f"{last.where}: rule_priority", last.rule_priority, expected)


def _share(members: Sequence[tuple[Client, ClassLink]], problems: Problems) -> None:
    """Check the links that have one port: those of several clients may share one server instance."""
    first_client, first = members[0]
    clients = {first_client.host: first}
    used: dict[int, ClassLink] = {}
    with6 = next((link for _client, link in members if link.network6 is not None), first)
    for client, link in members:
        if link is not first:
            other = clients.setdefault(client.host, link)
            if other is not link and other.id != link.id:
                problems.clash(f"{link.where}: port", link.port, f"already used by {other.where}")
            if other is not link:
                continue
            if (link.server_tun, link.network) != (first.server_tun, first.network):
                with_what = f"already used by {first.where}; links that share it need one server_tun and one network"
                problems.clash(f"{link.where}: port", link.port, with_what)
                continue
            if link.tun_mtu != first.tun_mtu:
                _same_as(first, link, "tun_mtu", problems)
        if link.network6 not in {None, with6.network6}:
            _same_as(with6, link, "network6", problems)
        _addresses(link, used, members, problems)
        if len(members) > 1 and link.rates.down:
            partner = first if link is not first else members[1][1]
            problems.errors.append(
                f"{link.where}: wan: found a rate_down of {link.wan} (mpquic_wans), expected none: the VPS cannot tell"
                f" its packets from those of {partner.where}, which has the same port"
            )


def _same_as(other: ClassLink, link: ClassLink, key: str, problems: Problems) -> None:
    expected = f"{getattr(other, key)} as {other.where} has, whose port and TUN it shares"
    problems.unexpected(f"{link.where}: {key}", getattr(link, key), expected)


def _addresses(
    link: ClassLink, used: dict[int, ClassLink], members: Sequence[tuple[Client, ClassLink]], problems: Problems
) -> None:
    """Check that the classes of a link have addresses of their own among those that share its network."""
    for item in link.classes:
        other = used.setdefault(link.index(item), link)
        if other is not link:
            free = 1 + max(member.last_index for _client, member in members)
            with_what = f"{item.tun_name} would get {link.address(item)} of {other.where}; {free} is free"
            problems.clash(f"{link.where}: first", link.first, with_what)
            return


def _networks(
    clients: Sequence[Client],
    leaders: Sequence[ClassLink],
    of_one_client: Callable[[Claim, Claim], bool],
    problems: Problems,
) -> None:
    """Compare all that the VPS routes: the networks of the TUN devices, and the LANs whose addresses it sees."""

    leading = {id(link) for link in leaders}

    def quiet(a: Claim, b: Claim) -> bool:
        # Only the numbers of those that lead a server instance have been compared.
        told = all(not isinstance(claim.entry, ClassLink) or id(claim.entry) in leading for claim in (a, b))
        with_link = isinstance(a.entry, ClassLink) or isinstance(b.entry, ClassLink)
        if not with_link or a.entry is b.entry:
            return True
        if told and same_number(a, b) and getattr(a.entry, "port", 0) != getattr(b.entry, "port", 0):
            return True
        # The client has been asked already about all but this: a tunnel that has the LAN, too.
        lan_of_tunnel = "lan_cidrs" in {a.key, b.key} and a.interface is not None and b.interface is not None
        with_lan = (isinstance(a.entry, ClassLink) and a.interface) or (isinstance(b.entry, ClassLink) and b.interface)
        return bool(with_lan) and of_one_client(a, b) and not lan_of_tunnel

    claims = [claim for client in clients for tunnel in client.tunnels for claim in of_tunnel(tunnel)]
    claims += [claim for link in leaders for claim in of_link_tuns(link)]
    claims += [claim for client in clients for link in client.links if link.routed for claim in of_link_lans(link)]
    for a, b in overlapping(claims, quiet):
        if a.key == "lan_cidrs" and b.interface is not None and isinstance(b.entry, ClassLink):
            item = next(item for item in b.entry.classes if not item.nat)
            expected = f"true, because {b.value} on {b.interface} is also of {a.where}, to which the VPS routes it"
            problems.unexpected(f"{item.where}: nat", item.nat, expected)
        else:
            problems.clash(at(b), b.value, f"overlaps {a.key} {a.value} of {a.where}")
