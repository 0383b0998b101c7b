# SPDX-License-Identifier: GPL-3.0-or-later
"""A client with several WANs, an ISP's router in each of them, and a server, in network namespaces."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.shell import Process, inside, run, succeeds, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The lab's wire: a rate with a queue, a delay, losses, between two TAP devices. There is no netem everywhere.
_SOURCE = Path(__file__).resolve().parents[2] / "lab" / "wire.c"
SERVER = "10.99.0.1"
_NAMESPACE = re.compile(r"mpt([0-9]+)n[0-9]+[csr][0-9]*")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Quality:
    """What a WAN does: Mbit/s each way (0: no limit), ms one way, percent lost each way, bytes that may wait."""

    rate_up: float = 0
    rate_down: float = 0
    delay: float = 0.5
    jitter: float = 0
    loss: float = 0
    limit: float = 250_000


class Isp:
    """One WAN: the client's interface, the wire, and the ISP's router, which leads to the server."""

    def __init__(self, net: Net, index: int, quality: Quality) -> None:
        """Make it, with the client's address on the interface."""
        self.net = net
        self.number = index + 1
        self.device = f"w{self.number}"
        self.namespace = f"{net.prefix}r{self.number}"
        self.quality = quality
        self.address = f"10.80.{self.number}.2"
        self._settings = net.folder / f"wire{self.number}.settings"
        self._wire: Process | None = None
        run("ip", "netns", "add", self.namespace)
        core = f"x{self.number}"
        run(
            "ip",
            "link",
            "add",
            core,
            "netns",
            net.server,
            "type",
            "veth",
            "peer",
            "name",
            "core",
            "netns",
            self.namespace,
        )
        for place, device, address in ((net.server, core, 1), (self.namespace, "core", 2)):
            run("ip", "-n", place, "address", "add", f"10.90.{self.number}.{address}/24", "dev", device)
            run("ip", "-n", place, "link", "set", device, "up")
        run(*inside(self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"))
        run("ip", "-n", self.namespace, "route", "add", f"{SERVER}/32", "via", f"10.90.{self.number}.1")
        run("ip", "-n", net.server, "route", "add", f"10.80.{self.number}.0/24", "via", f"10.90.{self.number}.2")
        self.plug()

    # --- the interface ----------------------------------------------------------------------------------------------

    def plug(self) -> None:
        """Plug the interface in, with its address."""
        self._write()
        words = (self.net.wire, self._settings, self._settings.with_suffix(".counters"))
        places = (f"/run/netns/{self.net.client}", self.device, f"/run/netns/{self.namespace}", "access")
        wire = self._wire = Process("wire", [*map(str, words), *places], self._settings.with_suffix(".log"))
        wait_until(lambda: self._has_devices() or not wire.alive(), 5, "wire: no devices")
        wire.expect_alive()
        run("ip", "-n", self.namespace, "address", "add", f"10.80.{self.number}.1/24", "dev", "access")
        run("ip", "-n", self.namespace, "link", "set", "access", "up")
        run(*inside(self.net.client, "sysctl", "-qw", f"net.ipv6.conf.{self.device}.disable_ipv6=1"))
        self.up()

    def unplug(self) -> None:
        """Take the interface away."""
        if self._wire is not None:
            self._wire.stop()
        self._wire = None
        wait_until(lambda: not self._has_devices(), 5, f"{self.device}: still there")

    def up(self) -> None:
        """Set the interface up, give it its address and the way out."""
        run("ip", "-n", self.net.client, "link", "set", self.device, "up")
        self.add_address()

    def down(self) -> None:
        """Set the interface down."""
        run("ip", "-n", self.net.client, "link", "set", self.device, "down")

    def carrier(self, state: str) -> None:
        """Turn the carrier ``on`` or ``off``."""
        run("ip", "-n", self.net.client, "link", "set", self.device, "carrier", state)

    def add_address(self) -> None:
        """Give the interface its address and the way out."""
        where = ("dev", self.device)
        run("ip", "-n", self.net.client, "address", "replace", f"{self.address}/24", *where)
        way = ("default", "via", f"10.80.{self.number}.1", *where, "metric", str(100 + self.number))
        run("ip", "-n", self.net.client, "route", "replace", *way)

    def drop_address(self) -> None:
        """Take the address off the interface."""
        run("ip", "-n", self.net.client, "address", "delete", f"{self.address}/24", "dev", self.device)

    def renumber(self, last: int) -> None:
        """Give the interface another address, as a DHCP server may."""
        self.drop_address()
        self.address = f"10.80.{self.number}.{last}"
        self.add_address()

    def _has_devices(self) -> bool:
        return succeeds("ip", "-n", self.net.client, "link", "show", self.device) and succeeds(
            "ip", "-n", self.namespace, "link", "show", "access"
        )

    # --- the path ---------------------------------------------------------------------------------------------------

    def change(self, **changes: float) -> None:
        """Give the wire another quality."""
        self.quality = replace(self.quality, **changes)
        self._write()
        if self._wire is not None:
            os.kill(self._wire.pid, signal.SIGHUP)

    def _write(self) -> None:
        self._settings.write_text("".join(f"{key} {value}\n" for key, value in asdict(self.quality).items()))

    def cut(self, way: str) -> None:
        """Let the router lose what goes ``up`` (from the client), ``down`` or ``both`` ways, without a word."""
        inputs = {"up": '"access"', "down": '"core"', "both": '{ "access", "core" }'}[way]
        self._nft(
            f"table inet trial {{ chain lose {{ type filter hook forward priority 0; iifname {inputs} drop; }}; }}"
        )

    def mend(self) -> None:
        """Undo ``cut``."""
        self._nft("delete table inet trial")

    def _nft(self, rules: str) -> None:
        run(*inside(self.namespace, "nft", rules))

    def close(self) -> None:
        """Remove it."""
        if self._wire is not None:
            self._wire.stop()
        succeeds("ip", "netns", "delete", self.namespace)


class Net:
    """The whole of it. Names begin with ``prefix`` and hold the pid, so that runs do not meet."""

    def __init__(self, folder: Path) -> None:
        """Choose names; files are put into ``folder``."""
        self.folder = folder
        self.prefix = f"mpt{os.getpid()}n{next(_numbers)}"
        self.client, self.server = f"{self.prefix}c", f"{self.prefix}s"
        self.wire = folder / "wire"
        self.isps: list[Isp] = []

    def make(self, qualities: Sequence[Quality]) -> None:
        """Make the namespaces, and one WAN for each quality."""
        run("gcc", "-O2", "-o", self.wire, _SOURCE)
        for namespace in (self.client, self.server):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.server, "address", "add", f"{SERVER}/32", "dev", "lo")
        for index, quality in enumerate(qualities):
            self.isps.append(Isp(self, index, quality))

    def close(self) -> None:
        """Remove what was made."""
        for isp in self.isps:
            isp.close()
        for namespace in (self.client, self.server):
            succeeds("ip", "netns", "delete", namespace)


@contextlib.contextmanager
def network(folder: Path, qualities: Sequence[Quality]) -> Iterator[Net]:
    """Make a network, and remove it in the end."""
    with contextlib.closing(Net(folder)) as net:
        net.make(qualities)
        yield net


def remove_stale() -> None:
    """Remove the namespaces of runs that are no more."""
    for line in run("ip", "netns", "list").splitlines():
        found = _NAMESPACE.match(line)
        if found is not None and not Path("/proc", found[1]).exists():
            succeeds("ip", "netns", "delete", found[0])
