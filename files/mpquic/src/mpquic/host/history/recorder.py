# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorder: looks at all instances every few seconds, and writes once a minute.

One process for the host. It only reads; a daemon that hangs costs it a wait, a store that cannot be written costs
figures, and both are said.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from mpquic.host import watch
from mpquic.host.doctor import dns
from mpquic.host.errors import ConfigError
from mpquic.host.history import counting, names, salvage, told, usage, wan
from mpquic.host.history.changes import Changes, Event
from mpquic.host.history.faults import Faults
from mpquic.host.history.figures import Meter, Minute, samples
from mpquic.host.history.store import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.host.history.store import Store

_LOG = logging.getLogger("mpquic")
_Result = TypeVar("_Result")

LOOK = 5.0
"""Seconds between two looks."""
WRITE = 60.0
"""Seconds between two writes of figures; events are written at once."""
#: A look is followed by a pause of this many times its own length, so that it never takes much of a processor.
REST = 20.0
#: Seconds between two looks for what is too old, and for which the clock must not have been set before that.
PRUNE = 3600.0
#: Seconds by which the clock may be set without being told, and without a look after which a gap is told.
_JUMP, _GAP = 5.0, 150.0
#: Events, and minutes of all series, that wait for a store that cannot be written.
_WAITING, _MINUTES = 1000, 5000
_AT_A_TIME = 8
_LOOKED = "looked_at"


@dataclass(frozen=True, slots=True)
class Places:
    """What the recorder reads, beside the daemons, and where it tells what WANs have used."""

    run: Path
    instances: Path
    wans: Path = wan.FILE
    watch: Path = watch.FILE
    net: Path = counting.NET
    usage: Path = usage.FILE
    names: Path = names.FILE
    resolv: Path = dns.FILE


def now() -> tuple[float, float]:
    """Return the time of the clock (Unix seconds), and the seconds since boot, which nobody sets."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class Recorder:
    """Records what `ask` says of each instance, None when it does not answer."""

    store: Store
    places: Places
    ask: Callable[[str], dict[str, Any] | None]
    clock: Callable[[], tuple[float, float]] = now
    _meter: Meter = field(default_factory=Meter)
    _changes: Changes = field(default_factory=lambda: Changes(None))
    _names: names.Names | None = None
    _faults: Faults = field(default_factory=Faults)
    _told: told.Told | None = None
    _events: list[Event] = field(default_factory=list)
    _minutes: list[Minute] = field(default_factory=list)
    _last: tuple[float, float] | None = None
    _written: float = float("-inf")
    _pruned: float | None = None
    _dropped: int = 0
    _fault: str = ""
    _wrong: str = ""
    _wans: tuple[wan.Wan, ...] = ()
    _wans_of: float | None = None
    #: By interface, the bytes of the device at which its WAN reaches the next warning.
    _limits: dict[str, int] = field(default_factory=dict)

    def run(self, notify: Callable[[str], None], wait: Callable[[float], bool]) -> None:
        """Record until ``wait(seconds)`` says that it is to end."""
        notify("READY=1")
        pause = 0.0
        while not wait(pause):
            began = time.monotonic()
            self.look()
            notify("WATCHDOG=1")
            pause = max(LOOK, REST * (time.monotonic() - began))
        if self._told is not None:
            self.write()
        if self._names is not None:
            self._names.stop()
        self.store.close()

    def look(self) -> None:
        """Look at every instance once, and write when it is time to."""
        moment, boot = self.clock()
        seconds = self._elapsed(moment, boot)
        if self._told is None:
            self._told = self._begin(moment)
        instances = self._instances()
        with ThreadPoolExecutor(max_workers=_AT_A_TIME) as pool:
            answers = dict(zip(instances, pool.map(self.ask, instances), strict=True))
        minute = int(moment // 60)
        for name, status in answers.items():
            self._events += self._changes.look(name, status, moment, boot)
            if status is None:
                self._meter.silent(name, minute, seconds)
                continue
            self._events += self._faults.look(name, status, moment, boot)
            for series, sample in samples(status):
                self._meter.note(series, sample, minute, seconds)
        self._meter.keep(set(instances))
        self._changes.keep(set(instances))
        self._faults.keep({name for name, status in answers.items() if status is not None})
        self._events += [*self._told.fresh(), *self._faults.drift(self.places.watch, moment)]
        self._names = self._names or names.Names(self.places.names, self.places.resolv)
        self._events += self._names.fresh()
        if boot >= self._written + WRITE or self._wans_changed():
            self.write()
        elif self._events:
            written = self._commit(self._put_events)
            self._events = [] if written else self._events

    def write(self) -> None:
        """Write all that there is."""
        moment, boot = self.clock()
        self._written = boot
        self._minutes += self._meter.take()
        if self._commit(self._put_all):
            self._minutes, self._events, self._dropped = [], [], 0
            self._keep_small(moment, boot)
        elif len(self._minutes) > _MINUTES:
            # Nobody knows for how long: the newest are the better ones.
            self._dropped += len(self._minutes) - _MINUTES
            del self._minutes[:-_MINUTES]
        del self._events[:-_WAITING]

    def _instances(self) -> list[str]:
        found = {path.parent.name for path in self.places.run.glob("*/control.sock")}
        return sorted(found | {path.stem for path in self.places.instances.glob("*.yaml")})

    def _elapsed(self, moment: float, boot: float) -> float:
        """Return the seconds since the last look, and tell when the clock was set meanwhile."""
        last, self._last = self._last, (moment, boot)
        if last is None:
            self._pruned = boot
            return 0.0
        jump = (moment - last[0]) - (boot - last[1])
        if abs(jump) > _JUMP:
            self._pruned = boot
            self._events.append(Event(moment, "clock", f"the clock was set by {jump:+.0f} s"))
        # Of a longer time, in which the host slept, nobody knows.
        return min(boot - last[1], WRITE)

    def _begin(self, moment: float) -> told.Told:
        """Find out until when was recorded before."""
        keys = (_LOOKED, *told.KINDS)
        found = self._commit(lambda connection: {key: _meta(connection, key) for key in keys}) or {}
        # Not after now: the clock may have been wrong.
        known = {key: min(at, moment) for key, at in found.items() if at is not None}
        heard = known.pop(_LOOKED, None)
        self._changes = Changes(heard)
        if heard is None:
            self._events.append(Event(moment, "record", "recording begins"))
        elif moment - heard > _GAP:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(heard))
            self._events.append(Event(moment, "record", "recording goes on", f"nothing was recorded since {at}"))
        return told.Told(self.places.watch, known)

    def _commit(self, action: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        """Do something in the store, again if it was damaged or full; return None when that does not work."""
        moment, _boot = self.clock()
        try:
            try:
                return self._attempt(action)
            except StoreError as error:
                if error.damaged:
                    self._aside(error, moment)
                else:
                    self.store.shrink()
                return self._attempt(action)
        except StoreError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                _LOG.error('not recorded reason="%s"', self._fault)
            return None

    def _attempt(self, action: Callable[[sqlite3.Connection], _Result]) -> _Result:
        with self.store.transaction() as connection:
            result = action(connection)
        if self._fault:
            _LOG.info("recorded again")
            self._fault = ""
        return result

    def _put_all(self, connection: sqlite3.Connection) -> bool:
        """Write figures, events and what WANs have carried."""
        moment, _boot = self.clock()
        warnings = self._count(connection, moment)
        lost = [Event(moment, "record", f"{self._dropped} figures were dropped", self._fault)] if self._dropped else []
        self.store.add(connection, self._minutes, [*lost, *warnings])
        return self._put_events(connection)

    def _put_events(self, connection: sqlite3.Connection) -> bool:
        moment, _boot = self.clock()
        assert self._told is not None
        self.store.add(connection, (), self._events)
        values = {_LOOKED: moment, **self._told.until}
        connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES(?,?)", [(key, repr(at)) for key, at in values.items()]
        )
        return True

    def _count(self, connection: sqlite3.Connection, moment: float) -> list[Event]:
        """Count WANs, tell everybody, and return which warnings that brought."""
        self._read_wans()
        today = datetime.fromtimestamp(moment, UTC).astimezone().date()
        listed = [found.name for found in self._wans]
        before = {found.name: usage.find(connection, found, None, today) for found in self._wans}
        devices = counting.devices(self.places.net)
        where = counting.count(connection, listed, devices, counting.boot_id(), today.isoformat())
        after = [usage.find(connection, found, where.get(found.name), today) for found in self._wans]
        self._limits = {
            found.interface: devices[found.interface].rx + devices[found.interface].tx + left
            for found in after
            if found.interface is not None and (left := usage.left(found)) is not None
        }
        try:
            usage.write(after, moment, self.places.usage)
        except OSError as error:
            _LOG.error('not written file=%s reason="%s"', self.places.usage, error.strerror)
        return [_warning(found, moment) for found in after if (found.warned or 0) > (before[found.wan].warned or 0)]

    def _wans_changed(self) -> bool:
        """Tell whether a WAN has reached a warning since it was counted, or the file of the WANs is another one."""
        if _written(self.places.wans) != self._wans_of:
            return True
        found = counting.devices(self.places.net) if self._limits else {}
        return any(name in found and found[name].rx + found[name].tx >= most for name, most in self._limits.items())

    def _read_wans(self) -> None:
        self._wans_of = _written(self.places.wans)
        try:
            self._wans = wan.load(self.places.wans)
            self._wrong = ""
        except ConfigError as error:  # the last that was right holds
            if str(error) != self._wrong:
                self._wrong = str(error)
                _LOG.error('not taken reason="%s"', self._wrong.replace('"', "'").replace("\n", "; "))

    def _keep_small(self, moment: float, boot: float) -> None:
        try:
            self.store.shrink()
            # Not by a clock that may be wrong: it was set lately, or the host has just started.
            if self._pruned is not None and boot >= self._pruned + PRUNE:
                self._pruned = boot
                self.store.prune(moment)
        except StoreError as error:
            _LOG.error('not pruned reason="%s"', error)

    def _aside(self, error: StoreError, moment: float) -> None:
        """Move a damaged store away and begin anew with what of the WANs could be saved. Raises StoreError."""
        try:
            saved = salvage.read(self.store.path)
            aside = self.store.move_aside()
        except OSError as again:
            raise StoreError(f"{error}; not moved aside: {again.strerror}") from again
        with self.store.transaction() as connection:
            salvage.write(connection, saved)
        kept = "what WANs have used is kept" if saved.days else "if WANs were counted, what they had used is lost"
        what = f"the history was damaged and begins anew, the old one is {aside}"
        self._events.append(Event(moment, "record", what, kept))
        _LOG.error('damaged reason="%s" aside=%s', error, aside)


def _written(file: Path) -> float | None:
    """Return when a file was written (Unix seconds), None when there is none."""
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _meta(connection: sqlite3.Connection, key: str) -> float | None:
    row = connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
    try:
        return float(row[0]) if row is not None else None
    except ValueError:
        return None


def _warning(found: usage.Usage, moment: float) -> Event:
    what = "quota used up" if found.level == usage.FULL else f"{found.warned} % of the quota used"
    reason = usage.line(asdict(found))
    _LOG.error('quota wan=%s what="%s" reason="%s"', found.wan, what, reason)
    return Event(moment, "quota", what, reason, path=found.wan)
