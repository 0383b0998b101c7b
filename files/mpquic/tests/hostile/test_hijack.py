# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody takes over a victim's address, whatever they show, say or repeat."""

from __future__ import annotations

import os
import re
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import forged
import places
import pytest
from caller import Caller, drive
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pinger import Pinger
from replayer import Replayer
from wan import ADDRESS, OTHER, PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from hosts import Hosts
    from mpquic.quic import ClientEndpoint

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

VICTIM = ip_network(ADDRESS["client"])
MALLORY = ip_network("10.200.9.9")
#: Seconds between two attempts of one kind.
PACE = 1.0
#: Attempts of each kind of which the server's log tells every single one.
FEW = 3
#: Spoofed packets per second of a peer that is connected.
SPOOFED = 50


def without_the_key(endpoint: ClientEndpoint) -> None:
    """Keep the certificate, which is public, and sign with another key."""
    endpoint._configuration.private_key = Ed25519PrivateKey.generate()


class Attacks:
    """One attempt of each kind after the other."""

    def __init__(self, hosts: Hosts, said: bytes, most: int) -> None:
        """Make up to ``most`` attempts of each kind."""
        self._most = most
        pushes = [forged.packet(ADDRESS["client"], ADDRESS["server"]) for _number in range(5)]

        def attempt(name: str | None, **options: object) -> Callable[[], Caller]:
            return lambda: hosts.caller(name, VICTIM, pushes=pushes, **options)  # type: ignore[arg-type]

        pin = hosts.pins
        #: How to make an attempt, and what the server's log says of it.
        self.kinds: dict[str, tuple[Callable[[], Caller], str]] = {
            "no key": (attempt(None), 'reason="no client certificate"'),
            "unknown key": (attempt("stranger"), 'key={stranger} reason="key {stranger} is no peer here"'),
            "another peer's key": (
                attempt("mallory"),
                f'key={{mallory}} peer=mallory reason="{ADDRESS["client"]} is not an address of this key\'s peer here"',
            ),
            "the victim's certificate": (
                attempt("client", endpoint=without_the_key),
                'key={client} reason="the peer did not prove that it has the key of its certificate"',
            ),
            "the victim's words, unknown key": (
                attempt("stranger", says=said),
                'key={stranger} reason="key {stranger} is no peer here"',
            ),
            "the victim's words, another peer's key": (
                attempt("mallory", says=said),
                f'key={{mallory}} peer=mallory reason="{ADDRESS["client"]} is not an address of this key\'s peer here"',
            ),
        }
        hosts.identity("stranger")
        self.kinds = {kind: (make, text.format(**pin)) for kind, (make, text) in self.kinds.items()}
        self.made: dict[str, list[Caller]] = {kind: [] for kind in self.kinds}
        self._next = dict.fromkeys(self.kinds, 0.0)

    def all(self) -> list[Caller]:
        return [caller for made in self.made.values() for caller in made]

    def step(self) -> None:
        """Begin what is due, drive what goes on."""
        now = time.monotonic()
        for kind, (make, _text) in self.kinds.items():
            if now >= self._next[kind] and len(self.made[kind]) < self._most:
                self._next[kind] = now + PACE
                self.made[kind].append(make())
        for caller in self.all():
            if not caller.over:
                caller.step()


def test_hijack(hosts: Hosts, figure: Callable[[str, object], None], *, full: bool) -> None:
    seconds = 30 if full else 3
    hosts.know("mallory", f"{MALLORY}")
    said = hosts.folder / "client" / "said"
    hosts.program["client"] = f"{Path(__file__).with_name('tapped.py')} {said}"
    strangers = [hosts.stranger() for _number in range(20)]
    replayer = Replayer(hosts.tap("client", hosts.veth["client"]), PORT, strangers)
    tun = hosts.tap("server")
    hosts.bring_up()
    replayer.listen()
    before, victim = hosts.status("client"), hosts.peer()
    attacks = Attacks(hosts, said.read_bytes(), seconds if full else FEW)
    mallory = hosts.caller("mallory", MALLORY)
    drive(mallory, until=lambda: mallory.registered is not None, seconds=5)
    spoofed = 0
    started = time.monotonic()
    with Pinger(hosts, seconds) as up, Pinger(hosts, seconds, "server") as down:
        while not (up.done() and down.done()):
            attacks.step()
            replayer.step()
            if spoofed < (time.monotonic() - started) * SPOOFED:
                mallory.send([forged.packet(ADDRESS["client"], ADDRESS["server"])])
                spoofed += 1
            mallory.step()
            time.sleep(0.001)
        echoes = {"client": up.echoes(), "server": down.echoes()}
    drive(mallory, *attacks.all(), until=lambda: all(caller.over for caller in attacks.all()), seconds=10)
    if full:
        # A line about one more tells how many were left out before it.
        time.sleep(2)
        attacks.made["no key"].append(attacks.kinds["no key"][0]())
        drive(*attacks.all(), until=lambda: all(caller.over for caller in attacks.all()), seconds=10)
    # The victim noticed nothing.
    for role, found in echoes.items():
        figure(f"echoes from {role} to {OTHER[role]}: sent, lost, doubled", (found.sent, found.lost, found.doubled))
        assert (found.sent, found.lost, found.doubled) == (100 * seconds, 0, 0)
    after, victim_after = hosts.status("client"), hosts.peer()
    for key in ("session", "connects", "state", "remote"):
        assert before[key] == after[key], key
    for key in ("session", "connects", "state", "remote", "key"):
        assert victim[key] == victim_after[key], key
    assert victim_after["drops"] == {}
    # Nobody got anything in, or anything out.
    assert not forged.only(places.tapped(tun, outgoing=False))
    assert [caller.inner for caller in (mallory, *attacks.all()) if caller.inner] == []
    assert hosts.peer("mallory")["drops"] == {"source": spoofed}
    assert hosts.peer("mallory")["rx_packets"] == 0
    assert len(replayer.first) >= 4
    # Every refusal is told, if not line by line: a stranger must not fill the journal.
    attempts = len(attacks.all())
    assert hosts.status("server")["drops"]["refused"] == attempts
    time.sleep(0.2)
    log = hosts.log("server")
    told = re.findall(r"^.* refused remote=10\.64\.\d+\.\d+:\d+ .*$", log, re.MULTILINE)
    hidden = sum(map(int, re.findall(r"^.* refused .* suppressed=(\d+)$", log, re.MULTILINE)))
    assert len(told) + hidden == attempts
    # A quick run makes fewer attempts than may be told at once.
    assert (hidden > 0) is full
    for kind, (_make, text) in attacks.kinds.items():
        figure(f"attempts, {kind}", len(attacks.made[kind]))
        assert any(line.rpartition(" suppressed=")[0].endswith(text) or line.endswith(text) for line in told), text
        assert len(attacks.made[kind]) >= FEW
    figure("refusals counted, told, summed up in lines", (attempts, len(told), hidden))
    figure("datagrams replayed, answers to them", (replayer.sent, replayer.answers))
    figure("spoofed packets of a connected peer dropped", spoofed)
    assert "Traceback" not in log
