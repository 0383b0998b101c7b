# SPDX-License-Identifier: GPL-3.0-or-later
"""An address that has proved nothing is never sent more than three times what came from it (RFC 9000 section 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mpquic.core import wire
from parties import CLIENT, Party, certified, ends
from simulation import SERVER, arrivals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.quic.link import Link

SIZES = [1200, 1252, 1331, 1452]


@pytest.fixture(scope="module")
def large() -> Party:
    """Return a server with so much to show that it does not fit three datagrams."""
    ca = certified(*[f"{number}.filler.example" for number in range(150)], ca=True, kind="rsa")
    return certified(*[f"{number}.example" for number in range(150)], by=ca, kind="rsa", chain=(ca.certificate,))


@pytest.fixture(scope="module")
def small() -> Party:
    return certified("mpquic-server")


class Account:
    """What a server received from an address and sent to it, over a long time in which nothing comes any more."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.now = 100.0
        self.received = self.sent = 0

    def take(self, *datagrams: bytes) -> None:
        self.received += sum(map(len, datagrams))
        self.link.open(arrivals(CLIENT, *datagrams), self.now)
        self.send()

    def send(self) -> None:
        for _ in range(3):
            self.sent += sum(len(data) for data, _to in self.link.seal([], self.now)[0])
            assert self.sent <= 3 * self.received

    def wait(self, seconds: float) -> None:
        """Fire every timer, and look as often as a server does."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.25, max(self.now, self.link.deadline()), end)
            self.link.fire(self.now)
            self.send()


def _start(tmp_path: Path, party: Party, size: int, mtu: int = 1421) -> tuple[Account, list[bytes]]:
    """Return a server's books with an Initial of ``size`` on the way to it."""
    client_end, server_end = ends(tmp_path, party, certified("client1"), mtu=mtu)
    client = client_end.connect(SERVER, 100.0)
    client.set_datagram_size(size)
    flight = [data for data, _to in client.seal([], 100.0)[0]]
    assert [len(data) for data in flight] == [size] * len(flight)
    header = wire.long_header(flight[0])
    assert header is not None
    return Account(server_end.accept(header.destination, 100.0)), flight


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("who", ["small", "large"])
def test_a_client_that_goes_silent(tmp_path: Path, request: pytest.FixtureRequest, who: str, size: int) -> None:
    account, flight = _start(tmp_path, request.getfixturevalue(who), size)
    account.take(*flight)
    account.wait(60.0)
    assert account.sent > account.received


@pytest.mark.parametrize("size", SIZES)
def test_a_client_that_repeats_itself(tmp_path: Path, large: Party, size: int) -> None:
    account, flight = _start(tmp_path, large, size)
    for _ in range(10):
        account.take(*flight)
        account.wait(0.7)
    account.wait(60.0)


def _close(link: Link) -> None:
    link.close("server stops")


def _break_handshake(link: Link) -> None:
    """As if what came were no TLS."""
    link._connection.close(error_code=0x10A, frame_type=6, reason_phrase="x" * 100)


@pytest.mark.parametrize("end", [_close, _break_handshake])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("who", ["small", "large"])
@pytest.mark.parametrize("waited", [0.0, 3.0])
def test_a_goodbye_counts_as_well(
    tmp_path: Path, request: pytest.FixtureRequest, who: str, size: int, end: Callable[[Link], None], waited: float
) -> None:
    account, flight = _start(tmp_path, request.getfixturevalue(who), size)
    account.take(*flight)
    account.wait(waited)
    end(account.link)
    account.send()
    account.wait(60.0)


def test_a_goodbye_before_anything_was_sent(tmp_path: Path, small: Party) -> None:
    account, flight = _start(tmp_path, small, 1200)
    account.link.open(arrivals(CLIENT, *flight), account.now)
    account.received = sum(map(len, flight))
    account.link.close("server stops")
    account.send()
    assert account.sent > 0


@pytest.mark.parametrize("what", ["nothing", "noise", "half", "short"])
def test_what_is_no_initial_gets_no_answer(tmp_path: Path, small: Party, what: str) -> None:
    account, (first, *_more) = _start(tmp_path, small, 1200)
    broken = {
        "nothing": first[:30] + bytes(1170),
        "noise": first[:100] + bytes([first[100] ^ 1]) + first[101:],
        "half": first[:700],
        "short": first[:1199],
    }[what]
    account.take(broken)
    account.wait(60.0)
    assert account.sent == 0
