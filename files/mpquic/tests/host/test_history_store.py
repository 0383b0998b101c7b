# SPDX-License-Identifier: GPL-3.0-or-later
"""The history in real SQLite files: bounds, a full disk, damage, a clock that is set, processes that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.cli import main
from mpquic.host.history import query, recorder, store
from mpquic.host.history.changes import Event
from mpquic.host.history.figures import Minute, Series

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = 1_800_000_000.0 - 1_800_000_000 % 86400 + 43200
STATUS: dict[str, Any] = {
    "id": "1",
    "role": "client",
    "state": "up",
    "reason": "connected",
    "since_s": 100.0,
    "pid": 7,
    "config": "aa" * 32,
    "config_refused": None,
    "rtt_ms": 20.0,
    "tx_bytes": 1000,
    "rx_bytes": 2000,
    "tx_packets": 10,
    "rx_packets": 20,
    "drops": {"source": 1},
    "peers": [],
}
PATH: dict[str, Any] = {
    "name": "lte",
    "state": "up",
    "reason": "connected",
    "since_s": 90.0,
    "switches": 0,
    "loss": 0.01,
    "peer_loss": 0.02,
    "rtt_ms": 55.0,
    "tx_bytes": 10,
    "rx_bytes": 20,
    "tx_packets": 1,
    "rx_packets": 2,
    "drops": {},
}


class Host:
    """A recorder whose clocks the test turns, and daemons that say what the test wants."""

    def __init__(self, folder: Path, *, size: int = store.SIZE) -> None:
        (folder / "instances").mkdir(exist_ok=True)
        self.folder = folder
        self.file = folder / "history.db"
        self.moment, self.boot = NOON, 1000.0
        self.said: dict[str, dict[str, Any] | None] = {}
        self.size = size
        self.start()

    def start(self) -> None:
        places = recorder.Places(
            run=self.folder / "run",
            instances=self.folder / "instances",
            wans=self.folder / "wans.yaml",
            watch=self.folder / "watch.json",
            usage=self.folder / "wans.json",
            names=self.folder / "names.json",
            resolv=self.folder / "resolv.conf",
        )
        self.store = store.Store(self.file, size=self.size)
        self.recorder = recorder.Recorder(self.store, places, lambda name: self.said[name], self.clock)

    def clock(self) -> tuple[float, float]:
        return self.moment, self.boot

    def says(self, name: str, **changed: Any) -> None:
        (self.folder / f"instances/{name}.yaml").touch()
        found = {**STATUS, "id": name, **(self.said.get(name) or {}), **changed}
        self.said[name] = found

    def silent(self, name: str) -> None:
        (self.folder / f"instances/{name}.yaml").touch()
        self.said[name] = None

    def passes(self, seconds: float, *, clock: float | None = None) -> None:
        """Let time pass, and the clock as well unless it says something else; everybody stays as it was."""
        self.moment += seconds if clock is None else clock
        self.boot += seconds
        for found in self.said.values():
            for part in (found, *found.get("paths", ())) if found is not None else ():
                part["since_s"] += seconds

    def look(self, seconds: float = 5.0) -> None:
        self.passes(seconds)
        self.recorder.look()

    def wish(self, **fields: Any) -> query.Wish:
        return query.Wish(NOON - 86400 * 40, NOON + 86400 * 40, **fields)

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        with store.reading(self.file) as connection:
            return query.events(connection, self.wish(**fields))

    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events()]

    def figures(self, **fields: Any) -> list[dict[str, Any]]:
        with store.reading(self.file) as connection:
            return query.figures(connection, self.wish(**fields), 1440 * 100)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    found = Host(tmp_path)
    yield found
    found.store.close()


def minutes(count: int, series: int = 1, *, first: int = 0) -> list[Minute]:
    return [
        Minute(Series(str(name), "", "tunnel", ""), int(NOON // 60) + at, counts=[1, 2, 3, 4])
        for at in range(first, first + count)
        for name in range(series)
    ]


def test_figures_are_what_was_added_and_how_long_each_state_lasted(host: Host) -> None:
    host.says("1", paths=[PATH.copy()])
    host.look()
    host.said["1"]["tx_bytes"] += 500  # type: ignore[index]
    host.look(5)
    host.said["1"]["state"] = "connecting"  # type: ignore[index]
    host.look(5)
    host.silent("1")
    host.look(5)
    host.recorder.write()
    tunnel, path = host.figures()
    assert (tunnel["tx_bytes"], tunnel["rx_bytes"], tunnel["rtt_ms"]) == (500, 0, 20.0)
    assert (tunnel["up_s"], tunnel["down_s"], tunnel["doubt_s"]) == (5, 10, 0)
    assert (path["name"], path["loss"], path["up_s"], path["down_s"]) == ("lte", 0.02, 10, 5)


def test_counters_that_begin_anew_are_added_whole(host: Host) -> None:
    host.says("1")
    host.look()
    host.says("1", tx_bytes=300, rx_bytes=0, drops={})
    host.look()
    host.recorder.write()
    (tunnel,) = host.figures()
    assert (tunnel["tx_bytes"], tunnel["rx_bytes"], tunnel["drops"]) == (300, 0, 0)


def test_events_have_the_time_at_which_it_happened(host: Host) -> None:
    host.says("1", paths=[PATH.copy()])
    host.look()
    host.passes(5)
    host.said["1"]["paths"][0].update(state="down", reason="no carrier", since_s=3.0)  # type: ignore[index]
    host.recorder.look()
    event = host.events(path="lte")[-1]
    assert (event["kind"], event["reason"], event["at"]) == ("path_down", "no carrier", host.moment - 3)


def test_a_fall_between_two_looks_is_told(host: Host) -> None:
    host.says("1", paths=[PATH.copy()])
    host.look()
    host.passes(5)
    host.said["1"]["paths"][0].update(switches=2, since_s=1.0)  # type: ignore[index]
    host.recorder.look()
    assert host.kinds()[-2:] == ["path_up", "switch"]


def test_restart_reload_refusal_and_silence_are_told_once(host: Host) -> None:
    host.says("1")
    host.look()
    for changed in ({"pid": 8}, {"config": "bb" * 32}, {"config_refused": "tun_mtu: found 1"}):
        host.says("1", **changed)
        host.look()
        host.look()
    host.silent("1")
    host.look()
    host.look()
    assert host.kinds()[-4:] == ["restart", "reload", "refused", "tunnel_down"]


def test_repairs_are_told_once_even_after_a_restart(host: Host) -> None:
    repair = {"at": NOON + 2, "ms": 60, "tunnel": "4", "code": "rule_missing", "message": "no rule"}
    (host.folder / "watch.json").write_text(json.dumps({"repairs": [repair]}))
    host.look()
    host.store.close()
    host.start()
    host.look()
    assert [(event["instance"], event["reason"]) for event in host.events() if event["kind"] == "drift"] == [
        ("4", "rule_missing: no rule")
    ]


def test_after_a_pause_it_tells_of_the_gap_and_of_what_began_in_it(host: Host) -> None:
    host.says("1")
    host.says("2")
    host.look()
    host.recorder.write()
    host.store.close()
    host.passes(3600)
    host.says("2", since_s=60.0)
    host.start()
    host.look()
    fresh = [(event["kind"], event["instance"]) for event in host.events() if event["at"] > NOON + 100]
    assert fresh == [("tunnel_up", "2"), ("record", "")]


def test_a_clock_that_is_set_is_told_and_costs_nothing(host: Host) -> None:
    host.says("1")
    host.look()
    host.recorder.write()
    for jump in (-7200.0, 20 * 365 * 86400.0, -20 * 365 * 86400.0):
        host.passes(60, clock=60 + jump)
        host.recorder.look()
        host.recorder.write()
    assert sum("clock was set" in event["what"] for event in host.events()) == 2
    assert host.figures()[0]["up_s"] == 5 + 2 * 60 - 5
    # Only an hour after the clock was set last is anything forgotten, and by then it is right: what is in the future.
    for _time in range(8):
        host.look(600)
    with store.reading(host.file) as connection:
        assert connection.execute("SELECT count(*) FROM events WHERE at > ?", (NOON + 86400,)).fetchone()[0] == 0
    assert set(host.kinds()) == {"tunnel_up", "record", "clock"}


def test_what_is_older_than_a_month_goes(host: Host) -> None:
    old = [Minute(Series("1", "", "tunnel", ""), int(NOON // 60) - store.DAYS * 1440 - 5)]
    with host.store.transaction() as connection:
        host.store.add(
            connection, old + minutes(3), [Event(NOON - 31 * 86400, "record", "old"), Event(NOON, "record", "x")]
        )
    host.store.prune(NOON)
    with store.reading(host.file) as connection:
        assert connection.execute("SELECT count(*) FROM minutes").fetchone()[0] == 3
        assert connection.execute("SELECT what FROM events").fetchone()[0] == "x"


def test_the_file_stays_within_its_size_and_the_newest_stays_in_it(tmp_path: Path) -> None:
    with closing(store.Store(tmp_path / "history.db", size=1 << 20)) as found:
        for start in range(0, 3000, 50):
            with found.transaction() as connection:
                found.add(connection, minutes(50, 20, first=start), [])
            found.shrink()
        assert found.path.stat().st_size <= 1 << 20
        with store.reading(found.path) as connection:
            first, last, count = connection.execute("SELECT min(minute), max(minute), count(*) FROM minutes").fetchone()
        assert (last, count > 5000, first > NOON // 60) == (int(NOON // 60) + 2999, True, True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_costs_figures_is_said_and_over_when_there_is_room(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(disk)
    caplog.set_level("INFO")
    try:
        host.says("1")
        host.look()
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        for number in range(400):
            host.says(str(number))
        for _minute in range(20):
            host.look(60)
        assert sum("not recorded" in record.message for record in caplog.records) == 1
        ballast.unlink()
        host.look(60)
        assert "recorded again" in caplog.records[-1].message
        assert any("figures were dropped" in event["what"] for event in host.events())
        assert host.figures(instance="1")
    finally:
        host.store.close()


@pytest.mark.parametrize("damage", ["garbage", "middle", "version"])
def test_a_damaged_file_is_moved_aside_and_the_wans_are_saved(host: Host, damage: str) -> None:
    with host.store.transaction() as connection:
        host.store.add(connection, minutes(500, 10), [])
        connection.execute("INSERT INTO wan_days VALUES('lte', '2027-01-15', 5, 6)")
    host.store.close()
    if damage == "version":
        with closing(sqlite3.connect(host.file)) as connection:
            connection.execute("PRAGMA user_version=99")
    else:
        with host.file.open("r+b") as file:
            size = host.file.stat().st_size
            file.seek(0 if damage == "garbage" else size // 2)
            file.write(b"\xff" * (size // 3))
        # As after a loss of power.
        host.file.with_name("history.db-wal").touch()
    host.says("1")
    host.look()
    assert host.file.with_name("history.db.damaged").exists()
    assert any("was damaged" in event["what"] for event in host.events())
    with store.reading(host.file) as connection:
        saved = connection.execute("SELECT count(*) FROM wan_days WHERE wan='lte'").fetchone()[0]
    assert saved == (0 if damage == "garbage" else 1)


def test_damage_that_shows_while_it_runs_is_survived(host: Host) -> None:
    host.says("1")
    host.look()
    host.recorder.write()
    host.store.close()
    host.file.write_bytes(b"\xff" * 100_000)
    host.look(60)
    assert any("was damaged" in event["what"] for event in host.events())


WRITER = """
import sys
from pathlib import Path
from mpquic.host.history.store import Store
from mpquic.host.history.figures import Minute, Series
store = Store(Path(sys.argv[1]))
for number in range(100000):
    with store.transaction() as connection:
        store.add(connection, [Minute(Series(str(n), "", "tunnel", ""), number) for n in range(20)], [])
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_whole_transactions(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    for _time in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _line in range(20)]
            process.kill()
        with closing(store.Store(file)) as found, found.transaction() as connection:
            uneven = "SELECT count(*) FROM (SELECT minute FROM minutes GROUP BY minute HAVING count(*) != 20)"
            assert connection.execute(uneven).fetchone()[0] == 0
            assert connection.execute("SELECT max(minute) FROM minutes").fetchone()[0] >= int(said[-1])
    assert not file.with_name("history.db.damaged").exists()


def test_only_its_group_may_read_it_and_no_link_is_followed(tmp_path: Path) -> None:
    with closing(store.Store(tmp_path / "history.db")) as found:
        found.prune(NOON)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("history.db*")} == {0o640}
    target = tmp_path / "target"
    target.write_text("x")
    (tmp_path / "link.db").symlink_to(target)
    with pytest.raises(store.StoreError), store.Store(tmp_path / "link.db").transaction():
        pass
    assert target.read_text() == "x"


def test_the_command_shows_figures_and_events(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.says("1", paths=[PATH.copy()])
    host.look()
    host.says("1", tx_bytes=51000)
    host.look(10)
    host.recorder.write()
    span = ["--history", str(host.file), "--since", "2026-01-01", "--until", "2028-01-01"]
    assert main(["history", "1", *span]) == 0
    figures, _, events = capsys.readouterr().out.partition("\n\n")
    assert "50.0kB" in figures
    assert "lte" in figures
    assert "path_up" in events
    assert main(["history", "1", *span, "--json", "--path", "lte"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["kind"] for row in result["figures"]} == {"path"}
    assert result["schema"] == 1
    assert {event["path"] for event in result["events"] if event["instance"]} == {"lte"}


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (["--since", "2020-01-01", "--until", "2020-01-02"], "the first ones are of"),
        (["--since", "2050-01-01", "--until", "2050-01-02"], "the last ones are of"),
        (["--since", "2020-01-01", "--until", "2050-01-02", "--path", "no"], "there are others, from"),
    ],
)
def test_the_command_says_why_there_is_nothing(
    host: Host, span: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    host.says("1")
    host.look()
    host.recorder.write()
    assert main(["history", "--history", str(host.file), *span]) == 0
    assert words in capsys.readouterr().out


def test_the_command_without_a_history_or_with_a_wrong_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--history", str(tmp_path / "none.db")]) == 1
    assert "nothing was recorded so far" in capsys.readouterr().err
    assert main(["history", "--since", "yesteryear"]) == 64
    assert "expected a time ago" in capsys.readouterr().err


def test_times_as_people_write_them() -> None:
    now = time.mktime((2027, 1, 15, 12, 0, 0, 0, 0, -1))
    for text, expected in {
        "90m": now - 5400,
        "2d": now - 2 * 86400,
        "11:30": now - 1800,
        "12:30": now - 86400 + 1800,
        "2027-01-15": now - 43200,
        "2027-01-15 11:00": now - 3600,
        "now": now,
    }.items():
        assert query.moment(text, now) == expected, text


def test_the_command_records_until_it_is_told_to_end(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances/9.yaml").touch()
    file = tmp_path / "history.db"
    command = [sys.executable, "-m", "mpquic", "recorder", "--history", str(file), "--run-dir", str(tmp_path)]
    with subprocess.Popen([*command, "--instances", str(tmp_path / "instances")], env=os.environ.copy()) as process:
        deadline = time.monotonic() + 30
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert not file.with_name("history.db-wal").exists()
    with store.reading(file) as connection:
        kinds = {row["kind"] for row in connection.execute("SELECT kind FROM events")}
    assert kinds == {"record", "tunnel_down"}


def test_the_page_names_every_event() -> None:
    root = Path(__file__).parents[4]
    page = (root / "docs/history.md").read_text(encoding="utf-8")
    sources = (root / "files/mpquic/src/mpquic/host/history").glob("*.py")
    kinds = {
        kind for source in sources for kind in re.findall(r'Event\([^,()]+(?:\([^)]*\))?, "(\w+)"', source.read_text())
    }
    assert kinds >= {"drift", "guard", "quota", "clock", "record", "switch", "tunnel_down"}
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []
