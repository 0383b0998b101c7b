# SPDX-License-Identifier: GPL-3.0-or-later
"""When the guard goes back, and that nothing leaves it armed without a timer or in the way of the next play."""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from guard_systemd import Systemd
from mpquic.host import lock
from mpquic.host.errors import HostError, UsageError
from mpquic.host.guard import restore as back
from mpquic.host.guard import snapshot, store, switch, timer
from mpquic.host.guard.report import Report

PLAIN: dict[str, Any] = {
    "format": 1,
    "files": {},
    "settings": {},
    "tables": {},
    "routing": {"rules": [], "routes": [], "names": {}},
    "services": [],
    "tuns": [],
}
WAKE = f"start --no-block {timer.SERVICE}"


class Host:
    """A host whose state is nothing: its service manager is a stand-in, and to go back is noted only."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.systemd = Systemd(folder / "systemd", monkeypatch)
        self.went: list[Any] = []
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(lock, "LOCK_FILE", str(folder / "lock"))
        monkeypatch.setattr(lock, "PATIENCE", 0.1)
        monkeypatch.setattr(store, "FOLDER", folder / "mpquic" / "guard")
        monkeypatch.setattr(switch, "_MARK", folder / "token")
        monkeypatch.setattr(switch, "_BUSY", folder / "busy")
        monkeypatch.setattr(snapshot, "take", lambda: snapshot.load(PLAIN))
        monkeypatch.setattr(back, "restore", self._restore)

    def _restore(self, wanted: Any, _ask: Any) -> Report:
        self.went.append(wanted)
        return Report(done=["put back something", "put back something"])

    def expire(self) -> dict[str, Any] | None:
        return switch.expire(lambda _name: None)

    def write(self, name: str, text: str) -> None:
        store.FOLDER.mkdir(parents=True, exist_ok=True)
        (store.FOLDER / name).write_text(text)

    def change(self, **values: Any) -> None:
        """Change what is written of the armed guard."""
        found = store.read(store.ARMED)
        assert found is not None
        store.write(store.ARMED, found | values)

    def time_passes(self) -> None:
        self.change(deadline=time.monotonic())

    @property
    def watched(self) -> bool:
        return self.systemd.runs(timer.TIMER)

    def clean(self) -> bool:
        """Tell whether nothing is armed, and nothing of it left."""
        kept = {path.name for path in store.FOLDER.iterdir()} - {store.LAST}
        return not kept and not self.watched and not switch._MARK.exists()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_it_goes_back_when_the_time_is_over_and_not_before(host: Host):
    armed = switch.arm(60)
    assert host.watched
    assert 59 < armed.left <= 60
    assert host.expire() is None
    assert (host.went, host.watched) == ([], True)
    host.time_passes()
    last = host.expire()
    assert last is not None
    assert last == store.read(store.LAST)
    assert (last["token"], last["since"]) == (armed.token, armed.since)
    assert last["reason"] == "not confirmed within 60 s"
    assert (last["undone"], last["failed"]) == (["put back something"], [])
    assert host.went == [snapshot.load(PLAIN)]
    assert host.clean()
    assert host.expire() is None


def test_confirmed_it_stays(host: Host):
    armed = switch.arm(60)
    with pytest.raises(HostError, match="is not the one of the latest"):
        switch.confirm("\N{SNOWMAN}")
    assert host.watched
    switch.confirm(armed.token)
    assert host.clean()
    with pytest.raises(HostError, match="not armed"):
        switch.confirm(armed.token)


@pytest.mark.parametrize("act", ["confirm", "extend"])
def test_it_can_be_too_late(host: Host, act: str):
    armed = switch.arm(60)
    attempt = {"confirm": lambda: switch.confirm(armed.token), "extend": lambda: switch.extend(armed.token, 60)}[act]
    host.time_passes()
    host.systemd.calls()
    with pytest.raises(HostError, match="too late: not confirmed within 60 s, and this host goes back"):
        attempt()
    assert host.systemd.calls() == [WAKE]
    host.expire()
    with pytest.raises(HostError, match="too late: not confirmed within 60 s, so at 20"):
        attempt()


@pytest.mark.parametrize("seconds", [4, 86401])
def test_no_other_time_is_waited_for(host: Host, seconds: int):
    with pytest.raises(UsageError):
        switch.arm(seconds)
    armed = switch.arm(5)
    with pytest.raises(UsageError):
        switch.extend(armed.token, seconds)


def test_armed_again_it_keeps_the_first_state(host: Host):
    first = switch.arm(60)
    host.monkeypatch.setattr(snapshot, "take", lambda: pytest.fail("took another snapshot"))
    host.change(since="2026-01-01T00:00:00Z")
    second = switch.arm(600)
    assert second.since == "2026-01-01T00:00:00Z"
    assert second.left > 500
    with pytest.raises(HostError, match="token"):
        switch.confirm(first.token)
    third = switch.extend(second.token, 60)
    assert (third.token, switch.current()) == (second.token, third)
    assert third.left <= 60


def test_a_boot_ends_the_time(host: Host):
    armed = switch.arm(600)
    switch._MARK.unlink()
    with pytest.raises(HostError, match="too late: the host was started anew"):
        switch.confirm(armed.token)
    last = host.expire()
    assert last is not None
    assert last["reason"] == "the host was started anew"


@pytest.mark.parametrize("act", ["arm", "extend"])
def test_a_timer_that_systemd_refuses_changes_nothing(host: Host, act: str):
    armed = switch.arm(60)
    host.systemd.refuse("start")
    with pytest.raises(HostError, match="Unit not found"):
        switch.arm(600) if act == "arm" else switch.extend(armed.token, 600)
    assert switch.current() == armed
    assert host.watched
    assert "stop " not in " ".join(host.systemd.calls())
    switch.confirm(armed.token)


def test_without_a_timer_nothing_is_armed(host: Host):
    host.systemd.refuse("start")
    with pytest.raises(HostError, match=r"start mpquic-guard\.timer: Unit not found"):
        switch.arm(60)
    assert host.clean()


def test_wherever_a_process_dies_what_is_armed_has_a_timer(host: Host):
    """Look at every change of what is on disk."""
    write, remove, seen = store.write, store.remove, []

    def look() -> None:
        if (store.FOLDER / store.ARMED).exists():
            seen.append(host.watched)

    def changed(name: str, *values: Any) -> None:
        look()
        (write if values else remove)(name, *values)
        look()

    host.monkeypatch.setattr(store, "write", changed)
    host.monkeypatch.setattr(store, "remove", changed)
    stop = timer.stop
    host.monkeypatch.setattr(timer, "stop", lambda: (stop(), look()))
    armed = switch.arm(60)
    armed = switch.extend(armed.token, 60)
    switch.confirm(armed.token)
    switch.arm(60)
    host.time_passes()
    host.expire()
    assert len(seen) > 5
    assert all(seen)


@pytest.mark.parametrize("act", ["arm", "extend"])
def test_a_timer_that_somebody_stopped_runs_again(host: Host, act: str):
    armed = switch.arm(60)
    timer.stop()
    switch.arm(60) if act == "arm" else switch.extend(armed.token, 60)
    assert host.watched


def test_a_guard_that_nobody_wakes_is_woken_by_the_next_play(host: Host):
    switch.arm(60)
    switch.wake()
    host.time_passes()
    timer.stop()
    host.systemd.calls()
    with pytest.raises(HostError, match="about to go back"):
        switch.arm(60)
    assert host.systemd.calls() == [WAKE]
    switch.wake()
    assert host.systemd.calls() == [WAKE]
    host.expire()
    switch.arm(60)
    switch.wake()
    assert WAKE not in host.systemd.calls()


def test_nobody_arms_between_the_end_of_a_restore_and_that_of_its_timer(host: Host):
    switch.arm(60)
    host.time_passes()
    held, stop = [], timer.stop

    def look() -> None:
        with lock.attempt(Path(lock.LOCK_FILE)) as alone:
            held.append(not alone)
        stop()

    host.monkeypatch.setattr(timer, "stop", look)
    host.expire()
    assert held == [True]


def test_what_was_armed_meanwhile_is_not_forgotten(host: Host):
    switch.arm(60)
    host.time_passes()
    host.monkeypatch.setattr(back, "restore", lambda *_: (host.change(token="another", restoring=False), Report())[1])
    assert host.expire() is not None
    armed = switch.current()
    assert armed is not None
    assert armed.token == "another"
    assert host.watched


def test_a_timer_that_outlived_its_guard_is_stopped_but_not_beside_another_command(host: Host):
    timer.start()
    with lock.exclusive():
        assert host.expire() is None
        assert host.watched
    assert host.expire() is None
    assert not host.watched


def test_one_goes_back_at_a_time(host: Host):
    armed = switch.arm(60)

    def restore(*_: Any) -> Report:
        assert host.expire() is None
        with pytest.raises(HostError, match="going back already"):
            switch.restore(lambda _name: None)
        with pytest.raises(HostError, match="too late"):
            switch.confirm(armed.token)
        with pytest.raises(HostError, match="about to go back"):
            switch.arm(60)
        return Report()

    host.monkeypatch.setattr(back, "restore", restore)
    assert switch.restore(lambda _name: None)["reason"] == "asked for"
    with pytest.raises(HostError, match="not armed"):
        switch.restore(lambda _name: None)


def test_a_restore_that_dies_begins_again(host: Host):
    switch.arm(60)
    host.monkeypatch.setattr(back, "restore", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        switch.restore(lambda _name: None)
    host.monkeypatch.setattr(back, "restore", host._restore)
    assert host.watched
    assert host.expire() is not None
    assert host.clean()


WHOLE = asdict(switch.Armed("t", "2026-01-01T00:00:00Z", 60, 1e12))
DAMAGES = ["", "{", "[]", "{}", "\0", "[" * 100_000, '{"token": "t"}']
BAD_ARMED = [
    *DAMAGES,
    *(json.dumps(WHOLE | {key: value}) for key, value in {"token": 5, "since": None, "seconds": "1"}.items()),
    json.dumps(WHOLE | {"deadline": float("inf")}),
    json.dumps(WHOLE | {"deadline": "soon"}),
]


@pytest.mark.parametrize("text", BAD_ARMED, ids=range(len(BAD_ARMED)))
def test_a_guard_that_is_damaged_goes_back_once(host: Host, text: str):
    switch.arm(60)
    host.write(store.ARMED, text)
    with pytest.raises(HostError, match=r"about to go back.*armed\.json is damaged"):
        switch.arm(60)
    with pytest.raises(HostError, match=r"token|too late"):
        switch.confirm("")
    last = host.expire()
    assert last is not None
    assert last["reason"].endswith("armed.json is damaged")
    assert len(host.went) == 1
    assert host.clean()
    switch.arm(60)


BAD_SNAPSHOT = [
    *DAMAGES,
    json.dumps(PLAIN | {"format": 2}),
    *(json.dumps({key: value for key, value in PLAIN.items() if key != missing}) for missing in PLAIN),
    *(json.dumps(PLAIN | {key: 5}) for key in PLAIN),
    json.dumps(PLAIN | {"files": {"etc/mpquic": ["file"]}}),
    json.dumps(PLAIN | {"routing": {"rules": ["no hex"], "routes": [], "names": {}}}),
]


@pytest.mark.parametrize("text", [*BAD_SNAPSHOT, None], ids=range(len(BAD_SNAPSHOT) + 1))
def test_a_snapshot_that_is_damaged_is_given_up(host: Host, text: str | None):
    switch.arm(60)
    host.time_passes()
    if text is None:
        store.remove(store.SNAPSHOT)
    else:
        host.write(store.SNAPSHOT, text)
    last = host.expire()
    assert last is not None
    assert len(last["failed"]) == 1
    assert "snapshot" in last["failed"][0]
    assert (last["undone"], host.went) == ([], [])
    assert host.clean()


@pytest.mark.parametrize("text", DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_report_is_in_nobodys_way(host: Host, text: str):
    armed = switch.arm(60)
    host.write(store.LAST, text)
    assert switch.latest() is None
    switch.confirm(armed.token)
    with pytest.raises(HostError, match="not armed"):
        switch.confirm(armed.token)


def test_a_full_disk_keeps_no_host_from_its_way_back(host: Host):
    switch.arm(60)
    host.time_passes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    host.monkeypatch.setattr(store, "write", full)
    last = host.expire()
    assert last is not None
    assert len(host.went) == 1
    assert last["failed"] == [f"{store.FOLDER}: No space left on device"]
    assert host.clean()


def test_what_is_kept_is_on_disk_and_for_root_alone(host: Host):
    synced = []
    host.monkeypatch.setattr(os, "fsync", lambda number: synced.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    store.write("x.json", {"a": 1})
    assert synced == [str(store.FOLDER / "x.new"), str(store.FOLDER)]
    assert store.read("x.json") == {"a": 1}
    assert (store.FOLDER / "x.json").stat().st_mode & 0o777 == 0o600
    assert store.FOLDER.stat().st_mode & 0o777 == 0o700
    store.remove("x.json")
    store.remove("x.json")
    assert store.read("x.json") is None
