# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.bench import leftovers


@pytest.fixture
def dead():
    """Return the pid of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def namespaces():
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.netns
def test_only_what_a_dead_run_left_is_removed(dead, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers, "WIREGUARD", tmp_path / "wireguard")
    leftovers.WIREGUARD.mkdir()
    alive = os.getpid()
    gone = [f"mpqbench-{dead}-a", f"mpqbench-{dead}-r"]
    kept = [f"mpqbench-{alive}-a", f"mpqbench-other{alive}-a", f"mpqbench-{dead}-a-x"]
    scratch = [f"mpqbench-{pid}-xyz" for pid in (dead, alive)]
    sockets = [f"{name}.sock" for name in (f"mqb{dead}s1", f"mqb{alive}c1", f"wg{dead}")]
    try:
        for name in gone + kept:
            subprocess.run(["ip", "netns", "add", name], check=True)
        for name in scratch:
            (tmp_path / name).mkdir()
        for name in sockets:
            (leftovers.WIREGUARD / name).touch()
        leftovers.remove_stale()
        assert not set(gone) & set(namespaces())
        assert set(kept) <= set(namespaces())
        assert [(tmp_path / name).exists() for name in scratch] == [False, True]
        assert [(leftovers.WIREGUARD / name).exists() for name in sockets] == [False, True, True]
    finally:
        for name in gone + kept:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def test_names_hold_the_pid_and_fit():
    assert str(os.getpid()) in leftovers.namespace("a")
    assert len(leftovers.device("server", 1).replace(str(os.getpid()), "4194304")) <= 15
    with leftovers.scratch() as where:
        assert where.name.startswith(f"mpqbench-{os.getpid()}-")
        assert not where.is_relative_to(Path.cwd())
    assert not where.exists()
