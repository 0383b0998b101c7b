# SPDX-License-Identifier: GPL-3.0-or-later
"""The file /etc/mpquic/wans.yaml: which WANs are counted, and what each may carry in a month."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic import config
from mpquic.config import document
from mpquic.host.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path("/etc/mpquic/wans.yaml")
WARN = (80, 95)
"""Percent of a quota at which it is said that it will soon be used up, unless the file says others."""
_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_KEYS = ("quota", "billing_day", "warn", "metered")


@dataclass(frozen=True, slots=True)
class Wan:
    """One WAN: its quota in bytes (both directions together, None for none), and the day on which a period begins."""

    name: str
    quota: int | None = None
    billing_day: int = 1
    warn: tuple[int, ...] = WARN
    metered: bool = False


def load(path: Path = FILE) -> tuple[Wan, ...]:
    """Return the WANs of the file, none when there is no file.

    Raises:
        ConfigError: the file cannot be read or is wrong; one line for every fault.

    """
    if not path.exists():
        return ()
    try:
        content = document.mapping(document.read(path), path)
    except config.ConfigError as error:
        raise ConfigError(str(error)) from error
    entries = content.get("wans", {})
    faults = [f"{key}: unknown key, expected wans" for key in content if key != "wans"]
    if isinstance(entries, dict):
        faults += [fault for name, entry in entries.items() for fault in _faults(name, entry)]
    else:
        faults.append("wans: expected a mapping of interfaces")
    if faults:
        raise ConfigError("\n".join(f"{path}: {fault}" for fault in faults))
    return tuple(
        Wan(
            name,
            entry.get("quota"),
            entry.get("billing_day", 1),
            tuple(entry.get("warn", WARN)),
            entry.get("metered", False),
        )
        for name, entry in entries.items()
    )


def _faults(name: object, entry: object) -> Iterator[str]:
    if not isinstance(name, str) or not _INTERFACE.fullmatch(name):
        yield f"wans: found {name!r}, expected the name of an interface"
        return
    where = f"wans.{name}"
    if not isinstance(entry, dict):
        yield f"{where}: expected a mapping with some of the keys {', '.join(_KEYS)}"
        return
    for key, value in entry.items():
        if key not in _KEYS:
            yield f"{where}.{key}: unknown key, expected one of {', '.join(_KEYS)}"
        elif not _fits(key, value):
            yield f"{where}.{key}: found {value!r}, expected {_EXPECTED[key]}"


_EXPECTED = {
    "quota": "bytes from 1 to 2^60",
    "billing_day": "a day from 1 to 31",
    "warn": "a list of percentages from 1 to 99, rising",
    "metered": "true or false",
}


def _fits(key: str, value: object) -> bool:
    if key == "metered":
        return isinstance(value, bool)
    if key == "warn":
        numbers = isinstance(value, list) and all(_whole(item, 1, 99) for item in value)
        return numbers and isinstance(value, list) and sorted(set(value)) == value
    return _whole(value, 1, 31) if key == "billing_day" else _whole(value, 1, 1 << 60)


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
