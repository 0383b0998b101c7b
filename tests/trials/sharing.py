# SPDX-License-Identifier: GPL-3.0-or-later
"""How traffic shares the paths: throughput, weights, copies."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.shell import Process, inside, run, started, wait_until
from tests.trials import blackhole, load
from tests.trials.ends import INNER, tunnel
from tests.trials.net import Quality, network
from tests.trials.outcome import Outcome
from tests.trials.streams import PLAIN, TWICE, probes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.trials.ends import Ends

_SPREAD = Path(__file__).with_name("spread.py")
#: Mbit/s, ms one way and weights of three unlike WANs; seconds of traffic that wait for the rate.
RATES, DELAYS, WEIGHTS = (50, 30, 20), (5.0, 15.0, 30.0), (5, 3, 2)
_BUFFER = 0.1
#: What a path's key ``rate`` says, as a share of what the WAN carries: packets wait in the daemon, not in the WAN.
_SHAPED = 0.97
#: Ways of a transfer, as iperf3 is told.
_WAYS: dict[str, tuple[str, ...]] = {"up": (), "down": ("-R",)}
#: Seconds of a measurement.
_SECONDS = 8.0


def _unlike() -> list[Quality]:
    return [
        Quality(rate_up=rate, rate_down=rate, delay=delay, limit=rate * 1e6 / 8 * _BUFFER)
        for rate, delay in zip(RATES, DELAYS, strict=True)
    ]


def _configure(ends: Ends) -> None:
    rates = [f"{round(1000 * rate * _SHAPED)}kbit" for rate in RATES]
    ends.set_paths(weight=list(WEIGHTS), rate=rates, rate_down=rates)
    ends.config["client"]["multipath_policy"] = "balanced"


def _alone(ends: Ends, number: int, *options: str) -> dict[str, float]:
    """Return what one WAN carries each way when it is the only one."""
    everything = ends.config["client"]["multipath_paths"]
    ends.config["client"]["multipath_paths"] = [everything[number - 1]]
    try:
        ends.start()
        ends.wait_up(number)
        return {way: load.carried(ends, _SECONDS, *options, *more) for way, more in _WAYS.items()}
    finally:
        ends.stop()
        ends.config["client"]["multipath_paths"] = everything


def bonding(folder: Path, flows: Sequence[int] = (1, 2, 4)) -> list[Outcome]:
    """Compare three unlike WANs with each of them alone, in one run: 16 TCP flows, and few flows of TCP and UDP."""
    named = f"bonding {'+'.join(map(str, RATES))} Mbit/s"
    many = Outcome(f"{named}, 16 TCP flows")
    found = [many]
    with network(folder, _unlike()) as net, tunnel(net, folder) as ends:
        _configure(ends)
        alone = [_alone(ends, number, "-P", "16") for number in (1, 2, 3)]
        best = _alone(ends, 1)
        ends.start()
        ends.wait_up()
        for way, more in _WAYS.items():
            whole = sum(one[way] for one in alone)
            together = load.carried(ends, _SECONDS, "-P", "16", *more, skip=5)
            many.values |= {f"{way}_mbit": together, f"{way}_sum": whole, f"{way}_share": together / whole}
            many.expect(together >= 0.9 * whole, f"{way}: at least 90 % of the sum of each alone")
        for count in flows:
            for kind, options in (
                ("TCP", ()),
                ("UDP", ("-u", "-l", "1200", "-b", f"{round(110_000 / count)}K")),
            ):
                few = Outcome(f"{named}, {count} {kind} flow{'s' if count > 1 else ''}")
                for way, more in _WAYS.items():
                    mbit = load.carried(ends, _SECONDS, "-P", str(count), *options, *more)
                    few.values |= {f"{way}_mbit": mbit, f"{way}_best": best[way], f"{way}_share": mbit / best[way]}
                    few.expect(mbit >= 0.9 * best[way], f"{way}: at least 0.9 of the best link alone")
                found.append(few)
    return found


def shares(folder: Path, name: str, policy: str, weights: Sequence[int], flows: int = 500) -> Outcome:
    """Send many small flows, and see by which path they go and come."""
    found = Outcome(name)
    with network(folder, [Quality(delay=5)] * len(weights)) as net, tunnel(net, folder) as ends:
        ends.set_paths(weight=list(weights))
        ends.config["client"]["multipath_policy"] = policy
        ends.start()
        ends.wait_up()
        words = inside(net.server, sys.executable, _SPREAD, "echo", INNER["server"])
        with started(lambda: Process("echo", words, folder / "echo.log")) as (echo,):
            wait_until(lambda: "ready" in echo.output(), 10, "echo: not ready")
            time.sleep(0.5)
            before = ends.paths("client")
            send = (sys.executable, _SPREAD, "send", INNER["server"], str(flows), "10")
            answers = int(run(*inside(net.client, *send)))
            after = ends.paths("client")
    for key, way in (("tx_packets", "up"), ("rx_packets", "down")):
        counts = [after[path][key] - before[path][key] for path in sorted(after)]
        for index, (count, weight) in enumerate(zip(counts, weights, strict=True)):
            share, wanted = count / sum(counts), weight / sum(weights)
            found.values[f"{way}{index + 1}"] = share
            found.expect(abs(share - wanted) <= 0.05, f"{way}: share {index + 1} within 0.05 of {wanted:.2f}")
        found.expect(min(counts) > 0, f"{way}: no share is zero")
        found.expect(counts == sorted(counts, reverse=True), f"{way}: the shares are in the order of the weights")
    found.values["answered"] = answers / (10 * flows)
    # A busy machine lets a TUN's queue run over.
    found.expect(answers >= 9.9 * flows, "at least 99 % of the packets are answered")
    return found


def copies(folder: Path, seconds: float = 30.0) -> Outcome:
    """Lose a tenth of the packets of each of two WANs, and send one flow twice."""
    found = Outcome("two copies, 10 % loss on each WAN")
    with network(folder, [Quality(delay=5)] * 2) as net, tunnel(net, folder) as ends:
        ends.config["client"]["dataplane"] = blackhole.classes()
        ends.start()
        ends.wait_up()
        for isp in net.isps:
            isp.change(loss=10)
        with probes(ends, PLAIN, TWICE) as running:
            begin = time.monotonic()
            time.sleep(seconds)
            end = time.monotonic() - 0.5
            time.sleep(0.5)
            streams = running.streams()
    for name, port in (("once", PLAIN), ("twice", TWICE)):
        both = [streams[sender, port] for sender in ("client", "server")]
        lost = sum(stream.lost(begin, end) for stream in both)
        found.values[f"{name}_lost_percent"] = 100 * lost / sum(stream.count(begin, end) for stream in both)
    found.values["doubled"] = sum(stream.doubled() for stream in streams.values())
    found.expect(float(found.values["twice_lost_percent"]) <= 1.5, "at most 1.5 % of what is sent twice is lost")
    found.expect(found.values["doubled"] == 0, "no packet arrives twice")
    return found


def spray(folder: Path, seconds: float = 10.0) -> Outcome:
    """Let single flows use two WANs of 10 Mbit/s at once, 10 and 25 ms away, packet by packet."""
    found = Outcome("sprayed class, two WANs of 10 Mbit/s")
    qualities = [Quality(rate_up=10, rate_down=10, delay=delay, limit=125_000) for delay in (5, 12.5)]
    with network(folder, qualities) as net, tunnel(net, folder) as ends:
        rates = ["9700kbit"] * 2
        ends.set_paths(rate=rates, rate_down=rates)
        ends.config["client"]["multipath_policy"] = "balanced"
        best = _alone(ends, 1)
        ends.config["client"]["dataplane"] = {"classes": {"default": {"spray": True}}}
        ends.start()
        ends.wait_up()
        with probes(ends, PLAIN) as running:
            begin = time.monotonic()
            time.sleep(seconds)
            streams = running.streams()
            both = [streams[sender, PLAIN] for sender in ("client", "server")]
            found.values["reordered"] = sum(stream.reordered(begin, time.monotonic()) for stream in both)
            found.values["lost"] = sum(stream.lost(begin, time.monotonic() - 0.5) for stream in both)
        for way, more in _WAYS.items():
            mbit = load.carried(ends, _SECONDS, *more)
            found.values |= {f"{way}_mbit": mbit, f"{way}_best": best[way]}
            found.expect(mbit >= 1.5 * best[way], f"{way}: one TCP flow is at least 1.5 times as fast as by one WAN")
    found.expect(found.values["reordered"] == 0, "nothing arrives out of order")
    found.expect(found.values["lost"] == 0, "nothing is lost")
    return found
