# SPDX-License-Identifier: GPL-3.0-or-later
"""Units run as they did, and daemons run what is written, with as little as that takes."""

from __future__ import annotations

import hashlib
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from guard_systemd import Systemd
from mpquic.host.errors import HostError
from mpquic.host.guard import services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNIT = "mpquic@1.service"


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    monkeypatch.setattr(services, "INSTANCES", tmp_path)
    monkeypatch.setattr(services, "_RELOAD", 0.5)
    (tmp_path / "1.yaml").write_text("role: client\n")
    (tmp_path / "1.env").write_text("# Managed\n\nTUN_NAME=mpq1\nMPQUIC_RELEASE=1.0.0\n")
    return Systemd(tmp_path / "systemd", monkeypatch)


@contextmanager
def process(**environment: str) -> Iterator[int]:
    """Run a daemon with an environment; yield its process id."""
    with subprocess.Popen(["sleep", "60"], env={"PATH": "/usr/bin:/bin", **environment}) as found:
        yield found.pid
        found.terminate()


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "1.yaml").read_bytes()).hexdigest()


def test_what_runs_is_ours_and_not_the_guard_nor_what_something_else_starts(systemd: Systemd):
    systemd.has(UNIT)
    systemd.has("mpquic@2.service", "activating")
    systemd.has("mpquic@3.service", "inactive")
    systemd.has("mpquic-health.timer")
    systemd.has("mpquic-health.service", "active", "TriggeredBy=mpquic-health.timer\n")
    systemd.has("mpquic-guard.service", "activating")
    systemd.has("mpquic-guard.timer")
    assert services.running() == ["mpquic-health.timer", UNIT, "mpquic@2.service"]
    systemd.refuse("show")
    with pytest.raises(HostError, match="systemctl show: Unit not found"):
        services.running()


def test_units_are_stopped_and_started_as_they_were(systemd: Systemd):
    systemd.has(UNIT)
    systemd.has("mpquic@2.service", "failed")
    systemd.has("mpquic@3.service")
    report = services.restore([UNIT, "mpquic@2.service"], lambda _name: None)
    assert (report.done, report.failed) == (["stopped mpquic@3.service", "started mpquic@2.service"], [])
    calls = ["stop mpquic@3.service", "reset-failed mpquic@2.service", "start mpquic@2.service"]
    assert systemd.calls() == calls
    assert services.restore([UNIT, "mpquic@2.service"], lambda _name: None).done == []
    assert systemd.calls() == []


def test_a_unit_that_does_not_start_is_reported_and_does_not_stop_the_others(systemd: Systemd):
    systemd.has("mpquic@3.service")
    systemd.refuse("stop")
    report = services.restore([UNIT], lambda _name: None)
    assert report.done == [f"started {UNIT}"]
    assert report.failed == ["systemctl stop mpquic@3.service: Unit not found."]


def test_systemd_reads_its_units_again(systemd: Systemd):
    assert services.reload().done == ["systemd read its units again"]
    assert systemd.calls() == ["daemon-reload"]


def test_a_daemon_that_runs_what_is_written_is_left_alone(systemd: Systemd, tmp_path: Path):
    with process(TUN_NAME="mpq9", MPQUIC_RELEASE="1.0.0", MORE="x") as pid:
        systemd.has(UNIT, pid=pid)
        for said in ({"config": digest(tmp_path)}, {}, None):
            assert services.restore([UNIT], lambda _name, said=said: said).done == []
    assert systemd.calls() == []


def test_another_configuration_is_reloaded(systemd: Systemd, tmp_path: Path):
    systemd.has(UNIT)
    asked: list[str] = []

    def ask(name: str) -> dict[str, object]:
        asked.append(name)
        return {"config": digest(tmp_path) if len(asked) > 1 else "another"}

    assert services.restore([UNIT], ask).done == [f"reloaded {UNIT}"]
    assert systemd.calls() == [f"reload {UNIT}"]


def test_a_daemon_that_does_not_take_it_over_is_restarted(systemd: Systemd):
    systemd.has(UNIT)
    report = services.restore([UNIT], lambda _name: {"config": "another"})
    assert report.done == [f"reloaded {UNIT}", f"restarted {UNIT}"]
    assert systemd.calls() == [f"reload {UNIT}", f"restart {UNIT}"]


def test_another_release_takes_a_restart(systemd: Systemd):
    with process(TUN_NAME="mpq1", MPQUIC_RELEASE="0.9.0") as pid:
        systemd.has(UNIT, pid=pid)
        report = services.restore([UNIT], lambda _name: {"config": "another"})
    assert report.done == [f"restarted {UNIT}"]
    assert systemd.calls() == [f"restart {UNIT}"]
