# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: a client host with three class tunnels on one WAN and one tunnel that takes a whole LAN."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from explain_site import CLASSES, WAN, Site, ip, namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Site]:
    with namespace(), closing(Site(tmp_path)) as site:
        yield site


@pytest.fixture
def site(bare: Site) -> Site:
    bare.tun("enp7s1", "172.16.5.1/28", "fd00:5::1/64")
    bare.tun("enp7s2", "172.16.1.1/30")
    bare.tun(WAN, "192.0.2.17/24", "2001:db8:7::17/64")
    bare.tun("enp7s3", "192.0.3.17/24")
    ip("route add default dev enp7s3")
    ip("-6 route add default dev enp7s3")
    for name in CLASSES:
        bare.class_instance(name)
    bare.level1()
    bare.classes(
        {
            "cr5": [
                {"protocol": ["udp"], "dports": [5060, "10000-20000"], "dscp": [46]},
                {"src": ["172.16.5.9/32"], "dst": ["198.51.100.0/24", "2001:db8::/32"]},
            ],
            "df5": [],
            "bk5": [{"protocol": ["tcp"], "dports": ["5001-6000"]}],
        }
    )
    return bare
