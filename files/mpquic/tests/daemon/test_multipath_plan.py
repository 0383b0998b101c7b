# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a configuration both ends are told: numbers, links, classes and rules."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mpquic.config import load
from mpquic.core.multipath import policy_wire
from mpquic.core.multipath.policy import Rule, TrafficClass
from mpquic.daemon.multipath import plan_paths, policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.config import Multipath

    Read = Callable[..., Multipath]

BASE = {"role": "client", "tun_name": "mp1", "tun_cidr": "10.200.17.1/30", "tls_server_pin": "sha256:" + "0" * 64}


def wan(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "bind_ip": f"if:{name}", "remote_addr": "203.0.113.1", "remote_port": 45017} | more


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(*paths: dict[str, Any], **keys: Any) -> Multipath:
        file = tmp_path / "mp1.yaml"
        text = {**BASE, "multipath_enabled": True, "multipath_paths": list(paths), **keys}
        file.write_text(yaml.safe_dump(text, sort_keys=False))
        found = load(file)[0].multipath
        assert found is not None
        return found

    return read


def numbers(planned: Any) -> dict[str, int]:
    return {one.spec.name: one.spec.number for one in planned}


def test_connections_of_a_path_share_its_wan_and_its_rates(read: Read) -> None:
    planned = plan_paths(
        read(wan("a", connections=3, rate="30mbit", rate_down="90mbit", priority=2), wan("b", weight=7))
    )
    assert numbers(planned) == {"a": 1, "a/2": 2, "a/3": 3, "b": 4}
    assert [(one.spec.link, one.path) for one in planned] == [(1, "a"), (1, "a"), (1, "a"), (4, "b")]
    assert [one.rate for one in planned] == [10_000_000] * 3 + [None]
    assert [one.spec.rate_down for one in planned] == [30_000_000] * 3 + [None]
    assert [(one.spec.priority, one.spec.weight) for one in planned] == [(2, 1)] * 3 + [(0, 7)]
    assert (str(planned[1].target.bind), planned[1].target.host, planned[1].target.port) == (
        "if:a",
        "203.0.113.1",
        45017,
    )


def test_paths_of_one_place_are_one_link(read: Read) -> None:
    planned = plan_paths(read(wan("a"), wan("b"), wan("c", bind_ip="if:a")))
    assert [one.spec.link for one in planned] == [1, 2, 1]


def test_numbers_stay_as_long_as_name_and_place_do(read: Read) -> None:
    first = plan_paths(read(wan("a"), wan("b", connections=2), wan("c")))
    assert numbers(first) == {"a": 1, "b": 2, "b/2": 3, "c": 4}
    # Another order, weight, priority or rate is the same path.
    second = plan_paths(read(wan("c", weight=9), wan("b", connections=2, priority=3), wan("a", rate="1mbit")), first)
    assert numbers(second) == numbers(first)
    # What is gone leaves its number unused at first; another place is another path.
    third = plan_paths(read(wan("d"), wan("b", remote_port=45018), wan("c")), second)
    assert numbers(third) == {"d": 5, "b": 6, "c": 4}
    assert numbers(plan_paths(read(wan("d"), wan("e"), wan("c")), third)) == {"d": 5, "e": 1, "c": 4}


def test_numbers_suffice_when_all_change(read: Read) -> None:
    many = [wan(f"w{index}", connections=8) for index in range(31)] + [wan("x", connections=7)]
    first = plan_paths(read(*many))
    assert sorted(numbers(first).values()) == list(range(1, 256))
    second = plan_paths(read(*[path | {"remote_port": 45018} for path in many]), first)
    assert sorted(numbers(second).values()) == list(range(1, 256))


def test_classes_and_rules(read: Read) -> None:
    plane = {
        "default_class": "bulk",
        "classes": {
            "critical": {"scheduler_policy": "failover", "preferred_paths": ["b", "a"], "duplicate": True},
            "bulk": {"excluded_paths": ["b"], "spray": True},
        },
        "classifiers": [
            {
                "class": "critical",
                "protocol": ["udp", 6],
                "src_cidrs": ["172.16.1.0/24"],
                "dst_cidrs": ["2001:db8::/32"],
                "src_ports": [5060],
                "dst_ports": ["10000-20000"],
                "dscp": [46],
            }
        ],
    }
    multipath = read(wan("a", connections=2), wan("b"), wan("c"), multipath_policy="balanced", dataplane=plane)
    found = policy(multipath, plan_paths(multipath), 7)
    assert found.generation == 7
    assert found.classes == (
        TrafficClass("critical", "failover", preferred=(3, 1, 2), copies=2),
        TrafficClass("bulk", "balanced", excluded=(3,), spray=True),
    )
    assert found.default == 1
    assert found.rules == (
        Rule(
            target=0,
            protocols=frozenset({6, 17}),
            sources=(ip_network("172.16.1.0/24"),),
            destinations=(ip_network("2001:db8::/32"),),
            source_ports=((5060, 5060),),
            destination_ports=((10000, 20000),),
            dscps=frozenset({46}),
        ),
    )
    assert policy_wire.decode(policy_wire.encode(found)) == found


def test_without_classes_there_is_one(read: Read) -> None:
    multipath = read(wan("a"), wan("b"), multipath_policy="failover")
    found = policy(multipath, plan_paths(multipath), 1)
    assert found.classes == (TrafficClass("default", "failover"),)
    assert (found.default, found.rules) == (0, ())
