# SPDX-License-Identifier: GPL-3.0-or-later
"""What explain says against what the kernel does, for random matches and packets."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest
from explain_site import CLASSES, LANS, forget_flows
from mpquic.host.explain import path
from mpquic.host.explain.packet import Packet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SOURCES = {
    4: ["172.16.5.2", "172.16.5.3", "172.16.5.9", "172.16.5.14"],
    6: ["fd00:5::2", "fd00:5::9:1", "fd00:5::ffff"],
}
TARGETS = {
    4: ["198.51.100.7", "198.51.100.200", "203.0.113.77", "8.8.8.8", "10.200.1.2", "172.16.5.1", "192.0.2.99"],
    6: ["2001:db8::7", "2001:db8:ff::1", "2620:fe::fe", "fd00:5::1"],
}
PREFIXES = {
    "src": ["172.16.5.2/32", "172.16.5.0/29", "172.16.5.8/30", "fd00:5::/112", "fd00:5::2/128"],
    "dst": [
        "198.51.100.0/24",
        "198.51.100.128/25",
        "203.0.113.77/32",
        "2001:db8::/32",
        "2001:db8:ff::/48",
        "8.0.0.0/6",
    ],
}
PORTS = [0, 53, 443, 5059, 5060, 5061, 9999, 10000, 15000, 20000, 20001, 65535]
DSCPS = [0, 1, 8, 10, 34, 44, 46, 63]
PROTOCOLS = ["tcp", "udp", "icmp", "icmpv6", "sctp", "gre", 50, 89]
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132, "gre": 47}


def some(rng, pool, most=3):
    return rng.sample(pool, rng.randint(1, most))


def random_match(rng):
    match = {}
    if rng.random() < 0.6:
        match["protocol"] = some(rng, PROTOCOLS)
    if set(match.get("protocol", ["icmp"])) <= {"tcp", "udp", "sctp"}:
        for key in ("sports", "dports"):
            if rng.random() < 0.6:
                first, last = sorted(rng.sample(PORTS, 2))
                match[key] = [rng.choice(PORTS), f"{first}-{last}"]
    for key in ("src", "dst"):
        if rng.random() < 0.4:
            match[key] = some(rng, PREFIXES[key])
    if rng.random() < 0.3:
        match["dscp"] = some(rng, DSCPS)
    if rng.random() < 0.2:
        match["lan"] = some(rng, list(LANS), 1)
    return match or {"dscp": [46]}


def random_packet(rng):
    version = rng.choice([4, 4, 6])
    name = rng.choice(PROTOCOLS)
    number = NUMBERS.get(name, name)
    ports = number in {6, 17, 132}
    return Packet(
        ip_address(rng.choice(SOURCES[version])),
        ip_address(rng.choice(TARGETS[version])),
        number,
        rng.choice([*PORTS[1:], rng.randint(1, 65535)]) if ports else None,
        rng.choice(PORTS[1:]) if ports else None,
        rng.choice(DSCPS),
        rng.choice(LANS),
    )


def random_site(rng, site):
    order = list(CLASSES)
    rng.shuffle(order)
    default = rng.choice(order)
    site.classes(
        {name: [] if name == default else [random_match(rng) for _ in range(rng.randint(1, 4))] for name in order},
        default,
    )


@pytest.mark.parametrize("seed", range(6))
def test_every_packet_leaves_as_explained(site, seed):
    rng = random.Random(seed)
    random_site(rng, site)
    sources = site.sources()
    seen = set()
    for number in range(60):
        packet = random_packet(rng)
        explained = path.explain(packet, sources)
        forget_flows(packet.version)
        left = site.send(packet, f"<{seed}.{number}>".encode())
        told = explained.device if explained.verdict in {"tunnel", "direct"} else None
        assert left == told, (packet, explained.result())
        assert explained.differences == [], (packet, explained.result())
        assert explained.uncertain == []
        seen.add(left)
    assert len(seen) >= 3, "the random packets are too alike to show anything"
