# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of one WAN whose link or address goes: it says so at once, and is back as soon as they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from wan import OUTER, until

if TYPE_CHECKING:
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def _told(wan: Wan, reason: str) -> None:
    """Wait until the client says why it waits, which is not that nobody answered."""
    wan.wait_started("client")
    until(lambda: wan.status("client")["reason"] == reason, 5, lambda: str(wan.status("client")))
    assert "no acknowledgement" not in wan.log("client")
    assert "no answer" not in wan.log("client")


def test_a_carrier_comes_and_goes(wan: Wan) -> None:
    wan.bring_up()
    wan.ip("server", f"link set {wan.veth['server']} down")
    _told(wan, f"interface {wan.veth['client']} has no carrier")
    assert wan.status("client")["local"] is None
    wan.ip("server", f"link set {wan.veth['server']} up")
    assert until(lambda: wan.ping("client", "-c 1 -W 0.2"), 5) < 3


def test_an_address_that_is_named_comes_and_goes(wan: Wan) -> None:
    veth, address = wan.veth["client"], OUTER["client"]
    wan.configure("client", bind_ip=address)
    wan.bring_up()
    session = wan.status("client")["session"]
    # Another address changes nothing.
    wan.ip("client", f"addr add 10.98.9.77/24 dev {veth}")
    wan.ip("client", f"addr del 10.98.9.77/24 dev {veth}")
    wan.ip("client", f"addr del {address}/24 dev {veth}")
    where = f"{address} to {OUTER['server']} port 45009"
    _told(wan, f"{where}: Cannot assign requested address")
    assert 'waiting reason="10.98.9.1: the address is gone"' in wan.log("client")
    assert wan.log("client").count("waiting reason=") == 2
    wan.ip("client", f"addr add {address}/24 dev {veth}")
    assert until(lambda: wan.ping("client", "-c 1 -W 0.2"), 5) < 3
    assert wan.status("client")["session"] == session


def test_an_unplugged_client_waits_no_longer_than_it_must(wan: Wan) -> None:
    """Without a carrier nothing is tried, so that nothing that failed makes the first good attempt late."""
    wan.ip("server", f"link set {wan.veth['server']} down")
    wan.start("server")
    wan.start("client")
    _told(wan, f"interface {wan.veth['client']} has no carrier")
    wan.ip("server", f"link set {wan.veth['server']} up")
    assert until(lambda: wan.status("client")["state"] == "up", 8) < 3
