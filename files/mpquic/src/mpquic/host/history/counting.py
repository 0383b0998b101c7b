# SPDX-License-Identifier: GPL-3.0-or-later
"""What WANs have carried: counters of the kernel, which begin anew at boots and with every device, added up by day.

A mark in the store says which counters of which device have been added already. So nothing is added twice, and what was
carried while nobody counted is added later, unless a boot or the end of the device came before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host.history.figures import risen

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

NET = Path("/sys/class/net")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NO_ADDRESS = "00:00:00:00:00:00"


@dataclass(frozen=True, slots=True)
class Counters:
    """Bytes of a device since it was made, and which it is: its number is of this boot, its address may outlive it."""

    interface: str
    ifindex: int
    address: str
    rx: int
    tx: int


def boot_id() -> str:
    """Return what tells this boot from others."""
    return _BOOT.read_text(encoding="ascii").strip()


def devices(folder: Path = NET) -> dict[str, Counters]:
    """Return the counters of all devices that there are, by interface."""
    found = {}
    for place in folder.iterdir():
        try:
            address = (place / "address").read_text(encoding="ascii").strip()
            found[place.name] = Counters(
                place.name,
                int((place / "ifindex").read_text(encoding="ascii")),
                "" if address == _NO_ADDRESS else address,
                int((place / "statistics/rx_bytes").read_text(encoding="ascii")),
                int((place / "statistics/tx_bytes").read_text(encoding="ascii")),
            )
        except (OSError, ValueError):
            continue  # gone meanwhile, or no device
    return found


def count(
    connection: sqlite3.Connection, wans: Collection[str], found: dict[str, Counters], boot: str, day: str
) -> dict[str, str]:
    """Add to ``day`` what WANs have carried since their marks; return the interface that each WAN is now.

    A WAN whose interface is not there goes on as the device that it was, under whatever name; one that was never
    counted takes over from a WAN that is counted no more and had the same hardware address, for it was renamed.
    """
    places = {}
    for wan in wans:
        mark = connection.execute("SELECT boot, ifindex, address, rx, tx FROM wan_marks WHERE wan=?", (wan,)).fetchone()
        device = found.get(wan)
        if device is None and mark is not None and mark[0] == boot:
            device = next(
                (other for name, other in found.items() if other.ifindex == mark[1] and name not in wans), None
            )
        if device is None:
            continue
        if mark is None:
            mark = _renamed(connection, wan, device, wans)
        places[wan] = device.interface
        if mark is None:
            rx = tx = 0  # what it carried before it was counted is not known to belong to this period
        elif tuple(mark[:2]) == (boot, device.ifindex):
            rx, tx = risen(mark[3], device.rx), risen(mark[4], device.tx)
        else:
            rx, tx = device.rx, device.tx
        _add(connection, wan, day, rx, tx)
        connection.execute(
            "INSERT OR REPLACE INTO wan_marks VALUES(?,?,?,?,?,?)",
            (wan, boot, device.ifindex, device.address, device.rx, device.tx),
        )
    return places


def carried(connection: sqlite3.Connection, wan: str, first: str) -> tuple[int, int]:
    """Return the bytes that a WAN received and sent since the beginning of a day."""
    query = "SELECT coalesce(sum(rx), 0), coalesce(sum(tx), 0) FROM wan_days WHERE wan=? AND day>=?"
    rx, tx = connection.execute(query, (wan, first)).fetchone()
    return rx, tx


def _add(connection: sqlite3.Connection, wan: str, day: str, rx: int, tx: int) -> None:
    connection.execute(
        "INSERT INTO wan_days VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET rx = rx + excluded.rx, tx = tx + excluded.tx",
        (wan, day, rx, tx),
    )


def _renamed(
    connection: sqlite3.Connection, wan: str, device: Counters, wans: Collection[str]
) -> tuple[str, int, str, int, int] | None:
    """Give a new WAN the days of the one that it was before; return that one's mark."""
    if not device.address:
        return None
    query = "SELECT boot, ifindex, address, rx, tx, wan FROM wan_marks WHERE address=?"
    for *mark, old in connection.execute(query, (device.address,)).fetchall():
        if old not in wans:
            connection.execute("UPDATE wan_days SET wan=? WHERE wan=?", (wan, old))
            connection.execute("DELETE FROM wan_marks WHERE wan=?", (old,))
            boot, ifindex, address, rx, tx = mark
            return boot, ifindex, address, rx, tx
    return None
