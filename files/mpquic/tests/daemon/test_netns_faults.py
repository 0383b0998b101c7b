# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten faults between whole daemons: the status, the doctor and the event log each name the right thing in time.

Each test prints how long each of them took (``-s``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import yaml
from ailing import DOCTOR, SLACK, STATUS, Site
from multiwan import MultiWan
from wan import ADDRESS, OTHER, command, made, sh, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


class Watched(Site):
    """A site whose client has a recorder, and if a test wants it a watch."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._programs: list[subprocess.Popen[bytes]] = []
        self.history = self.folder / "history.db"

    def record(self) -> None:
        places = ["--run-dir", self.folder, "--instances", self.folder / "etc-client"]
        self._start("recorder", "--history", self.history, *places)
        until(lambda: self.history.exists() and any(kind == "record" for kind, _text in self.events()), 30)

    def watch(self) -> None:
        """Let a watch repair the client's host; it tells what it did in the folder of the daemons."""
        (self.folder / "run").mkdir()
        self._start("watch", "--instances", self.folder / "etc-client", mount=self.folder)
        until((self.folder / "watch.json").exists, 30)

    def _start(self, *arguments: object, mount: Path | None = None) -> None:
        line = [sys.executable, "-m", "mpquic", *map(str, arguments)]
        script = f"mount --bind {mount} /run/mpquic && exec {' '.join(line)}" if mount else f"exec {' '.join(line)}"
        with (self.folder / "programs.log").open("ab") as log:
            entered = ["ip", "netns", "exec", self.ns["client"], "sh", "-c", script]
            self._programs.append(subprocess.Popen(entered, stdout=log, stderr=log))

    def events(self) -> list[tuple[str, str]]:
        """Return kind and text of all events."""
        code, found = command("history", "--history", self.history, "--since", "1h", "--show", "events")
        assert code == 0
        return [(one["kind"], f"{one['path']} {one['what']} {one['reason']}") for one in found["events"]]

    def close(self) -> None:
        for program in self._programs:
            program.terminate()
            program.wait(20)
        super().close()


class Told:
    """Measures from when a fault is made until each has named it. All are asked at the same time, again and again."""

    def __init__(self, site: Watched, fault: str) -> None:
        self._site = site
        self._fault = fault
        self._before = len(site.events())
        self._since = time.monotonic()

    def made_now(self) -> None:
        self._since = time.monotonic()

    def until_named(self, status: str, code: str | None, kind: str, event: str) -> None:
        """Wait for a text in the status, a code of the doctor (None: not asked), and an event with a text.

        Texts are regular expressions.
        """
        looks: dict[str, tuple[float, Callable[[], bool]]] = {
            "status": (STATUS, lambda: re.search(status, self._site.status_text("client")) is not None),
            "events": (DOCTOR, lambda: self._event(kind, event)),
        }
        if code is not None:
            looks["doctor"] = (DOCTOR, lambda: any(found == code for _where, found in self._site.all_findings()))
        with ThreadPoolExecutor() as pool:
            asked = {place: pool.submit(self._named, look, limit) for place, (limit, look) in looks.items()}
        took = {place: found.result() for place, found in asked.items()}
        _tell(self._site, self._fault, took)
        wrong = f"{took}, {self._site.events()}, {self._site.all_findings()}, {self._site.status_text('client')}"
        assert None not in took.values(), wrong

    def _named(self, look: Callable[[], bool], limit: float) -> float | None:
        """Return the seconds until a look found it, None when none did in time."""
        while not look():
            if time.monotonic() - self._since > limit + SLACK:
                return None
        return time.monotonic() - self._since

    def _event(self, kind: str, event: str) -> bool:
        fresh = self._site.events()[self._before :]
        return any(found == kind and re.search(event, text) for found, text in fresh)


def _tell(site: Watched, fault: str, took: dict[str, float | None]) -> None:
    figures = " ".join(f"{place}={'-' if one is None else f'{one:.1f}s'}" for place, one in took.items())
    sys.stdout.write(f"\nfault={fault} level={site.level} {figures}\n")


@pytest.fixture(params=[1, 3], ids=["level1", "level3"])
def site(request: pytest.FixtureRequest) -> Iterator[Watched]:
    with made(Watched(request.param)) as world:
        world.bring_up() if world.level == 3 else super(MultiWan, world).bring_up()
        world.record()
        # Until the recorder has seen that all is well.
        until(lambda: any(kind.endswith("_up") for kind, _text in world.events()), 30)
        yield world


def down(site: Watched) -> str:
    return "tunnel_down" if site.level == 1 else "path_down"


@contextlib.contextmanager
def large(site: Watched) -> Iterator[None]:
    line = f"ip netns exec {site.ns['client']} ping -q -i 0.02 -s 1250 {ADDRESS[OTHER['client']]}"
    with subprocess.Popen(line.split(), stdout=subprocess.DEVNULL) as ping:
        try:
            yield
        finally:
            ping.terminate()


def test_wan_down(site: Watched) -> None:
    told = Told(site, "wan_down")
    site.plug(1, "down")
    told.until_named("has no carrier", "wan_no_carrier", down(site), "has no carrier")


def test_black_hole(site: Watched) -> None:
    with site.busy():
        told = Told(site, "black_hole")
        site.block(1)
        told.until_named("no answer|no acknowledgement", "no_answer", down(site), "no answer|no acknowledgement")


def test_loss(site: Watched) -> None:
    with site.busy():
        told = Told(site, "loss")
        rules = "add table ip drops; add chain ip drops f { type filter hook forward priority 0; }; "
        site.in_router(f"{rules}add rule ip drops f iifname {site.near[0]} numgen random mod 100 < 20 drop")
        told.until_named("of the packets (are )?lost", "loss", "fault", "of the packets (are )?lost")


def test_high_round_trip(site: Watched) -> None:
    """A queue that others fill: half a second of packets waits for a WAN of 100 kbit/s."""
    # Of several paths another one takes the traffic, so that the others alone have to fill it: with 101 kbit/s.
    rate = "-i 0.05 -s 250" if site.level == 1 else "-i 0.02 -s 210"
    others = f"ip netns exec {site.ns['server']} ping -q {rate} 10.98.1.1"
    with site.busy(), subprocess.Popen(others.split(), stdout=subprocess.DEVNULL) as ping:
        try:
            time.sleep(2)
            told = Told(site, "high_rtt")
            sh(f"tc -n {site.router} qdisc add dev {site.near[0]} root tbf rate 100kbit burst 1600 limit 6000")
            told.until_named("the round trip takes", "rtt_high", "fault", "the round trip takes")
        finally:
            ping.terminate()


def test_wrong_key(site: Watched) -> None:
    site.stop("client")
    site.identify("client")
    told = Told(site, "wrong_key")
    site.start("client")
    site.wait_started("client")
    told.made_now()
    told.until_named("is no peer here", "wrong_key", down(site), "is no peer here")


def test_mtu_shrinks(site: Watched) -> None:
    quiet = "add table ip quiet; add chain ip quiet o { type filter hook output priority 0; }; "
    site.in_router(f"{quiet}add rule ip quiet o icmp type 3 drop")
    with large(site):
        told = Told(site, "mtu_shrinks")
        sh(f"ip -n {site.router} link set {site.near[0]} mtu 1280")
        sh(f"ip -n {site.ns['client']} link set {site.wans[0]} mtu 1280")
        told.until_named("bytes, and carried", "mtu_fell", "fault", "bytes, and carried")


def test_stopped_daemon(site: Watched) -> None:
    told = Told(site, "stopped_daemon")
    site.stop("client")
    status = r"not running \(systemctl start mpquic@client\)"
    told.until_named(status, "no_reply", "tunnel_down", "gives no answer")


def test_lost_rule(site: Watched) -> None:
    """Without a watch the doctor names it; with one it is repaired, and the status and the events say so."""
    since = time.monotonic()
    site.ip("client", "rule del priority 509")
    site.named("tunnel client", "rule_missing")
    _tell(site, "lost_rule", {"doctor": time.monotonic() - since})
    site.mend()
    site.watch()
    told = Told(site, "repaired_rule")
    site.ip("client", "rule del priority 509")
    told.until_named("repaired .* rule_missing", None, "drift", "rule_missing")


def test_full_quota(site: Watched) -> None:
    wan = site.wans[0]
    (site.folder / "wans.yaml").write_text(yaml.safe_dump({"wans": {wan: {"quota": 200_000, "warn": [80]}}}))
    until(lambda: f"wan {wan}" in site.status_text("client"), 30)
    assert not {code for _where, code in site.findings()} & {"quota_low", "quota_full"}
    before = _carried(site)
    with large(site):
        until(lambda: _carried(site) > before + 200_000, 30)
        told = Told(site, "full_quota")
        told.until_named("QUOTA USED UP", "quota_full", "quota", "quota used up")
    assert f"[FAIL] WAN {wan}: quota_full" in site.doctor()[1]


def _carried(site: Watched) -> int:
    text = sh(f"ip -n {site.ns['client']} -s -j link show {site.wans[0]}").stdout
    stats = json.loads(text)[0]["stats64"]
    return int(stats["rx"]["bytes"]) + int(stats["tx"]["bytes"])


def test_no_names(site: Watched) -> None:
    until((site.folder / "names.json").exists, 20)
    told = Told(site, "no_names")
    site.stop_resolver()
    told.until_named("dns_silent", "dns_silent", "fault", "dns_silent")
