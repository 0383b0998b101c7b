# SPDX-License-Identifier: GPL-3.0-or-later
"""What mpquic has to reach, and whether it did. Ratios are compared as they are printed: with two digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.bench.metrics import unit
from tests.bench.peers import OURS, PATHS, PEERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.results import Results

_RIVALS = ("wireguard-go", "openvpn")
#: The fastest there is.
_RIVAL = "wireguard-go-13"


@dataclass(frozen=True)
class Floor:
    """One promise: a figure, or its ratio to that of another peer, is at least or at most a limit."""

    text: str
    test: str
    wire: str
    metric: str
    sense: Literal["at least", "at most"]
    limit: float
    rival: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a promise was kept."""

    status: Literal["PASS", "FAIL", "SKIP"]
    text: str
    found: str


def _floors() -> Iterator[Floor]:
    for wire, limit in (("W2", 2.5), ("W3", 1.7), ("W1", 2.5)):
        for test, text in (("tcp", "TCP to the server"), ("rtcp", "TCP to the client")):
            for rival in _RIVALS:
                yield Floor(text, test, wire, "mbit", "at least", limit, rival)
    # At least 0.85 of one path's throughput.
    for test, text in (("tcp", "TCP to the server"), ("rtcp", "TCP to the client")):
        yield Floor(text, test, "W2", "mbit", "at most", 1.18, PATHS)
    for wire in ("W1", "W2", "W3"):
        yield Floor("every byte of parallel flows right", "sha256", wire, "mbit", "at least", 0)
    for rival in _RIVALS:
        yield Floor("UDP of 1272 B", "udp", "W2", "mbit", "at least", 1, rival)
    yield Floor("UDP of 64 B", "small", "W2", "kpps", "at least", 1.5, "wireguard-go")
    for rival in _RIVALS:
        yield Floor("ping under a TCP stream", "loaded", "W2", "median_ms", "at most", 1, rival)
    for way, to in (("up", "server"), ("down", "client")):
        yield Floor(f"slow WAN, TCP to the {to}: added to bulk (p99)", "wan", "W2", f"{way}_bulk_ms", "at most", 50)
        critical = f"slow WAN, TCP to the {to}: added to critical (p99)"
        yield Floor(critical, "wan", "W2", f"{way}_critical_ms", "at most", 10)
    yield Floor("idle daemon: CPU", "idle", "W2", "cpu_percent", "at most", 0.5)
    yield Floor("idle daemon: memory", "idle", "W2", "rss_mb", "at most", 60)
    for key, text in (
        ("bulk_us", "a packet of bulk"),
        ("small_us", "small packets of one flow"),
        ("mixed_us", "small packets, each of another flow"),
    ):
        yield Floor(f"two paths: CPU added to {text}", "added", "W2", key, "at most", 2)
    yield Floor("six tunnels: slowest to fastest", "tunnels", "W2", "share6", "at least", 0.8)


def _native_floors() -> Iterator[Floor]:
    """Yield what the native data plane is for."""
    both = (("tcp", "TCP to the server"), ("rtcp", "TCP to the client"))
    for wire, limit in (("W2", 1.6), ("W3", 2), ("W1", 2)):
        for test, text in both:
            yield Floor(text, test, wire, "mbit", "at least", limit, _RIVAL)
    for test, text in both:
        yield Floor(f"CPU per packet, {text}", test, "W2", "cpu_us", "at most", 5)
    yield Floor("UDP of 1272 B", "udp", "W2", "mbit", "at least", 2.5, _RIVAL)
    yield Floor("UDP of 1272 B: its loss", "udp", "W2", "loss_percent", "at most", 5)
    yield Floor("UDP of 64 B", "small", "W2", "kpps", "at least", 2, _RIVAL)
    yield Floor("UDP of 64 B: what arrives", "small", "W2", "kpps", "at least", 100)
    yield Floor("ping under a TCP stream", "loaded", "W2", "median_ms", "at most", 1, _RIVAL)


FLOORS = (*_floors(), *_native_floors())
#: The sum of six tunnels to the rate of one.
GROWTH_FLOOR = 0.8


def judge(results: Results) -> list[Verdict]:
    """Return a verdict for every promise that the run was asked to check."""
    verdicts = [_judge(floor, results) for floor in FLOORS if _asked(floor, results)]
    if any(floor.test == "tunnels" and _asked(floor, results) for floor in FLOORS):
        verdicts.append(_growth(results))
    return [*verdicts, *_other_failures(results)]


def _other_failures(results: Results) -> Iterator[Verdict]:
    """Yield a verdict for every test that mpquic failed and that no promise speaks of."""
    spoken_of = {(floor.wire, floor.test) for floor in FLOORS if _asked(floor, results)}
    failed = {(item.wire, item.test) for item in results.problems if item.peer == OURS}
    for wire, test in sorted(failed - spoken_of):
        yield Verdict("FAIL", f"{wire} {test}", results.failure(wire, test, OURS) or "")


def _asked(floor: Floor, results: Results) -> bool:
    needed = {OURS, floor.rival} - {None}
    return (
        floor.test in results.chosen("tests")
        and floor.wire in results.chosen("wires")
        and needed <= set(results.chosen("peers"))
    )


def _judge(floor: Floor, results: Results) -> Verdict:
    text = f"{floor.wire} {floor.text}" + (f" to {PEERS[floor.rival].label}" if floor.rival else "")
    for needed in (floor.test, floor.rival):
        if needed in results.unavailable:
            return Verdict("SKIP", text, results.unavailable[needed])
    failure = results.failure(floor.wire, floor.test, OURS)
    if failure is not None:
        return Verdict("FAIL", text, failure)
    if floor.rival is None:
        value = results.median(floor.wire, floor.test, OURS, floor.metric)
        return _compare(floor, text, value, unit(floor.test, floor.metric))
    label = PEERS[floor.rival].label
    ratio = results.ratio(floor.wire, floor.test, floor.metric, (OURS, floor.rival))
    if ratio is None:
        why = results.failure(floor.wire, floor.test, floor.rival) or "not measured"
        return Verdict("FAIL", text, f"no figure of {label}: {why}")
    return _compare(floor, text, ratio, "x")


def _compare(floor: Floor, text: str, value: float | None, mark: str) -> Verdict:
    if value is None:
        return Verdict("FAIL", text, "not measured")
    kept = round(value, 2) >= floor.limit if floor.sense == "at least" else round(value, 2) <= floor.limit
    wanted = f", {floor.sense} {floor.limit:g}{mark}" if floor.limit else ""
    return Verdict("PASS" if kept else "FAIL", text, f"{value:.2f}{mark}{wanted}")


def _growth(results: Results) -> Verdict:
    text = "W2 six tunnels: sum to the rate of one"
    failure = results.failure("W2", "tunnels", OURS)
    one, six = (results.median("W2", "tunnels", OURS, key) for key in ("sum1", "sum6"))
    if failure is not None or not one or six is None:
        return Verdict("FAIL", text, failure or "not measured")
    kept = round(six / one, 2) >= GROWTH_FLOOR
    return Verdict("PASS" if kept else "FAIL", text, f"{six / one:.2f}x, at least {GROWTH_FLOOR:g}x")
