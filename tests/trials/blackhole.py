# SPDX-License-Identifier: GPL-3.0-or-later
"""A router on the active path loses packets without a word: how long that hurts, and what returning costs."""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from typing import TYPE_CHECKING

from tests.bench.shell import wait_until
from tests.trials import load
from tests.trials.ends import INNER, tunnel
from tests.trials.net import Quality, network
from tests.trials.outcome import Outcome, percentile
from tests.trials.streams import PLAIN, TWICE, Stream, probes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trials.ends import Ends
    from tests.trials.streams import Probes

#: Seconds that the router loses packets, and within which all must be back.
_CUT, _BACK = 1.2, 12.0
#: Seconds after which packets that arrive are no more part of the outage.
_OUTAGE = 1.0
#: Promises, in seconds: of 95 of 100 outages, and of all.
P95, LONGEST = 0.3, 0.5
_SENDERS = ("client", "server")


def classes() -> dict[str, object]:
    """Return a dataplane in which packets to and from one port are sent twice."""
    ports = [TWICE]
    return {
        "classes": {"default": {}, "critical": {"duplicate": True, "duplicate_copies": 2}},
        "classifiers": [{"class": "critical", "protocol": "udp", "dst_ports": ports}],
    }


def trial(folder: Path, ways: str, rtt: float, loaded: bool, trials: int) -> Outcome:  # noqa: FBT001 - a case
    """Cut the active path ``trials`` times; ``ways`` is up, down or both, ``rtt`` in ms."""
    name = f"black hole {ways:<4} {rtt:>2g} ms {'loaded' if loaded else 'idle'}"
    # Without the key rate no queue of ours drops packets: what is lost, the fault has lost.
    rate = 30.0 if loaded else 0.0
    quality = Quality(delay=rtt / 2, rate_up=rate, rate_down=rate)
    with network(folder, [quality] * 2) as net, tunnel(net, folder) as ends, contextlib.ExitStack() as stack:
        ends.set_paths(priority=[1, 2])
        ends.config["client"]["dataplane"] = classes()
        ends.start()
        ends.wait_up()
        if loaded:
            stack.enter_context(load.bulk(ends, "-b", "10M"))
        with probes(ends, PLAIN, TWICE) as running:
            return _rounds(name, ends, running, ways, trials)


def _rounds(name: str, ends: Ends, running: Probes, ways: str, trials: int) -> Outcome:
    begin = time.monotonic()
    gaps, cuts, backs = [], [], []
    for _round in range(trials):
        ends.wait_up(seconds=_BACK)
        _expect_first(ends)
        time.sleep(random.uniform(0.2, 0.5))
        isp = ends.net.isps[0]
        cut = time.monotonic()
        isp.cut(ways)
        time.sleep(_CUT)
        isp.mend()
        mended = time.monotonic()
        cuts.append(cut)
        backs.append(ends.wait_up(seconds=_BACK))
        time.sleep(0.7)
        streams = running.streams()
        gaps.append(max(streams[sender, PLAIN].gap(cut - 0.05, mended + 0.3) for sender in _SENDERS))
    end = time.monotonic() - 0.5
    streams = running.streams()
    # Between the outage of one round and that of the next, nothing is lost and nothing out of order. What is sent
    # just before a cut may be on its way to the router.
    calm = [(before + _OUTAGE, after - 0.1) for before, after in itertools.pairwise([*cuts, end])]
    plain = [streams[sender, PLAIN] for sender in _SENDERS]
    twice = [streams[sender, TWICE] for sender in _SENDERS]
    found = Outcome(name)
    returned = sum(stream.lost(*span) for stream in plain for span in calm)
    mixed = sum(stream.reordered(*span) for stream in (*plain, *twice) for span in calm)
    dead = sum(stream.lost(begin, end) for stream in twice)
    found.values = {
        "rounds": trials,
        "p50_ms": 1000 * percentile(gaps, 0.5),
        "p95_ms": 1000 * percentile(gaps, 0.95),
        "max_ms": 1000 * max(gaps),
        "twice_lost": dead,
        "return_lost": returned,
        "return_reordered": mixed,
        "doubled": sum(stream.doubled() for stream in (*plain, *twice)),
        "back_max_s": max(backs),
    }
    for what, when in (("lost", Stream.missing), ("overtaken", Stream.overtaken)):
        told = [
            f"{sender}:{port} {at - span[0] + _OUTAGE:.2f}"
            for sender in _SENDERS
            for port in (PLAIN, TWICE)
            for span in calm
            for at in when(streams[sender, port], *span)
        ]
        if told:
            found.values[f"{what}_s_after_cut"] = ", ".join(told)
    found.expect(percentile(gaps, 0.95) <= P95, f"outage p95 at most {1000 * P95:g} ms")
    found.expect(max(gaps) <= LONGEST, f"outage at most {1000 * LONGEST:g} ms")
    found.expect(dead == 0, "the class with duplication loses nothing")
    found.expect(returned == mixed == 0, "returning loses nothing and reorders nothing")
    found.expect(found.values["doubled"] == 0, "no packet arrives twice")
    found.expect(max(backs) <= 10, "the path is back within 10 s")
    return found


def _expect_first(ends: Ends) -> None:
    """Wait until the flows use the first path in both directions; what is sent twice uses the other one, too."""

    def first() -> bool:
        before = ends.paths("client")
        time.sleep(0.3)
        after = ends.paths("client")

        def more(name: str, key: str) -> int:
            found: int = after[name][key] - before[name][key]
            return found

        return all(more("wan1", key) > 1.4 * more("wan2", key) for key in ("tx_packets", "rx_packets"))

    wait_until(first, _BACK, lambda: f"flows to {INNER['server']} are not on wan1: {ends.paths('client')}")
