# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQLite file of the history: opened, moved aside when damaged, kept within its bounds, written in transactions.

What is committed survives a loss of power (write-ahead log, one fsync for each transaction). Whatever SQLite reports
becomes a StoreError, so that whoever records can go on without a store.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mpquic.host.history.changes import Event
    from mpquic.host.history.figures import Minute, Series

DAYS = 30
"""For how many days figures and events are kept."""
SIZE = 256 << 20
"""Bytes of the file, at most; its log (``-wal``) may have a few MB beside."""
EVENTS = 50_000
"""Events that are kept, at most."""
#: Days of what WANs have used: a billing period and the one before, whatever their length.
WAN_DAYS = 100

_VERSION = 1
_PAGE = 4096
#: Prune above this part of SIZE, and until so much is free.
_HIGH, _LOW = 0.95, 0.85
#: Milliseconds to wait for a reader.
_BUSY = 5000
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SCHEMA = """
CREATE TABLE series(id INTEGER PRIMARY KEY, instance TEXT NOT NULL, peer TEXT NOT NULL, kind TEXT NOT NULL,
    name TEXT NOT NULL, UNIQUE(instance, peer, kind, name));
CREATE TABLE minutes(minute INTEGER NOT NULL, series INTEGER NOT NULL REFERENCES series(id),
    tx_bytes INTEGER NOT NULL, rx_bytes INTEGER NOT NULL, tx_packets INTEGER NOT NULL, rx_packets INTEGER NOT NULL,
    drops INTEGER NOT NULL, rtt_ms REAL, rtt_max_ms REAL, loss REAL, loss_max REAL,
    up_s REAL NOT NULL, doubt_s REAL NOT NULL, down_s REAL NOT NULL, PRIMARY KEY(minute, series)) WITHOUT ROWID;
CREATE TABLE events(id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, instance TEXT NOT NULL,
    peer TEXT NOT NULL, path TEXT NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX events_at ON events(at);
CREATE TABLE wan_days(wan TEXT NOT NULL, day TEXT NOT NULL, rx INTEGER NOT NULL, tx INTEGER NOT NULL,
    PRIMARY KEY(wan, day)) WITHOUT ROWID;
CREATE TABLE wan_marks(wan TEXT PRIMARY KEY, boot TEXT NOT NULL, ifindex INTEGER NOT NULL, address TEXT NOT NULL,
    rx INTEGER NOT NULL, tx INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
#: One that is met again in the same minute, after a restart or a clock that was set back, is added.
_ADD_MINUTE = """
INSERT INTO minutes VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET
    tx_bytes = tx_bytes + excluded.tx_bytes, rx_bytes = rx_bytes + excluded.rx_bytes,
    tx_packets = tx_packets + excluded.tx_packets, rx_packets = rx_packets + excluded.rx_packets,
    drops = drops + excluded.drops,
    rtt_ms = coalesce((rtt_ms + excluded.rtt_ms) / 2, excluded.rtt_ms, rtt_ms),
    rtt_max_ms = coalesce(max(rtt_max_ms, excluded.rtt_max_ms), excluded.rtt_max_ms, rtt_max_ms),
    loss = coalesce((loss + excluded.loss) / 2, excluded.loss, loss),
    loss_max = coalesce(max(loss_max, excluded.loss_max), excluded.loss_max, loss_max),
    up_s = up_s + excluded.up_s, doubt_s = doubt_s + excluded.doubt_s, down_s = down_s + excluded.down_s
"""


class StoreError(HostError):
    """The store cannot be used now; ``damaged`` when it never will be again."""

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        """Say why."""
        super().__init__(message)
        self.damaged = damaged


class Store:
    """The file at ``path``, opened when it is first needed, and again after an error."""

    def __init__(self, path: Path, *, size: int = SIZE) -> None:
        """Keep the file within ``size`` bytes. Nothing is opened yet."""
        self.path = path
        self._size = size
        self._connection: sqlite3.Connection | None = None
        self._series: dict[Series, int] = {}

    def close(self) -> None:
        """Close the file; its log is folded into it."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        self._series.clear()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of it or nothing.

        Raises:
            StoreError: nothing of it was written; the file is closed, the next transaction opens it again.

        """
        try:
            connection = self._connection or self._open()
            # Who is to write says so before it reads, or a reader of long ago could not become a writer.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.close()
            raise _told(self.path, error) from error
        except OSError as error:
            self.close()
            raise StoreError(f"{self.path}: {error.strerror}") from error

    def move_aside(self) -> Path:
        """Move the file away, in the place of one that was moved away before, and return where to. Raises OSError."""
        self.close()
        aside = self.path.with_name(f"{self.path.name}.damaged")
        for suffix in ("-wal", "-shm"):
            # Together they may be worth something to somebody who knows how.
            log, other = self.path.with_name(self.path.name + suffix), aside.with_name(aside.name + suffix)
            other.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                log.replace(other)
        self.path.replace(aside)
        return aside

    def add(self, connection: sqlite3.Connection, minutes: Iterable[Minute], events: Iterable[Event]) -> None:
        """Write figures and events, in a transaction."""
        for found in minutes:
            series = self._number(connection, found.series)
            connection.execute(_ADD_MINUTE, (found.minute, series, *found.row()))
        connection.executemany(
            "INSERT INTO events(at, kind, instance, peer, path, what, reason) VALUES(?,?,?,?,?,?,?)",
            [
                (event.at, event.kind, event.instance, event.peer, event.path, event.what, event.reason)
                for event in events
            ],
        )

    def _number(self, connection: sqlite3.Connection, series: Series) -> int:
        number = self._series.get(series)
        if number is None:
            values = (series.instance, series.peer, series.kind, series.name)
            connection.execute("INSERT OR IGNORE INTO series(instance, peer, kind, name) VALUES(?,?,?,?)", values)
            query = "SELECT id FROM series WHERE instance=? AND peer=? AND kind=? AND name=?"
            number = int(connection.execute(query, values).fetchone()[0])
            self._series[series] = number
        return number

    def prune(self, now: float) -> None:
        """Forget what is too old at ``now`` (Unix seconds), or in the future. Raises StoreError."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM minutes WHERE minute < ?", (int(now // 60) - DAYS * 1440,))
            connection.execute("DELETE FROM events WHERE at < ?", (now - DAYS * 86400,))
            connection.execute("DELETE FROM wan_days WHERE day < date(?, 'unixepoch')", (now - WAN_DAYS * 86400,))
            # Of a clock that was wrong, and is right now.
            connection.execute("DELETE FROM minutes WHERE minute > ?", (int(now // 60) + 1440,))
            connection.execute("DELETE FROM events WHERE at > ?", (now + 86400,))
            connection.execute("DELETE FROM series WHERE id NOT IN (SELECT DISTINCT series FROM minutes)")
            self._series.clear()

    def shrink(self) -> None:
        """Forget events beyond EVENTS, and the oldest figures before the file is too large. Raises StoreError."""
        with self.transaction() as connection:
            over = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?"
            connection.execute(over, (EVENTS,))
            if self._used(connection) > self._size * _HIGH:
                while self._used(connection) > self._size * _LOW:
                    first, last = connection.execute("SELECT min(minute), max(minute) FROM minutes").fetchone()
                    if first is None:
                        break
                    until = first + max(1, (last - first) // 20)
                    connection.execute("DELETE FROM minutes WHERE minute < ?", (until,))
        try:
            # It frees a page with every step.
            connection.execute("PRAGMA incremental_vacuum").fetchall()
        except sqlite3.Error as error:
            self.close()
            raise _told(self.path, error) from error

    @staticmethod
    def _used(connection: sqlite3.Connection) -> int:
        pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
        return pages * _PAGE

    def _open(self) -> sqlite3.Connection:
        """Open the file, or make it. Raises sqlite3.Error, OSError, StoreError."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # A log is there only if whoever wrote it did not end in order.
        cut_short = self.path.with_name(f"{self.path.name}-wal").exists()
        # For the group, which the unit sets, to read: the status page is in it.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640))
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=_BUSY / 1000)
        try:
            for pragma in (f"page_size={_PAGE}", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA journal_size_limit=4194304")
            if _pragma(connection, "schema_version") == 0:
                connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
            _check_version(connection, self.path)
            if cut_short:
                _check_pages(connection, self.path)
            connection.execute(f"PRAGMA max_page_count={self._size // _PAGE}")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = _pragma(connection, "user_version")
    if version != _VERSION:
        raise StoreError(f"{path}: found version {version}, expected {_VERSION}", damaged=True)


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise StoreError(f"{path}: {' '.join(found.split())}", damaged=True)


def _told(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return StoreError(f"{path}: {error}", damaged=code in _DAMAGED)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file to read it only, beside whoever writes it.

    Raises:
        StoreError: there is none, or it cannot be read.

    """
    try:
        if not path.exists():
            raise StoreError(f"{path}: no such file: nothing was recorded so far (systemctl status mpquic-recorder)")
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY / 1000)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        connection.row_factory = sqlite3.Row
        _check_version(connection, path)
        yield connection
    except sqlite3.Error as error:
        raise _told(path, error) from error
    finally:
        connection.close()


def rows(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what a query finds."""
    return [dict(row) for row in connection.execute(query, values)]
