# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads ``mpquic_class_tunnels`` into the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    classes,
    keys,
    lans,
    numbering,
    values,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import ClassLink
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Wan

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Tunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

VARIABLE = "mpquic_class_tunnels"
#: What each is, as messages say it.
REQUIRED = {
    "id": "the link's number",
    "wan": "the interface it leaves by",
    "classes": "a list of classes such as {name: df, default: true}",
}
OPTIONAL = (
    "suffix",
    "lans",
    "port",
    "server_tun",
    "network",
    "network6",
    "first",
    "tun_mtu",
    "log_level",
    *keys.BUDGET,
)
_SUFFIX = re.compile(r"[a-z0-9_]{1,14}")
_NETWORK = values.Networks({4: range(8, 30)}, "10.200.10.0/24")
# The VPS has ::ffff.
_NETWORK6 = values.Networks({6: range(48, 113)}, "fd6d:7071:10::/64")
_FIRSTS = range(2**20)


def read(
    host: str,
    variables: Mapping[str, Any],
    wans: Mapping[str, Wan],
    tunnels: Sequence[Tunnel] | None,
    problems: Problems,
) -> tuple[ClassLink, ...]:
    """Read the class links of a client. ``tunnels`` are its others, None when some of these could not be read."""
    expected = "a list of links such as {id: 1, wan: enp7s7, classes: [...]}"
    entries = keys.entries(variables.get(VARIABLE, []), f"{host}: {VARIABLE}", expected, problems)
    found = (_link(entry, where, wans, tunnels, problems) for where, entry in entries)
    return tuple(link for link in found if link)


def _link(
    entry: object, where: str, wans: Mapping[str, Wan], tunnels: Sequence[Tunnel] | None, problems: Problems
) -> ClassLink | None:
    """Read one entry; None when a value of it is wrong."""
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, "a mapping with the keys id, wan and classes")
        return None
    where = keys.with_id(entry, where)
    keys.refuse_unknown(entry, where, (*REQUIRED, *OPTIONAL), problems)
    errors_before = len(problems.errors)
    keys.require(entry, where, REQUIRED, problems)
    fields = _fields(entry, where, problems)
    of_wan = [tunnel for tunnel in tunnels or () if tunnel.wan == fields["wan"]]
    fields["rates"] = wans.get(str(fields["wan"]), Wan()).rates
    fields["budget"] = keys.budget(entry, where, problems)
    fields["lans"] = lans.read(entry, where, tunnels, of_wan, problems)
    _networks(fields, entry, where, problems)
    if "classes" in entry:
        suffix = _suffix(entry, where, fields["id"], of_wan, problems)
        interfaces = tuple(lan.interface for lan in fields["lans"])
        around = classes.Around(where, fields["id"], suffix, interfaces)
        fields["classes"] = classes.read(entry["classes"], around, problems)
    if len(problems.errors) != errors_before or tunnels is None:
        return None
    link = ClassLink(where=where, **fields)
    classes.check(link, problems)
    # What follows the name or the number of a class that has another's would be told again.
    return replace(link, classes=classes.distinct(link.classes))


def _fields(entry: Mapping[str, Any], where: str, problems: Problems) -> dict[str, Any]:
    """Read the values that need no others, and put the numbering's defaults in place of those that are not there."""
    n = keys.number(entry, where, numbering.LINK_IDS, problems)
    fields: dict[str, Any] = {
        "id": n,
        "wan": None,
        "port": numbering.link_port(n),
        "server_tun": numbering.link_tun_name(n),
        "network": numbering.link_network(n),
        "first": 0,
        "tun_mtu": numbering.TUN_MTU,
        "log_level": numbering.LOG_LEVEL,
    }
    if "wan" in entry:
        fields["wan"] = values.interface(entry["wan"], f"{where}: wan", problems)
    if "server_tun" in entry:
        fields["server_tun"] = values.instance_name(entry["server_tun"], f"{where}: server_tun", problems)
    integers = {"port": keys.PORTS, "first": _FIRSTS, "tun_mtu": keys.MTUS}
    fields |= keys.given(entry, where, values.integer, integers, problems)
    fields |= keys.given(entry, where, values.choice, {"log_level": keys.LOG_LEVELS}, problems)
    return fields


def _suffix(entry: Mapping[str, Any], where: str, number: int, of_wan: Sequence[Tunnel], problems: Problems) -> str:
    """Return what stands behind the names of the classes: the number of the WAN's tunnel, if it has one only."""
    if "suffix" not in entry:
        return str(of_wan[0].id if len(of_wan) == 1 else number)
    given = entry["suffix"]
    text = str(given) if isinstance(given, (int, str)) and not isinstance(given, bool) else ""
    if not _SUFFIX.fullmatch(text):
        problems.unexpected(f"{where}: suffix", given, "1 to 14 of a-z 0-9 _")
    return text


def _networks(fields: dict[str, Any], entry: Mapping[str, Any], where: str, problems: Problems) -> None:
    """Read the networks of the TUN devices; IPv6 as soon as there is an IPv6 prefix behind them."""
    if "network" in entry:
        fields["network"] = values.network(entry["network"], f"{where}: network", _NETWORK, problems)
    if "network6" in entry:
        fields["network6"] = values.network(entry["network6"], f"{where}: network6", _NETWORK6, problems)
    else:
        carries = any(network.version == 6 for lan in fields["lans"] for network in lan.cidrs)
        fields["network6"] = numbering.link_network6(fields["id"]) if carries else None
    if fields["network6"] is not None:
        keys.mtu_fits_ipv6(fields["tun_mtu"], where, problems)
