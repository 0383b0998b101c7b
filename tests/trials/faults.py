# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to WANs: they go down, lose their address, get another one, are unplugged, flap, lose packets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.shell import wait_until
from tests.trials import load
from tests.trials.ends import tunnel
from tests.trials.net import Quality, network
from tests.trials.outcome import Outcome
from tests.trials.streams import PLAIN, probes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.trials.ends import Ends
    from tests.trials.net import Isp

#: Seconds after the last event within which every path must be back.
BACK = 10.0
_TALKS = 8
_SENDERS = ("client", "server")


def _carrier(isp: Isp) -> None:
    isp.carrier("off")
    time.sleep(3)
    isp.carrier("on")


def _link(isp: Isp) -> None:
    isp.down()
    time.sleep(3)
    isp.up()


def _address(isp: Isp) -> None:
    isp.drop_address()
    time.sleep(3)
    isp.add_address()


def _dhcp(isp: Isp) -> None:
    isp.renumber(77)


def _replug(isp: Isp) -> None:
    isp.unplug()
    time.sleep(3)
    isp.plug()


def _flap(isp: Isp) -> None:
    for _round in range(15):
        isp.cut("both")
        time.sleep(2)
        isp.mend()
        time.sleep(2)


def _burst(isp: Isp) -> None:
    isp.change(loss=30)
    time.sleep(10)
    isp.change(loss=0)


#: What happens to the first WAN, by name.
FAULTS: dict[str, Callable[[Isp], None]] = {
    "carrier off and on": _carrier,
    "link down and up": _link,
    "address gone and back": _address,
    "another address": _dhcp,
    "unplugged and back": _replug,
    "flaps for a minute": _flap,
    "30 % loss for 10 s": _burst,
}


def trial(folder: Path, name: str) -> Outcome:
    """Let something happen to the first of two WANs while TCP connections talk."""
    found = Outcome(name)
    with network(folder, [Quality(delay=5)] * 2) as net, tunnel(net, folder) as ends:
        ends.set_paths(priority=[1, 2])
        ends.start()
        ends.wait_up()
        with probes(ends, PLAIN) as running, load.talking(ends, _TALKS) as talk:
            time.sleep(1)
            switches = _switches(ends)
            begin = time.monotonic()
            FAULTS[name](net.isps[0])
            back = ends.wait_up(seconds=BACK + 5)
            switched = _switches(ends) - switches
            time.sleep(1.0)
            end = time.monotonic() - 0.5
            streams = running.streams()
            told = talk.end()
        plain = [streams[sender, PLAIN] for sender in _SENDERS]
        sent = sum(stream.count(begin, end) for stream in plain)
        found.values = {
            "alive": told["alive"],
            "longest_gap_ms": 1000 * max(stream.gap(begin, end) for stream in plain),
            "stall_ms": 1000 * told["stall"],
            "lost_percent": 100 * sum(stream.lost(begin, end) for stream in plain) / sent,
            "switches": switched,
            "back_s": back,
        }
    found.expect(told["alive"] == _TALKS, f"all {_TALKS} TCP connections live: {told['faults']}")
    found.expect(back <= BACK, f"every path is back within {BACK:g} s")
    if name == "30 % loss for 10 s":
        found.expect(switched <= 1, "at most one switch away from the lossy path")
    return found


def _switches(ends: Ends) -> int:
    """Return how often flows have left the first path, as the client counts it."""
    found: int = ends.paths("client")["wan1"]["switches"]
    return found


def dead_start(folder: Path) -> Outcome:
    """Start while the first listed path is dead: its router loses everything."""
    found = Outcome("first path dead at start")
    with network(folder, [Quality(delay=5)] * 2) as net, tunnel(net, folder) as ends:
        ends.set_paths(priority=[1, 2])
        net.isps[0].cut("both")
        ends.start("server")
        wait_until(lambda: ends.status("server").get("state") is not None, 10, "server: no answer")
        begin = time.monotonic()
        ends.start("client")
        wait_until(lambda: bool(ends.status("client")), 10, "client: no answer")
        answered = time.monotonic()
        wait_until(lambda: ends.status("client").get("state") == "up", 20, lambda: f"client is not up: {ends.tell()}")
        up = time.monotonic() - answered
        with probes(ends, PLAIN):
            carried = time.monotonic() - begin
        net.isps[0].mend()
        back = ends.wait_up(seconds=BACK + 5)
    found.values = {"up_s": up, "with_start_of_python_s": carried, "back_s": back}
    found.expect(up <= 2, "up within 2 s through the other path")
    found.expect(back <= BACK, f"the first path is there {BACK:g} s after it could be")
    return found


def restarts(folder: Path) -> Outcome:
    """Kill one end, then the other, each started anew at once."""
    found = Outcome("kill -9 of an end")
    with network(folder, [Quality(delay=5)] * 2) as net, tunnel(net, folder) as ends:
        ends.start()
        ends.wait_up()
        with probes(ends, PLAIN) as running, load.talking(ends, _TALKS) as talk:
            for role in ("server", "client"):
                begin = time.monotonic()
                ends.kill(role)
                ends.start(role)
                back = ends.wait_up(seconds=BACK + 5)
                time.sleep(1)
                streams = running.streams()
                gap = max(streams[sender, PLAIN].gap(begin, time.monotonic() - 0.5) for sender in _SENDERS)
                found.values |= {f"{role}_back_s": back, f"{role}_gap_s": gap}
                found.expect(back <= BACK, f"paths are back {BACK:g} s after {role} started")
            told = talk.end()
        found.values["alive"] = told["alive"]
    found.expect(told["alive"] == _TALKS, f"all {_TALKS} TCP connections live: {told['faults']}")
    return found


def sixteen(folder: Path) -> Outcome:
    """Run sixteen paths, lose eight of them, get them back."""
    found = Outcome("16 paths")
    with network(folder, [Quality(delay=5)] * 16) as net, tunnel(net, folder) as ends:
        ends.config["client"]["multipath_policy"] = "balanced"
        ends.start()
        found.values["up_s"] = ends.wait_up(seconds=20)
        with probes(ends, *range(PLAIN, PLAIN + 8)) as running, load.talking(ends, _TALKS) as talk:
            time.sleep(1)
            begin = time.monotonic()
            for isp in net.isps[:8]:
                isp.cut("both")
            cut = time.monotonic()
            time.sleep(3)
            for isp in net.isps[:8]:
                isp.mend()
            found.values["back_s"] = ends.wait_up(seconds=BACK + 5)
            time.sleep(1)
            told = talk.end()
            streams = running.streams().values()
            end = time.monotonic() - 0.5
            found.values["gap_ms"] = 1000 * max(stream.gap(begin, end) for stream in streams)
            found.values["cutting_ms"] = 1000 * (cut - begin)
        found.values["alive"] = told["alive"]
    found.expect(told["alive"] == _TALKS, f"all {_TALKS} TCP connections live: {told['faults']}")
    found.expect(float(found.values["back_s"]) <= BACK, f"every path is back within {BACK:g} s")
    return found


def every_path(folder: Path) -> Outcome:
    """Cut every WAN for five seconds."""
    found = Outcome("every WAN cut for 5 s")
    with network(folder, [Quality(delay=5)] * 3) as net, tunnel(net, folder) as ends:
        ends.start()
        ends.wait_up()
        with probes(ends, PLAIN) as running, load.talking(ends, _TALKS) as talk:
            for isp in net.isps:
                isp.cut("both")
            time.sleep(5)
            for isp in net.isps:
                isp.mend()
            mended = time.monotonic()
            back = ends.wait_up(seconds=BACK + 5)
            time.sleep(1)
            end = time.monotonic() - 0.5
            streams = running.streams()
            told = talk.end()
        gap = max(streams[sender, PLAIN].gap(mended, end) for sender in _SENDERS)
        found.values = {"alive": told["alive"], "silent_after_ms": 1000 * gap, "back_s": back}
    found.expect(told["alive"] == _TALKS, f"all {_TALKS} TCP connections live: {told['faults']}")
    found.expect(gap <= 4.0, "packets pass again within 4 s")
    found.expect(back <= BACK, f"every path is back within {BACK:g} s")
    return found
