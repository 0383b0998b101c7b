# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of everything on the host that a change of ours, or a slip in a play, could break."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpquic.host import tun
from mpquic.host.errors import HostError
from mpquic.host.guard import files, routing, services, settings, tables
from mpquic.host.guard.rawlink import RawLink
from mpquic.host.netlink import Kernel

if TYPE_CHECKING:
    from mpquic.host.guard.files import Files
    from mpquic.host.guard.routing import Routing

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `take` found; `tuns` are the names of our TUN devices, `services` of our units that ran."""

    files: Files
    settings: dict[str, str]
    tables: dict[str, str]
    routing: Routing
    services: tuple[str, ...]
    tuns: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "format": _FORMAT,
            "files": files.plain(self.files),
            "settings": self.settings,
            "tables": self.tables,
            "routing": self.routing.plain(),
            "services": list(self.services),
            "tuns": list(self.tuns),
        }


def take() -> Snapshot:
    """Read the host.

    Raises:
        HostError: a part of it cannot be read; without it there would be no way back.

    """
    with RawLink() as link:
        routes = routing.read(link)
    return Snapshot(
        files.read(), settings.read(), tables.read(), routes, tuple(services.running()), tuple(sorted(_tuns()))
    )


def load(plain: dict[str, Any]) -> Snapshot:
    """Return what `Snapshot.plain` made.

    Raises:
        HostError: it is missing or damaged, or another release made it, and this one cannot read it.

    """
    if plain.get("format") != _FORMAT:
        raise HostError(f"the guard's snapshot: found format {plain.get('format')}, expected {_FORMAT}")
    try:
        return Snapshot(
            files.load(plain["files"]),
            dict(plain["settings"]),
            dict(plain["tables"]),
            routing.load(plain["routing"]),
            tuple(plain["services"]),
            tuple(plain["tuns"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HostError(f"the guard's snapshot is damaged: {type(error).__name__}: {error}") from error


def _tuns() -> set[str]:
    with Kernel() as kernel:
        return {link.name for link in kernel.read().links.values() if link.alias == tun.ALIAS}


def new_tuns(snapshot: Snapshot) -> list[str]:
    """Return our TUN devices that were not there."""
    return sorted(_tuns() - set(snapshot.tuns))
