# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorder beside real daemons: what happens to a path and to a daemon is in the history, with its reason."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.host.history.recorder import LOOK
from multiwan import MultiWan
from wan import command, made, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns


@contextmanager
def recording(wan: MultiWan) -> Iterator[Path]:
    """Record what the daemons say, as the unit does."""
    file = wan.folder / "history.db"
    instances = wan.folder / "none"
    line = [sys.executable, "-m", "mpquic", "recorder", "--history", file, "--run-dir", wan.folder]
    with subprocess.Popen([*map(str, line), "--instances", str(instances)]) as process:
        try:
            until(lambda: bool(file.exists() and events(file)), 60)
            yield file
        finally:
            process.terminate()
            assert process.wait(30) == 0


def told(file: Path, *arguments: str) -> dict[str, Any]:
    code, found = command("history", "--history", file, "--since", "1h", *arguments)
    assert code == 0
    return dict(found)


def events(file: Path) -> list[tuple[str, str, str]]:
    return [(event["kind"], event["instance"], event["path"]) for event in told(file)["events"]]


def test_what_happens_to_a_path_and_a_daemon_is_told_within_seconds() -> None:
    with made(MultiWan(2)) as wan:
        assert isinstance(wan, MultiWan)
        wan.bring_up()
        with recording(wan) as file:
            until(lambda: ("path_up", "server", "wan2") in events(file), 20)
            assert ("path_up", "client", "wan1") in events(file)
            wan.plug(2, "down")
            began = time.time()
            until(lambda: ("path_down", "client", "wan2") in events(file), 20)
            (event,) = [
                found
                for found in told(file)["events"]
                if found["kind"] == "path_down" and found["instance"] == "client"
            ]
            assert "carrier" in event["reason"]
            # The daemon's time of it, not that of the look.
            assert abs(event["at"] - began) < 3
            wan.plug(2, "up")
            until(lambda: events(file).count(("path_up", "client", "wan2")) == 2, 30)
            for _ping in range(3):
                assert wan.ping("client")
            time.sleep(LOOK + 1)  # what a daemon carried since the last look ends with it
            wan.stop("client")
            until(lambda: ("tunnel_down", "server", "") in events(file), 40)
        series = {(row["instance"], row["kind"], row["name"]): row for row in told(file, "--step", "day")["figures"]}
        path = series["client", "path", "wan2"]
        assert series["client", "tunnel", ""]["tx_packets"] >= 3
        assert path["rtt_ms"] > 0
        assert path["down_s"] > 0
        assert path["up_s"] > 0
        assert ("client", "class", "default") in series
