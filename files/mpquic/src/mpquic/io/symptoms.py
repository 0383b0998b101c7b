# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a connection that is up, read from what its daemon says of it.

Only the sending direction is known of a connection that is alone; the other end knows the other one. Of several paths
each end hears from the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Share of lost packets from which on it is told, of so many packets, and at least so many of them lost.
LOSS, JUDGED, LOST = 0.05, 10, 3
#: A round trip time is high when the newest is more than twice the best there was and so much more (milliseconds).
SLOWER = 100.0


class Symptom(NamedTuple):
    """What is wrong: a code of mpquic.host.doctor.advice, and a sentence."""

    code: str
    message: str


#: The codes of symptoms.
CODES = ("loss", "rtt_high", "mtu_fell", "held")

#: What a daemon says of an end that is not up, by a part of it; the first that fits counts.
_WORDS = (
    ("not the pinned one", "wrong_key"),
    ("is no peer here", "wrong_key"),
    ("no client certificate", "wrong_key"),
    ("server refused", "wrong_key"),
    ("name resolution", "dns_failed"),
    ("Name or service not known", "dns_failed"),
    ("No address associated", "dns_failed"),
    ("has no carrier", "wan_no_carrier"),
    ("does not exist", "wan_missing"),
    ("has no IPv4 address", "wan_no_ipv4"),
    ("port closed", "port_closed"),
    ("no answer", "no_answer"),
    ("no acknowledgement", "no_answer"),
)


def cause(reason: str) -> str | None:
    """Return the code of why an end is not up, None for a reason that speaks for itself."""
    return next((code for words, code in _WORDS if words in reason), None)


def symptoms(entry: dict[str, Any]) -> Iterator[Symptom]:
    """Yield what is wrong with the tunnel, peer or path of a status entry, as long as it is up."""
    recent = entry.get("recent") or {}
    share = loss(entry)
    if share is not None and share >= LOSS:
        yield Symptom("loss", f"{share:.0%} of the packets are lost")
    rtt, best = slowest(entry), recent.get("rtt_best_ms")
    if rtt is not None and best is not None and rtt > 2 * best + SLOWER:
        yield Symptom("rtt_high", f"the round trip takes {rtt:.0f} ms, at best it took {best:.0f} ms")
    size, largest = entry.get("datagram"), recent.get("datagram_best")
    if size is not None and largest is not None and size < largest:
        yield Symptom("mtu_fell", f"the path carries datagrams of {size} bytes, and carried {largest} before")
    if entry.get("held_to_bps") is not None:
        held = f"{entry['held_to_bps'] / 1e6:.2f} Mbit/s"
        yield Symptom("held", f"the circuit breaker is open: at most {held} are sent, because of the loss")


def loss(entry: dict[str, Any]) -> float | None:
    """Return the share of packets lost of late, 0 to 1, the worse of what is known of both directions."""
    recent = entry.get("recent") or {}
    found = [share for share in (entry.get("loss"), entry.get("peer_loss")) if share is not None]
    judged, share = recent.get("judged", 0), recent.get("loss")
    if share is not None and judged >= JUDGED and (share == 0 or share * judged >= LOST):
        found.append(share)
    return max(found, default=None)


def slowest(entry: dict[str, Any]) -> float | None:
    """Return the round trip time (milliseconds) that the mean and the newest sample agree on, None if unknown."""
    mean, newest = entry.get("rtt_ms"), (entry.get("recent") or {}).get("rtt_ms")
    if mean is None or newest is None:
        return None
    best = (entry.get("recent") or {}).get("rtt_best_ms") or 0.0
    # The mean follows slowly where there is little traffic: it has to rise, not to arrive.
    return float(newest) if mean > best + SLOWER / 2 else min(mean, newest)
