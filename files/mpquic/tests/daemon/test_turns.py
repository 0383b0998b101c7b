# SPDX-License-Identifier: GPL-3.0-or-later
"""How many batches each socket gets before the event loop has its turn."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from mpquic.daemon.shell import _TURNS, Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.core.port import Port
    from mpquic.daemon.meter import Key, Reading
    from mpquic.io.udp import UdpSocket


class Busy(Shell):
    """A client whose sockets always have something for it, and whose TUN never has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        config: Any = SimpleNamespace(tun_name="none", telemetry_interval=0, native="off")
        super().__init__(config, cast("Any", SimpleNamespace()), loop, lambda _state: None)
        self.read: list[int] = []
        self.ports = [(cast("Port", number), cast("UdpSocket", SimpleNamespace())) for number in range(count)]
        self.sockets = dict(self.ports)

    def turns(self, number: int | None) -> list[int]:
        """Return which sockets were read when one was readable, or the TUN."""
        self.read.clear()
        self._pump(None if number is None else self.ports[number])
        return self.read.copy()

    def _from_udp(self, port: Port, udp: UdpSocket, now: float) -> bool:
        del udp, now
        self.read.append(cast("int", port))
        return True

    def _send(self, now: float) -> None: ...

    def _after(self, now: float) -> None: ...

    def reload(self, config: object) -> None: ...

    def prepare(self, now: float) -> None: ...

    def readings(self) -> dict[Key, Reading]:
        return {}

    def blocked(self) -> None: ...

    def lend(self) -> tuple[int, ...]:
        return ()

    def retire(self) -> None: ...

    def idle(self) -> bool:
        return True

    def inherit(self, *_lent: object) -> None: ...


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    found = asyncio.new_event_loop()
    yield found
    found.close()


def test_sockets_that_are_busy_share_the_turns(loop: asyncio.AbstractEventLoop) -> None:
    busy = Busy(loop, 2)
    for number in (0, 1, 0, 1):
        assert busy.turns(number) == [number] * (_TURNS // 2)
    many = Busy(loop, 9)
    assert [many.turns(number) for number in range(9)] == [[number] for number in range(9)]


def test_the_tun_gives_none_of_them_more(loop: asyncio.AbstractEventLoop) -> None:
    busy = Busy(loop, 2)
    read = [one for _round in range(3) for number in (0, 1, None) for one in busy.turns(number)]
    assert read.count(0) == read.count(1) == 3 * _TURNS // 2


def test_one_that_is_busy_alone_is_served_as_an_only_one(loop: asyncio.AbstractEventLoop) -> None:
    busy = Busy(loop, 3)
    busy.turns(1)
    assert busy.turns(1) == [1] * _TURNS
    # The answers to what came by it are read together with what comes next.
    assert busy.turns(None) == [1] * _TURNS
    assert busy.turns(1) == [1] * _TURNS
    assert busy.turns(2) == [2]


def test_a_socket_that_is_gone_is_not_read(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(loop, 2)
    busy.turns(1)
    assert busy.turns(1) == [1] * _TURNS
    monkeypatch.setattr(loop, "remove_reader", lambda _fd: None)
    gone = busy.ports[1][1]
    vars(gone).update(fileno=lambda: 0, close=lambda: None)
    busy.detach_udp(busy.ports[1][0])
    assert busy.turns(None) == []
