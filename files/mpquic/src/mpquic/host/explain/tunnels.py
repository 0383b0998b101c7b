# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies behind a TUN: the tunnel and its state, the peer, and what its UDP packets look like on the WAN."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from mpquic.host.explain import kernel, wans
from mpquic.host.explain.interpreter import Walk
from mpquic.host.explain.packet import UDP, Packet, dscp_name
from mpquic.host.routing import Problem
from mpquic.host.shaper.state import MAJOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpquic.config import InstanceConfig
    from mpquic.config.model import LegacyPeerConfig, PeerConfig
    from mpquic.host.explain.packet import Address
    from mpquic.host.explain.report import Explanation
    from mpquic.host.explain.ruleset import Table
    from mpquic.host.instances import Instance
    from mpquic.host.shaper.document import Link
    from mpquic.host.state import HostState

    AnyPeer = PeerConfig | LegacyPeerConfig


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One tunnel that a packet enters: its instance, its file, and what its daemon says (None: it does not answer)."""

    instance: Instance
    loaded: InstanceConfig
    status: dict[str, Any] | None

    @property
    def state(self) -> str:
        """The daemon's own word, ``down`` when it does not answer."""
        return str(self.status.get("state")) if self.status else "down"


def enter(tunnel: Tunnel, packet: Packet, dscp: int, found: Explanation) -> dict[str, Any] | None:
    """Say which tunnel takes the packet, and what its state is; return what the daemon says of the peer."""
    instance, status = tunnel.instance, tunnel.status or {}
    found.verdict = "tunnel"
    found.tunnel = {
        "id": instance.id,
        "role": instance.role,
        "tun": instance.tun,
        "state": tunnel.state,
        "reason": status.get("reason") or ("" if status else f"not running (systemctl start mpquic@{instance.id})"),
        "since_s": status.get("since_s"),
        "peer": None,
        "dscp": dscp,
    }
    since = f" for {status['since_s']:.0f} s" if "since_s" in status else ""
    reason = f" ({found.tunnel['reason']})" if found.tunnel["reason"] else ""
    found.step("tunnel", f"{instance.id}, {instance.role}, {tunnel.state}{since}{reason}")
    if instance.client:
        if tunnel.state != "up":
            found.differences.append(Problem("tunnel_down", f"tunnel {instance.id} is {tunnel.state}{reason}"))
        return status or None
    return _peer(tunnel, packet, found)


def _peer(tunnel: Tunnel, packet: Packet, found: Explanation) -> dict[str, Any] | None:
    """Say which peer of a server gets the packet."""
    owners, prefix = _owners(tunnel.loaded, packet.destination)
    told = {peer["name"]: peer for peer in (tunnel.status or {}).get("peers", ())}
    if tunnel.status is None:
        found.differences.append(Problem("tunnel_down", f"tunnel {tunnel.instance.id} is down"))
    if not owners:
        found.verdict = "dropped"
        found.step("peer", f"none owns {packet.destination}")
        found.differences.append(Problem("no_peer", f"no peer of {tunnel.instance.id} owns {packet.destination}"))
        return None
    up = [peer for peer in owners if told.get(peer.name, {}).get("state") == "up"]
    chosen = (up or owners)[0]
    status: dict[str, Any] | None = told.get(chosen.name)
    assert found.tunnel is not None
    found.tunnel["peer"] = {
        "name": chosen.name,
        "owns": prefix,
        "state": status.get("state") if status else None,
        "remote": status.get("remote") if status else None,
        "shared": [peer.name for peer in owners] if len(owners) > 1 else [],
    }
    where = f" at {status['remote']}" if status and status.get("remote") else ""
    found.step("peer", f"{chosen.name}{where}, owns {prefix}, {status.get('state') if status else 'state unknown'}")
    if len(owners) > 1:
        names = ", ".join(peer.name for peer in owners)
        found.notes.append(f"{prefix} is behind {names}: a reply goes to the one that carried its flow")
    if status is not None and not up:
        found.differences.append(Problem("peer_down", f"peer {chosen.name} is not connected: {status.get('reason')}"))
    return status


def _owners(loaded: InstanceConfig, destination: Address) -> tuple[list[AnyPeer], str]:
    """Return the peers that get packets for an address, and their prefix: the longest one wins."""
    held: list[tuple[int, str, AnyPeer]] = []
    for peer in loaded.peers:
        held += [(p.prefixlen, str(p), peer) for p in (*peer.allowed, *peer.shared) if destination in p]
    for legacy in loaded.legacy_peers:
        held += [(p.prefixlen, str(p), legacy) for p in legacy.allowed if destination in p]
        if destination == legacy.address:
            held.append((destination.max_prefixlen, f"{legacy.address}/32", legacy))
    longest = max(held, default=None, key=lambda item: item[0])
    if longest is None:
        return [], ""
    return [peer for length, _text, peer in held if length == longest[0]], longest[1]


def leave(  # noqa: PLR0913 - what is known of the host, each thing for itself
    tunnel: Tunnel,
    status: dict[str, Any] | None,
    found: Explanation,
    *,
    state: HostState,
    table: Table,
    shaper: Sequence[Link],
) -> None:
    """Say by which WAN the tunnel's packets leave, what their DSCP is, and which class of the shaper they get."""
    instance, loaded = tunnel.instance, tunnel.loaded
    assert found.tunnel is not None
    paths = wans.several(loaded, status)
    if paths:
        wans.leave(paths, found, state)
        return
    remote = _endpoint(str((status or {}).get("remote") or "")) or _configured(loaded)
    local = _endpoint(str((tunnel.status or {}).get("local") or ""))
    device = instance.wan or _device_of(state, instance.wan_address)
    if device is None and remote is not None:
        device = kernel.way_to(remote[0]).device
    dscp = _outer_dscp(loaded, found.tunnel)
    found.wan = {
        "interface": device,
        "local": _text(local),
        "remote": _text(remote),
        "outer_dscp": dscp,
        "tc_class": None,
        "tc_name": None,
    }
    found.differences += wans.problems(state, instance.wan, instance.id)
    if remote is not None and device is not None:
        source = local[0] if local and not local[0].is_unspecified else _address_of(state, device, remote[0])
        if source is not None and source.version == remote[0].version:
            sport = loaded.remote_port if not instance.client else local[1] if local else None
            outer = Packet(source, remote[0], UDP, sport, remote[1], dscp)
            _shape(outer, device, found, table, _link_of(shaper, state, device))
    ends = " -> ".join(text for text in (_text(local), _text(remote)) if text)
    classed = f", shaper class {found.wan['tc_class']} ({found.wan['tc_name']})" if found.wan["tc_class"] else ""
    found.step("wan", f"{device or 'unknown'} {ends}".rstrip() + f", outer dscp {dscp_name(dscp)}{classed}")


def _outer_dscp(loaded: InstanceConfig, tunnel: dict[str, Any]) -> int:
    wanted = loaded.outer_dscp
    name = (tunnel["peer"] or {}).get("name")
    own = next((peer.outer_dscp for peer in loaded.peers if peer.name == name), None)
    chosen = wanted if own is None else own
    return int(tunnel["dscp"]) if chosen == "copy" else chosen


def _shape(outer: Packet, device: str, found: Explanation, table: Table, link: Link | None) -> None:
    """Follow the outer packet through the live table and compare its class with the plan's."""
    walk = Walk(table, outer, oif=device)
    dropped = walk.enter("output") or walk.enter("postrouting")
    found.uncertain += [doubt for doubt in walk.doubts if doubt not in found.uncertain]
    if dropped is not None:
        text = f"the tunnel's own packets are dropped by {dropped.chain}: {dropped.rule.text}"
        found.differences.append(Problem("wan_dropped", text))
    if link is None:
        return
    assert found.wan is not None
    assert found.tunnel is not None
    live = walk.classid if walk.classid is not None else _classid(link.rest) if link.default else None
    names = {_classid(entry.minor): entry.name for entry in link.classes}
    found.wan |= {"tc_class": live and _class_text(live), "tc_name": names.get(live or 0)}
    mine = {found.tunnel["id"], *_peer_names(found.tunnel["peer"])}
    wanted = next(
        (number for number, name in names.items() if name in mine), _classid(link.rest) if link.default else None
    )
    if wanted is not None and live != wanted:
        have = _class_text(live) if live else "none"
        need = f"{_class_text(wanted)} ({names.get(wanted)})"
        text = f"the tunnel's packets get the shaper class {have}, the plan has {need}"
        found.differences.append(Problem("shaper_differs", text))
    if live is not None and live not in kernel.tc_classes(device):
        text = f"{device} has no shaper class {_class_text(live)} (mpquic shaper check)"
        found.differences.append(Problem("shaper_missing", text))


def _peer_names(peer: dict[str, Any] | None) -> Iterator[str]:
    """Yield what the class of a peer may be called: client1.cr5 is cr5 in the shaper."""
    if peer is not None:
        yield peer["name"]
        yield peer["name"].rpartition(".")[2]


def _classid(minor: int) -> int:
    return MAJOR << 16 | minor


def _class_text(number: int) -> str:
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


def _configured(loaded: InstanceConfig) -> tuple[Address, int] | None:
    """Return the server that a client's file names by its address."""
    try:
        return ip_address(loaded.remote_addr or ""), loaded.remote_port
    except ValueError:
        return None


def _endpoint(text: str) -> tuple[Address, int] | None:
    host, colon, port = text.rpartition(":")
    try:
        return (ip_address(host.strip("[]").partition("%")[0]), int(port)) if colon else None
    except ValueError:
        return None


def _text(endpoint: tuple[Address, int] | None) -> str | None:
    if endpoint is None:
        return None
    address, port = endpoint
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _device_of(state: HostState, address: str | None) -> str | None:
    if address is None:
        return None
    return next((name for name, held in state.addresses.items() for one in held if str(one.ip) == address), None)


def _address_of(state: HostState, device: str, like: Address) -> Address | None:
    return next((one.ip for one in state.addresses_of(device) if one.version == like.version), None)


def _link_of(shaper: Sequence[Link], state: HostState, device: str) -> Link | None:
    own = {str(one.ip) for one in state.addresses_of(device)}
    return next((link for link in shaper if link.on.interface == device or link.on.address in own), None)
