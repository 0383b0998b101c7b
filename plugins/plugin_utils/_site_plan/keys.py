# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What tunnels and class links have in common: ranges of keys, and how they are read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import values
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Budget, Rates
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import IPNetwork
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

_Kind = TypeVar("_Kind")

RATES = ("rate", "rate_up", "rate_down")
BUDGET = ("budget_rate", "budget_packets")
LOG_LEVELS = ("debug", "info", "error")

# The daemon has no capability to bind a port below 1024.
PORTS = range(1024, 65536)
MTUS = range(576, 9001)
# RFC 8200 section 5.
IPV6_MIN_MTU = 1280
# 253 to 255 are the kernel's; below 256 sites keep their own, by name in rt_tables.
TABLES = range(256, 2**32)
# 0 is the local table's rule, 32766 the main table's: a rule of ours must come between them.
PRIORITIES = range(1, 32766)
TUN = values.Networks({4: range(30, 32)}, "10.200.1.0/30")
TUN6 = values.Networks({6: range(126, 128)}, "fd6d:7071:0:1::/126")
_LANS = values.Networks({4: range(8, 33), 6: range(16, 129)}, "172.16.1.0/30")
_BUDGET_PACKETS = range(1, 10**9 + 1)


def entries(value: object, where: str, expected: str, problems: Problems) -> list[tuple[str, object]]:
    """Return the entries of a list, each behind its place."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.unexpected(where, value, expected)
        return []
    return [(f"{where}[{index}]", entry) for index, entry in enumerate(value)]


def with_id(entry: Mapping[str, Any], where: str) -> str:
    """Return how messages call an entry of a list: by its id as well, right or wrong, if it has one."""
    return f"{where} (id {one_line(entry['id'])})" if "id" in entry else where


def require(entry: Mapping[str, Any], where: str, required: Mapping[str, str], problems: Problems) -> None:
    """Record every key that an entry lacks; ``required`` says what is expected of each."""
    for key, expected in required.items():
        if key not in entry:
            problems.missing(f"{where}: {key}", expected)


def refuse_unknown(entry: Mapping[str, Any], where: str, known: Sequence[str], problems: Problems) -> None:
    """Record every key that an entry should not have."""
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            problems.errors.append(f"{where}: {one_line(key)}: unknown key, {hint}")


def number(entry: Mapping[str, Any], where: str, allowed: range, problems: Problems) -> int:
    """Read the id of an entry. The first stands in for one that is wrong, so that the other keys are read too."""
    found = values.integer(entry["id"], f"{where}: id", allowed, problems) if "id" in entry else None
    return found or allowed[0]


def given(
    entry: Mapping[str, Any],
    where: str,
    read: Callable[[object, str, _Kind, Problems], object],
    allowed: Mapping[str, _Kind],
    problems: Problems,
) -> dict[str, Any]:
    """Read those of some keys that an entry has, with one of ``values``; ``allowed`` is what may stand in each."""
    return {key: read(entry[key], f"{where}: {key}", kind, problems) for key, kind in allowed.items() if key in entry}


def rates(entry: Mapping[str, Any], where: str, otherwise: Rates, problems: Problems) -> Rates:
    """Read the rates of an entry; ``rate`` is for both ways, the others are for one and come first."""
    found = {key: values.rate(entry[key], f"{where}: {key}", problems) for key in RATES if key in entry}
    both = found.get("rate")
    return Rates(
        up=found.get("rate_up") or both or otherwise.up,
        down=found.get("rate_down") or both or otherwise.down,
    )


def budget(entry: Mapping[str, Any], where: str, problems: Problems) -> Budget:
    """Read what the VPS takes at most from the other end."""
    rate = packets = None
    if "budget_rate" in entry:
        rate = values.rate(entry["budget_rate"], f"{where}: budget_rate", problems)
    if "budget_packets" in entry:
        packets = values.integer(entry["budget_packets"], f"{where}: budget_packets", _BUDGET_PACKETS, problems)
    return Budget(rate, packets)


def lan_cidrs(value: object, where: str, problems: Problems) -> tuple[IPNetwork | None, ...]:
    """Read the prefixes of a LAN."""
    return values.networks(value, where, _LANS, problems)


def needs_of_ipv6(fields: dict[str, Any], default: Callable[[int], IPNetwork], where: str, problems: Problems) -> None:
    """Give the TUN an IPv6 address as soon as there is an IPv6 prefix behind it, and check what that needs."""
    if "tun_cidr6" not in fields:
        carries = any(network is not None and network.version == 6 for network in fields["lan_cidrs"])
        fields["tun_cidr6"] = default(fields["id"]) if carries else None
    if fields["tun_cidr6"] is not None:
        mtu_fits_ipv6(fields["tun_mtu"], where, problems)


def mtu_fits_ipv6(mtu: int | None, where: str, problems: Problems) -> None:
    """Check the MTU of a tunnel that carries IPv6."""
    if mtu is not None and mtu < IPV6_MIN_MTU:
        problems.unexpected(f"{where}: tun_mtu", mtu, f"at least {IPV6_MIN_MTU}, because the tunnel carries IPv6")
