# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitting the MTU of a device through a keeper that is slow, absent, or talks nonsense."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from typing import TYPE_CHECKING

import pytest
from mpquic.io import keeper, mtu
from mpquic.io.keeper import KeeperError, ask_mtu
from mpquic.io.mtu import MtuSetter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

REFUSAL = {"error": "bad-mtu", "where": "mtu", "found": "10", "expected": "576 to 9000"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keeper.sock"
    monkeypatch.setattr(keeper, "SOCKET", path)
    monkeypatch.setattr(keeper, "TIMEOUT", 1.0)
    return path


def with_keeper(place: Path, answers: list[bytes], work: Callable[[], Awaitable[None]]) -> list[bytes]:
    """Run ``work`` beside a keeper that gives these answers, one per connection; return what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(answers[min(len(asked), len(answers)) - 1])
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(serve, str(place)):
            await work()

    asyncio.run(run())
    return asked


def test_a_request_and_its_answer(place: Path) -> None:
    async def work() -> None:
        assert await ask_mtu("mpq1", 1361) == 1441

    asked = with_keeper(place, [b'{"before": 1441, "mtu": 1361}\n'], work)
    assert asked == [b'{"command": "set-mtu", "name": "mpq1", "mtu": 1361}\n']


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (json.dumps(REFUSAL).encode() + b"\n", "keeper: mtu: found 10, expected 576 to 9000"),
        (b"{}\n", "keeper: ?: found ?, expected ?"),
        (b"[]\n", "the answer is not a line of JSON"),
        (b"", "the answer is not a line of JSON"),
        (b"\xff\n", "the answer is not a line of JSON"),
        (b"x" * 10_000, "the answer is not a line of JSON"),
    ],
)
def test_refusals_and_nonsense(place: Path, said: bytes, reason: str) -> None:
    async def work() -> None:
        with pytest.raises(KeeperError) as caught:
            await ask_mtu("mpq1", 10)
        assert str(caught.value).endswith(reason)

    with_keeper(place, [said], work)


def test_nobody_listens(place: Path) -> None:
    with pytest.raises(KeeperError, match=rf"^keeper {place}: No such file or directory$"):
        asyncio.run(ask_mtu("mpq1", 1361))


def test_nobody_answers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TIMEOUT", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        with pytest.raises(KeeperError, match="no answer in 0 s"):
            asyncio.run(ask_mtu("mpq1", 1361))


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of a device is refused, as to a process without capabilities."""

    def refuse(_name: str, _mtu: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mtu, "set_mtu", refuse)
    monkeypatch.setattr(mtu, "RETRY", (0.02, 0.04))


async def settled(setter: MtuSetter) -> None:
    assert setter._task is not None
    await asyncio.wait_for(setter._task, 5)


@pytest.mark.usefixtures("unprivileged")
def test_it_asks_until_it_is_granted_and_says_each_fault_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def work() -> None:
        setter = MtuSetter("lo", asyncio.get_running_loop())
        setter.set(1361)
        await settled(setter)

    refusal = json.dumps(REFUSAL).encode() + b"\n"
    asked = with_keeper(place, [refusal, refusal, refusal, b'{"before": 1441, "mtu": 1361}\n'], work)
    assert len(asked) == 4
    assert caplog.messages == [
        'tun not fitted name=lo mtu=1361 reason="Operation not permitted, keeper: mtu: found 10, expected 576 to 9000"',
        "tun fitted name=lo mtu=1361 before=1441",
    ]


@pytest.mark.usefixtures("unprivileged")
def test_another_wish_is_told_at_once_and_the_same_one_waits_its_turn(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mtu, "RETRY", (60.0, 60.0))

    async def work() -> None:
        setter = MtuSetter("lo", asyncio.get_running_loop())
        setter.set(1361)
        async with asyncio.timeout(5):
            while "tun not fitted" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.005)
        for _time in range(5):
            setter.set(1361)
            await asyncio.sleep(0.005)
        setter.set(1300)
        await settled(setter)

    refusal = json.dumps(REFUSAL).encode() + b"\n"
    asked = with_keeper(place, [refusal, b'{"before": 1441, "mtu": 1300}\n'], work)
    assert [json.loads(line)["mtu"] for line in asked] == [1361, 1300]


@pytest.mark.usefixtures("unprivileged", "place")
def test_it_stops(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        setter = MtuSetter("lo", asyncio.get_running_loop())
        setter.set(1361)
        setter.stop()
        await asyncio.sleep(0.1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(work())
    assert not caplog.messages


@pytest.mark.usefixtures("place")
def test_a_device_that_is_gone_is_nothing_to_ask_for(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        setter = MtuSetter(f"no{os.getpid()}"[:15], asyncio.get_running_loop())
        setter.set(1361)
        assert setter._task is None

    asyncio.run(work())
    assert 'mtu=1361 reason="No such device"' in caplog.text
