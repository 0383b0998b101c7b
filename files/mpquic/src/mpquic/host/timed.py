# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery by a timer: nobody looks, so it does only what is sure to be right, and less and less of it in vain.

It stands back while somebody else is at work on this host. It restarts what is dead or hangs, and a client that says it
is up while no packet comes back; what waits for its WAN or its server comes back by itself. What somebody has stopped
stays stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host import ledger, units, wans
from mpquic.host.guard import store, switch
from mpquic.host.health import HOPELESS
from mpquic.host.ledger import Ledger

if TYPE_CHECKING:
    from mpquic.host.health import Doctor, Tunnel

FOLDER = Path("/run/mpquic-health")
FRESH = 120.0
"""Seconds for which a configuration is young: a play may be at work."""
CONFIRM = 3.0
"""Seconds after which an instance must still be sick to be restarted."""
#: No fault of a server.
_AWAY = "peer_away"
_RESTARTED = "restart "


@dataclass(frozen=True, slots=True)
class Round:
    """What one run found and did; `deferred` says why it repaired nothing, None when it was free to."""

    tunnels: list[Tunnel]
    deferred: str | None


def deferral(instances: Path) -> str | None:
    """Return why a timer has to stand back now, None when it has not."""
    if (store.FOLDER / store.ARMED).exists():
        return "the guard is armed"
    age = _age(instances)
    if abs(age) < FRESH:
        return f"the configuration in {instances} is {age:.0f} s old, a play may be at work"
    return None


def run(doctor: Doctor, folder: Path, deferred: str | None, *, dry: bool) -> Round:
    """Check, and repair what may be repaired now, unless that is ``deferred``.

    Raises:
        HostError: the folder cannot be used.

    """
    if not dry:
        switch.wake()  # or it would stand back for ever
    if deferred is not None or dry:
        # A plan needs no lock, and leaves nothing behind.
        found = doctor.check() if deferred is not None else _judged(doctor, Ledger(folder, ledger.now())).fix(dry=True)
        return Round(_told(found, Ledger(folder, ledger.now())), deferred)
    with ledger.alone(folder) as alone:
        book = Ledger(folder, ledger.now())
        if not alone:
            return Round(_told(doctor.check(), book), "another recovery is at work")
        tunnels = _judged(doctor, book).fix(dry=False)
        for tunnel in tunnels:
            if any(action.startswith(_RESTARTED) for action in tunnel.actions):
                book.restarted(tunnel.instance.id)
            elif tunnel.healthy:
                book.healthy(tunnel.instance.id)
        book.save({instance.id for instance in doctor.selection.known})
    return Round(_told(tunnels, book), None)


def restart_helps(tunnel: Tunnel, *, receiving: bool) -> bool:
    """Decide on a restart that nobody asked for; a client that is ``receiving`` packets is not dead without echoes."""
    if tunnel.unit in {None, units.NOT_FOUND, "inactive"} or tunnel.codes & (wans.CODES | HOPELESS):
        return False
    if tunnel.unit == "failed" or tunnel.codes & {"daemon_silent", "tun_detached"}:
        return True
    says_up = tunnel.daemon is not None and tunnel.daemon.get("state") == "up"
    return tunnel.instance.client and says_up and "no_reply" in tunnel.codes and not receiving


def _judged(doctor: Doctor, book: Ledger) -> Doctor:
    received: dict[str, int] = {}

    def judge(tunnel: Tunnel, *, repairing: bool) -> bool:
        """Compare with the packets that were received when it was judged before, `CONFIRM` ago."""
        del repairing
        now = int((tunnel.daemon or {}).get("rx_packets", 0))
        before = received.setdefault(tunnel.instance.id, now)
        return restart_helps(tunnel, receiving=now > before) and book.wait(tunnel.instance.id) == 0

    return replace(doctor, judge=judge, confirm=CONFIRM)


def _told(tunnels: list[Tunnel], book: Ledger) -> list[Tunnel]:
    """Add what is remembered, and take away what is no fault of this host."""
    for tunnel in tunnels:
        name = tunnel.instance.id
        tunnel.notes = [reason for reason in tunnel.reasons if reason.code == _AWAY]
        tunnel.reasons = [reason for reason in tunnel.reasons if reason.code != _AWAY]
        tunnel.restarts = (book.restarts(name), book.wait(name))
    return tunnels


def _age(folder: Path) -> float:
    """Return the age of what was written last in a folder, in seconds."""
    times = [path.stat().st_mtime for path in (folder, *folder.glob("*.yaml"), *folder.glob("*.env")) if path.exists()]
    return time.time() - max(times, default=0.0)
