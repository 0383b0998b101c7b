# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks across keys. They take whatever keys were valid, so that one run reports everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.config import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.config.fields import Bind
    from mpquic.config.model import Also, LanRouting

#: RFC 8200 section 5: IPv6 needs links of at least this MTU (bytes).
IPV6_MIN_MTU = 1280


def across_keys(valid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for every contradiction between keys.

    ``valid`` maps keys to validated values, ``given`` is what the file said (a key that is present but wrong has been
    reported already).
    """
    yield from _role(valid, given)
    yield from _misplaced(valid, given)
    yield from _tunnel(valid)
    yield from _also(valid)
    yield from _lan(valid, given)
    yield from _tls(valid, given)


def _role(valid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    if valid.get("role") != "client":
        return
    remote, bind = valid.get("remote_addr"), valid.get("bind_ip")
    if given.get("remote_addr") is None:
        yield "remote_addr: missing, expected the server's IP address or host name"
    elif remote is not None and bind is not None:
        fault = family_fault(bind, remote)
        if fault:
            yield f"remote_addr: {fault}"


def family_fault(bind: Bind, remote: str) -> str:
    """Say what is wrong when the address ``remote`` cannot be reached from where the socket is bound, else nothing."""
    wanted = bind.address is not None and bool(_is_v6(bind.address))
    if _is_v6(remote) in {None, wanted}:
        return ""
    return f"found {remote}, expected an {'IPv6' if wanted else 'IPv4'} address because bind_ip is {bind}"


def _misplaced(valid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    role = valid.get("role")
    owners = {"peers": "server", "legacy_peers": "server", "also": "server"}
    owners |= {"legacy_server": "client", "tun_peer": "client"}
    if valid.get("multipath_enabled") is True:
        owners["multipath_enabled"] = "client"
        if valid.get("legacy_server") is True:
            yield "legacy_server: found true beside multipath_enabled, expected false: such a server takes one path"
    for key, owner in owners.items():
        if role is not None and role != owner and given.get(key) is not None:
            yield f"{key}: found on a {role}, expected on a {owner} only"
    # Older files say false on either end.
    if role == "client" and valid.get("multi_conn_enabled") is True:
        yield "multi_conn_enabled: found true on a client, expected true on a server only"


def _is_v6(address: str) -> bool | None:
    """Tell the family of an address, None for a name."""
    if ":" in address:
        return True
    return False if address.replace(".", "").isdigit() else None


def _tunnel(valid: Mapping[str, Any]) -> Iterator[str]:
    cidr, cidr6, mtu = valid.get("tun_cidr"), valid.get("tun_cidr6"), valid.get("tun_mtu", 1300)
    if cidr is not None and cidr.version == 6 and mtu < IPV6_MIN_MTU:
        yield f"tun_mtu: found {mtu}, expected at least {IPV6_MIN_MTU} because tun_cidr is IPv6"
    elif cidr6 is not None and mtu < IPV6_MIN_MTU:
        yield f"tun_mtu: found {mtu}, expected at least {IPV6_MIN_MTU} because there is a tun_cidr6"
    if cidr is not None and cidr.version == 6 and cidr6 is not None:
        yield f"tun_cidr6: found {cidr6} beside tun_cidr {cidr}, expected one IPv6 address"
    if cidr is not None and valid.get("tun_peer") == cidr.ip:
        yield f"tun_peer: found {cidr.ip}, expected the server's address, not the own one"


def _also(valid: Mapping[str, Any]) -> Iterator[str]:
    also: Also | None = valid.get("also")
    if also is None:
        return
    ports = [valid.get("remote_port"), *also.ports]
    for index, port in enumerate(also.ports):
        if port in ports[: index + 1]:
            yield f"also.ports[{index}]: found {port} a second time, expected another port than remote_port"
    owned = [valid.get("tun_cidr"), valid.get("tun_cidr6"), *also.tun_cidrs]
    for index, own in enumerate(also.tun_cidrs):
        if any(own.ip == other.ip for other in owned[: index + 2] if other is not None):
            yield f"also.tun_cidrs[{index}]: found {own} a second time, expected another address than tun_cidr"


def _lan(valid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    lan: LanRouting | None = valid.get("lan_routing")
    if lan is None:
        return
    if valid.get("role") == "client":
        if lan.interface is None and lan.mark is None:
            yield "lan_routing.interface: missing, expected on a client, or lan_routing.mark"
        elif lan.interface is not None and lan.mark is not None:
            yield f"lan_routing.mark: found beside interface {lan.interface}, expected one of the two"
        for key in ("table", "priority"):
            if getattr(lan, key) is None:
                yield f"lan_routing.{key}: missing, expected on a client"
    elif valid.get("role") == "server" and lan.mark is not None:
        yield "lan_routing.mark: found on a server, expected on a client only"
    # linux/rtnetlink.h: tables default, main and local.
    if lan.table in {253, 254, 255}:
        yield f"lan_routing.table: found {lan.table}, expected a table that is not default, main or local"
    if lan.interface is not None and lan.interface == given.get("tun_name"):
        yield f"lan_routing.interface: found {lan.interface}, expected an interface other than tun_name"
    yield from _lan_cidrs(lan, valid)


def _lan_cidrs(lan: LanRouting, valid: Mapping[str, Any]) -> Iterator[str]:
    if not lan.cidrs and lan.mark is None:
        yield "lan_routing.cidrs: found an empty list, expected at least one prefix"
    for prefix in lan.cidrs:
        if prefix.prefixlen == 0:
            yield f"lan_routing.cidrs: found {prefix}, expected the LAN's own prefixes"
        for key in ("tun_cidr", "tun_cidr6"):
            own: IPv4Interface | IPv6Interface | None = valid.get(key)
            if prefix.prefixlen and own is not None and prefix.version == own.version and prefix.overlaps(own.network):
                yield f"lan_routing.cidrs: found {prefix}, expected a prefix that does not overlap {key} {own}"


def _tls(valid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    role = valid.get("role")
    for key, other in (("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")):
        if given.get(key) is None and (role == "server" or given.get(other) is not None):
            why = "every server has one" if role == "server" else f"it goes with {other}"
            yield f"{key}: missing, expected an absolute path of a PEM file ({why})"
    if valid.get("tls_cert_file") is not None and valid.get("tls_key_file") is not None:
        yield from identity.check_pair(valid["tls_cert_file"], valid["tls_key_file"])
    if valid.get("tls_ca_file") is not None:
        yield from identity.check_ca(valid["tls_ca_file"])
    if role == "client" and given.get("tls_server_pin") is None and given.get("tls_ca_file") is None:
        yield (
            "tls_server_pin: missing, expected sha256: and 64 hex digits of the server's public key "
            "(mpquic identity ensure), or tls_ca_file with tls_server_name"
        )
