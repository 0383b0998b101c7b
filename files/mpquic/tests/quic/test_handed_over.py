# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that hands over to another process, in virtual time: what is on its way belongs to either."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from mpquic.core.multipath.policy import TrafficClass
from mpquic.core.strays import Strays
from several import Several, Stream, paths

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.core.server import ServerTunnel

SPRAYED = (TrafficClass("default", "balanced", spray=True),)


class Handed(Several):
    """A server that may have a predecessor, which gets what is not the server's."""

    giver: ServerTunnel | None = None
    #: Processes that are gone: what they still have to say is not sent.
    strays: Strays | None = None

    def hand_over(self) -> None:
        """Put a new process in the place of the server, and let the other ask the client for connections."""
        self.giver = self.server
        self.start_server()
        assert self.server is not None
        assert self.giver is not None
        self.strays = Strays()
        self.server.follow_on(self.strays)
        assert not self.giver.ask_to_renew(16)

    def _settle(self) -> None:
        giver, strays = self.giver, self.strays
        if giver is not None and strays is not None:
            frames = giver.receive(strays.arrivals, self.now)
            giver.send(strays.reads, self.now)
            strays.arrivals.clear()
            strays.reads.clear()
            self.at_server += [(self.now, b"".join(frame)) for frame in (*frames, *giver.answers())]
            for data, to in giver.flush(self.now):
                line = self.lines[int(to[0].rpartition(".")[2])]
                self._carry(line.down, data, functools.partial(self._to_client, line, data, to))
            self._note("giver", giver.changes())
        super()._settle()

    def _deadline(self) -> float:
        return min(super()._deadline(), self.giver.deadline() if self.giver is not None else 1e18)

    def _fire(self) -> None:
        if self.giver is not None:
            self.giver.fire(self.now)
        super()._fire()


@pytest.mark.parametrize("classes", [SPRAYED, (TrafficClass("default", "priority"),)])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_on_its_way_is_taken_once(tmp_path: Path, classes: tuple[TrafficClass, ...], seed: int) -> None:
    world = Handed(tmp_path, paths(0, 0, 0), classes=classes, seed=seed)
    for number, delay in ((1, 0.02), (2, 0.03), (3, 0.05)):
        world.lines[number].up.delay = world.lines[number].down.delay = delay
    world.run_until(world.all_up, 2)
    streams = [Stream(world, interval=0.002), Stream(world, down=True, interval=0.002)]
    world.run(1)
    for _time in range(2):
        world.hand_over()
        world.run_until(world.all_up, 5)
        # The connections to the giver are given up after a while, and nothing ends by that.
        giver = world.giver
        assert giver is not None
        world.run_until(lambda giver=giver: giver.deserted, 5)
    for stream in streams:
        stream.stop()
    world.run(1)
    assert [(stream.lost(), stream.twice()) for stream in streams] == [([], 0)] * 2
    assert max(stream.outage() for stream in streams) < 0.1
    assert world.client.state == "up"


def test_a_lost_request_is_repeated(tmp_path: Path) -> None:
    world = Handed(tmp_path, paths(0, 10))
    world.run_until(world.all_up, 2)
    world.hand_over()
    for line in world.lines.values():
        line.cut()
    world.run(0.3)
    for line in world.lines.values():
        line.mend()
    world.run_until(world.all_up, 10)
    assert world.client.state == "up"
