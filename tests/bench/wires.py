# SPDX-License-Identifier: GPL-3.0-or-later
"""Two network namespaces and a wire between them that behaves in one of three ways, or as a slow WAN."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import leftovers
from tests.bench.errors import BenchError
from tests.bench.shell import Process, inside, run, started, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_OFFLOADS = ("tx-udp-segmentation", "gro", "rx-udp-gro-forwarding")
#: What a wire does with the 64 kB packets of UDP segmentation offload, by the settings of ethtool.
WIRES = {
    "W1": ("on", "off", "off"),  # carries them whole, as only a veth does
    "W2": ("off", "on", "on"),  # cuts them at the sender and lets the receiver coalesce, as a network card does
    "W3": ("off", "off", "off"),  # cuts them and coalesces nothing
}
WIRE_TEXT = {
    "W1": "superpackets cross the veth whole",
    "W2": "cut at the sender, coalesced at the receiver: like a network card",
    "W3": "cut at the sender, nothing coalesced",
}
#: The WAN: bits per second of IP packets, one-way delay in seconds, bytes that wait before the slow link.
WAN_RATE = 20_000_000
WAN_DELAY = 0.025
WAN_BUFFER = 625_000  # 250 ms: deep, as those of access links are
_RELAY = Path(__file__).with_name("relay.py")


@dataclass(frozen=True)
class Ends:
    """Where the two ends of a tunnel run, and which addresses they use outside of it."""

    client: str
    server: str
    client_address: str
    server_address: str
    #: What the client sends to: the server itself, or the relay before it.
    remote: str
    #: The UDP port of the first tunnel; tunnel i uses port + i - 1.
    port: int = 45001


class Wire:
    """The namespaces and the veth between them."""

    device = "wire"

    def __init__(self) -> None:
        """Choose names; nothing is made yet."""
        self.client, self.server, self.middle = (leftovers.namespace(end) for end in ("a", "b", "r"))

    @property
    def ends(self) -> Ends:
        """Both ends on the plain wire."""
        return Ends(self.client, self.server, "10.99.0.1", "10.99.0.2", "10.99.0.2")

    def set_mode(self, name: str) -> None:
        """Make the wire W1, W2 or W3."""
        for namespace in (self.client, self.server):
            _offload(namespace, self.device, name)

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make both namespaces and the wire; remove them in the end."""
        leftovers.remove_stale()
        try:
            _add(self.client)
            _add(self.server)
            _veth(self.client, self.server, self.device)
            _up(self.client, self.device, "10.99.0.1/24")
            _up(self.server, self.device, "10.99.0.2/24")
            yield
        finally:
            for namespace in (self.client, self.server):
                _remove(namespace)

    @contextlib.contextmanager
    def wan(self, where: Path) -> Iterator[Ends]:
        """Put a slow link in the middle: rate by tbf in both directions, delay by a relay for one UDP port."""
        ends = Ends(self.client, self.server, "10.97.1.1", "10.97.2.2", "10.97.1.2")
        try:
            _add(self.middle)
            for namespace, device, near, far in (
                (self.client, "wan1", "10.97.1.1/24", "10.97.1.2/24"),
                (self.server, "wan2", "10.97.2.2/24", "10.97.2.1/24"),
            ):
                _veth(namespace, self.middle, device)
                for place, address in ((namespace, near), (self.middle, far)):
                    _up(place, device, address)
                    _offload(place, device, "W2")
                # The rate is one of IP packets, as access lines are sold: 14 bytes less than the veth's frames.
                shaper = ("stab", "overhead", "-14", "linklayer", "ethernet")
                limits = ("rate", str(WAN_RATE), "burst", "5000", "limit", str(WAN_BUFFER))
                run("tc", "-n", self.middle, "qdisc", "add", "dev", device, "root", *shaper, "tbf", *limits)
            words = (sys.executable, _RELAY, ends.remote, ends.server_address, str(ends.port), str(WAN_DELAY))
            with started(lambda: Process("relay", inside(self.middle, *words), where / "relay.log")) as (relay,):
                wait_until(lambda: "ready" in relay.output() or not relay.alive(), 10, "relay: not ready")
                relay.expect_alive()
                yield ends
        finally:
            _remove(self.middle)
            # A veth goes with its namespace, but not at once.
            wait_until(lambda: not _has(self.client, "wan1") and not _has(self.server, "wan2"), 5, "wan1: still there")


def _add(namespace: str) -> None:
    run("ip", "netns", "add", namespace)
    run("ip", "-n", namespace, "link", "set", "lo", "up")


def _remove(namespace: str) -> None:
    subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)


def _veth(one: str, other: str, device: str) -> None:
    run("ip", "link", "add", device, "netns", one, "type", "veth", "peer", "name", device, "netns", other)


def _up(namespace: str, device: str, address: str) -> None:
    run(*inside(namespace, "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1"))
    run("ip", "-n", namespace, "address", "add", address, "dev", device)
    run("ip", "-n", namespace, "link", "set", device, "up")


def _has(namespace: str, device: str) -> bool:
    try:
        run("ip", "-n", namespace, "link", "show", device)
    except BenchError:
        return False
    return True


def _offload(namespace: str, device: str, mode: str) -> None:
    settings = [word for pair in zip(_OFFLOADS, WIRES[mode], strict=True) for word in pair]
    run(*inside(namespace, "ethtool", "-K", device, *settings))
