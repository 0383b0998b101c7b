# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon writes into the journal, and how much of it: peers and strangers cause most of it."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.core.types import Change
from mpquic.daemon.logs import BURST, RATE, RateFilter
from mpquic.daemon.pathlog import DOUBT_BURST, DOUBT_RATE
from mpquic.daemon.shell import Shell

sys.path.append(str(Path(__file__).parents[1] / "quic"))

from simulation import World, arrivals

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ends the quotes, forges fields, and quotes the quote that follows.
FORGED = 'x" peer=root reason="y\\'


class Teller(Shell):
    """A shell that only tells."""

    def reload(self, config: Any) -> None:
        """Do nothing."""

    def prepare(self, now: float) -> None:
        """Do nothing."""

    def readings(self) -> dict[Any, Any]:
        """Return nothing."""
        return {}

    def blocked(self) -> str | None:
        """Return None."""

    def lend(self) -> tuple[int, ...]:
        """Return nothing."""
        return ()

    def retire(self) -> None:
        """Do nothing."""

    def idle(self) -> bool:
        """Return True."""
        return True

    def inherit(self, *_lent: object) -> None:
        """Do nothing."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def teller(world: World) -> Iterator[Teller]:
    loop = asyncio.new_event_loop()
    config: Any = SimpleNamespace(tun_name="none", native="off")
    assert world.server is not None
    yield Teller(config, world.server, loop, lambda _line: None)
    loop.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Return what is written from now on."""
    found: list[str] = []

    class Book(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    caplog.set_level(logging.DEBUG, "mpquic")
    book = Book()
    logger = logging.getLogger("mpquic")
    logger.addHandler(book)
    yield found
    logger.removeHandler(book)


def _hidden(lines: list[str]) -> int:
    return sum(int(number) for number in re.findall(r" suppressed=(\d+)$", "\n".join(lines), re.MULTILINE))


def _comes(peer: str) -> Change:
    return Change("up", "connected", detail=f"peer={peer} remote=198.51.100.1:4 session=ab")


def _goes(peer: str, why: str) -> Change:
    return Change("listening", f"client closed: {why}", failed=True, detail=f"peer={peer}")


def test_a_peer_cannot_forge_fields(world: World, teller: Teller, lines: list[str]) -> None:
    world.run_until(lambda: world.client.state == "up" and teller.tunnel.state == "up", 2)
    connection = world.client.connection
    assert connection is not None
    connection.close(FORGED)
    goodbye = [data for data, _to in connection.seal([], world.now)[0]]
    teller.tunnel.receive(arrivals(world.address, *goodbye), world.now)
    teller.tunnel.flush(world.now)
    for change in teller.tunnel.changes():
        teller._tell(change, world.now)
    (line,) = [line for line in lines if line.startswith("listening ")]
    assert line == "listening reason=\"client closed: x' peer=root reason='y/\" peer=client1"


@pytest.mark.parametrize("state", ["up", "refused", "listening", "renewal failed", "stopped"])
def test_nothing_ends_the_quotes(teller: Teller, lines: list[str], state: str) -> None:
    teller._tell(Change(state, FORGED + "\n\x1b\u202e", detail="peer=client1"), 1.0)
    (line,) = lines
    assert line.count('"') == 2
    assert "\\" not in line
    assert line.isprintable()


def test_one_peer_does_not_fill_the_journal_nor_hide_the_others(teller: Teller, lines: list[str]) -> None:
    for number in range(100):
        now = 1.0 + number / 100
        teller._tell(_comes("bad"), now)
        teller._tell(_goes("bad", f"{number}"), now)
        if number % 10 == 0:
            teller._tell(_comes("good"), now)
    assert sum("peer=good" in line for line in lines) == 10
    bad = sum("peer=bad" in line for line in lines)
    assert bad <= BURST + RATE
    teller._tell(_comes("bad"), 4.0)
    assert "peer=bad" in lines[-1]
    assert bad + _hidden(lines) == 200


def test_the_first_lines_are_all_told(teller: Teller, lines: list[str]) -> None:
    """After a restart every peer comes at once."""
    for number in range(300):
        teller._tell(_comes(f"client{number}"), 1.0)
    assert len(lines) == 300
    assert _hidden(lines) == 0


def test_the_end_is_told_whatever_came_before(teller: Teller, lines: list[str]) -> None:
    for number in range(100):
        teller._tell(Change("waiting", f"server closed: {number}", failed=True), 1.0)
    assert len(lines) == BURST
    teller._tell(Change("stopped", "told to stop"), 1.0)
    assert lines[-1] == 'stopped reason="told to stop"'


def test_strangers_do_not_fill_the_journal(teller: Teller, lines: list[str]) -> None:
    for number in range(100):
        teller._tell(Change("refused", f"{number}", failed=True, detail=f"remote=198.51.100.1:{number}"), 1.0)
    assert len(lines) == BURST
    # Nor do they hide what a peer does.
    teller._tell(_comes("client1"), 1.0)
    assert len(lines) == BURST + 1
    teller._tell(Change("refused", "one more", failed=True), 2.0 + 1 / RATE)
    assert lines[-1] == f'refused reason="one more" suppressed={100 - BURST}'


def test_a_rate_filter_counts_what_it_hides() -> None:
    lines = RateFilter()
    told = [line for number in range(1000) if (line := lines.line(f"{number}", 1.0 + number / 100)) is not None]
    assert told[:BURST] == [f"{number}" for number in range(BURST)]
    # Ten seconds, and what may be said at once.
    assert BURST + 8 * RATE <= len(told) <= BURST + 10 * RATE
    last = lines.line("last", 100.0)
    assert last is not None
    assert len(told) + 1 + _hidden([*told, last]) == 1001


def _path(state: str, name: str = "wan1", reason: str = "because", peer: str = "client1") -> Change:
    return Change(f"path {state}", reason, failed=state == "down", detail=f"peer={peer} name={name}")


def test_a_path_that_is_back_has_recovered(teller: Teller, lines: list[str]) -> None:
    for state in ("up", "suspect", "probation", "up", "probation", "up", "lossy", "down", "probation", "up"):
        teller._tell(_path(state), 1.0)
    assert [line.split(" peer=")[0] for line in lines] == [
        "path up",
        "path suspect",
        "path probation",
        "path recovered",
        "path probation",
        "path up",
        "path lossy",
        "path down",
        "path probation",
        "path recovered",
    ]
    assert lines[1] == 'path suspect peer=client1 name=wan1 reason="because"'
    teller._tell(_path("up", "wan2"), 1.0)
    assert lines[-1].startswith("path up peer=client1 name=wan2")


def test_a_path_in_doubt_does_not_fill_the_journal_nor_hide_events(teller: Teller, lines: list[str]) -> None:
    for number in range(1000):
        teller._tell(_path(("suspect", "probation")[number % 2]), 1.0 + number / 10)
    assert DOUBT_BURST <= len(lines) <= DOUBT_BURST + 100 * DOUBT_RATE
    teller._tell(_path("down", reason=FORGED), 101.0)
    assert lines[-1] == "path down peer=client1 name=wan1 reason=\"x' peer=root reason='y/\""
    teller._tell(_path("suspect", peer="client2"), 101.0)
    assert lines[-1].startswith("path suspect peer=client2")


def test_many_names_of_paths_cost_no_memory(teller: Teller) -> None:
    for number in range(5000):
        teller._tell(_path("down", f"w{number}"), 1.0)
    assert len(teller._telling._paths._failed) <= 1024
