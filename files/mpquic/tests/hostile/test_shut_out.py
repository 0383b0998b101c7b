# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the server's door shut, and for whom."""

from __future__ import annotations

import os
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from caller import drive
from flood import Flood, initials

if TYPE_CHECKING:
    from collections.abc import Callable

    from caller import Caller
    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NEWCOMER = ip_network("10.200.9.77")
#: Seconds until a newcomer is in.
MAX_WAIT = 2.0


@pytest.fixture(scope="module")
def server(hosts: Hosts) -> Hosts:
    hosts.know("newcomer", f"{NEWCOMER}")
    hosts.start("server")
    hosts.wait_state("server", "listening")
    return hosts


def test_forged_initials_do_not_keep_out_whom_they_claim_to_be(server: Hosts) -> None:
    where = "10.64.0.77"
    forger = Flood(server, initials(200, server.server_pin), 20, where)
    started = time.monotonic()
    # Not even enough for the server to ask anybody for a proof.
    while time.monotonic() < started + 1:
        forger.step()
        time.sleep(0.01)
    newcomer = server.caller("newcomer", NEWCOMER, source=where)
    try:
        drive(newcomer, until=lambda: newcomer.registered is not None, seconds=MAX_WAIT, also=forger.step)
    finally:
        forger.close()
        newcomer.close()


class Hoard:
    """Strangers at proved addresses who complete the handshake and say nothing, again and again."""

    def __init__(self, hosts: Hosts, addresses: int, each: int) -> None:
        self._hosts = hosts
        self._places = [f"10.64.3.{1 + number}" for number in range(addresses) for _each in range(each)]
        self.callers = [self._call(place) for place in self._places]

    def _call(self, place: str) -> tuple[float, Caller]:
        return time.monotonic(), self._hosts.caller("stranger", NEWCOMER, source=place, says=b"")

    def step(self) -> None:
        for number, (since, caller) in enumerate(self.callers):
            if caller.over or time.monotonic() > since + 6:
                caller.sock.close()
                self.callers[number] = self._call(self._places[number])
            else:
                caller.step()

    def inside(self) -> int:
        return sum(caller.established for _since, caller in self.callers)


def test_a_hoard_at_proved_addresses_does_not_shut_the_door(
    server: Hosts, figure: Callable[[str, object], None], *, full: bool
) -> None:
    if not full:
        pytest.skip("takes 10 s")
    hoard = Hoard(server, 33, 8)
    started = time.monotonic()
    while hoard.inside() < 256 and time.monotonic() < started + 10:
        hoard.step()
        time.sleep(0.001)
    figure("half-open connections of 33 addresses", hoard.inside())
    newcomer = server.caller("newcomer", NEWCOMER)
    took = drive(newcomer, until=lambda: newcomer.registered is not None, seconds=MAX_WAIT, also=hoard.step)
    figure("newcomer in after (s)", round(took, 3))
