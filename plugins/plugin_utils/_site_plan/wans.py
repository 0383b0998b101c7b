# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads ``mpquic_wans``: what a client's WANs carry, and what they may carry in a month."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import keys, values
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.model import Meter, Rates, Wan
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import one_line

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

VARIABLE = "mpquic_wans"
METER = ("metered", "quota", "billing_day", "warn")
KEYS = (*keys.RATES, *METER)
_BILLING_DAYS = range(1, 32)
_PERCENTAGES = range(1, 100)
_QUOTA = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(M|G|T|MiB|GiB|TiB)B?")
_BYTES = {"M": 10**6, "G": 10**9, "T": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MOST = 10**15


def read(host: str, variables: Mapping[str, Any], problems: Problems) -> dict[str, Wan]:
    """Read what is known of a client's WANs, by interface."""
    where = f"{host}: {VARIABLE}"
    entries = variables.get(VARIABLE, {})
    if not isinstance(entries, Mapping):
        problems.unexpected(where, entries, "a mapping of WAN interfaces such as {enp7s3: {rate: 20mbit}}")
        return {}
    wans = {}
    for name, entry in entries.items():
        interface = values.interface(name, where, problems)
        inside = f"{where}[{one_line(name)}]"
        if not isinstance(entry, Mapping):
            problems.unexpected(inside, entry, f"a mapping with some of the keys {', '.join(KEYS)}")
        elif interface:
            keys.refuse_unknown(entry, inside, KEYS, problems)
            wans[interface] = Wan(keys.rates(entry, inside, Rates(), problems), _meter(entry, inside, problems))
    return wans


def _meter(entry: Mapping[str, Any], where: str, problems: Problems) -> Meter | None:
    """Read how a WAN is paid for, None where nothing is said of that."""
    found: dict[str, Any] = {}
    if "metered" in entry:
        found["metered"] = values.boolean(entry["metered"], f"{where}: metered", problems)
    if "quota" in entry:
        found["quota"] = _quota(entry["quota"], f"{where}: quota", problems)
    if "billing_day" in entry:
        found["billing_day"] = values.integer(entry["billing_day"], f"{where}: billing_day", _BILLING_DAYS, problems)
    if "warn" in entry:
        found["warn"] = _warn(entry["warn"], f"{where}: warn", problems)
        if "quota" not in entry:
            problems.missing(f"{where}: quota", "one such as 50G, because it has warn")
    if "billing_day" in entry and not found.keys() & {"metered", "quota"}:
        problems.missing(f"{where}: quota", "one such as 50G, or metered, because it has billing_day")
    return Meter(**found) if found else None


def _quota(value: object, where: str, problems: Problems) -> int | None:
    match = _QUOTA.fullmatch(value) if isinstance(value, str) else None
    count = round(float(match[1]) * _BYTES[match[2]]) if match else 0
    if 0 < count <= _MOST:
        return count
    problems.unexpected(
        where, value, "bytes from 1M to 1000T such as 500M, 50G or 1.5T (or 50GiB), both directions together"
    )
    return None


def _warn(value: object, where: str, problems: Problems) -> tuple[int, ...]:
    """Read percentages."""
    if (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(item, int) and not isinstance(item, bool) and item in _PERCENTAGES for item in value)
        and sorted(set(value)) == list(value)
    ):
        return tuple(int(item) for item in value)
    problems.unexpected(where, value, "a list of rising percentages from 1 to 99 such as [80, 95]")
    return ()
