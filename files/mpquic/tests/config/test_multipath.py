# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels over several WANs: what the file may say, and what is said about it when it is wrong."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mpquic.cli import main
from mpquic.config import ConfigError, InstanceConfig, between, load, needs_restart, size

if TYPE_CHECKING:
    from pathlib import Path

PIN = "sha256:" + "0123456789abcdef" * 4
FIBRE = {"name": "fibre", "bind_ip": "if:enp7s3", "remote_addr": "203.0.113.10", "remote_port": 45017}
LTE = FIBRE | {"name": "lte", "bind_ip": "if:enp7s4", "priority": 10}
SAT = FIBRE | {"name": "Sat", "bind_ip": "if:enp7s5", "weight": 3, "connections": 2, "rate": "20mbit"}
CLIENT: dict[str, Any] = {
    "role": "client",
    "tun_name": "mp1",
    "tun_cidr": "10.200.17.1/30",
    "tls_server_pin": PIN,
    "multipath_enabled": True,
    "multipath_paths": [FIBRE, LTE, SAT],
}
CLASSES: dict[str, Any] = {
    "critical": {"scheduler_policy": "failover", "preferred_paths": ["fibre", "sat"], "duplicate": True},
    "bulk": {"excluded_paths": ["LTE"], "spray": True},
}
RULES: list[dict[str, Any]] = [
    {"name": "voip", "class": "critical", "protocol": "udp", "dst_ports": ["5060", "10000-20000", 4000]},
    {"class": "bulk", "protocol": ["tcp", 132], "dst_cidrs": ["198.51.100.0/24"], "dscp": [8, 10]},
]
DATAPLANE: dict[str, Any] = {"classes": CLASSES, "classifiers": RULES}
GONE = object()


def _write(folder: Path, data: dict[str, Any], name: str = "mp1.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not GONE}, sort_keys=False))
    return path


def _good(folder: Path, **changes: Any) -> InstanceConfig:
    return load(_write(folder, CLIENT | changes))[0]


def _warnings(folder: Path, **changes: Any) -> list[str]:
    path = _write(folder, CLIENT | changes)
    told = [line.removeprefix(f"{path}: ") for line in load(path)[1]]
    return [line for line in told if not line.startswith("tls_cert_file")]


def _faults(folder: Path, **changes: Any) -> list[str]:
    path = _write(folder, CLIENT | changes)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert all("\n" not in line for line in caught.value.messages)
    return [line.removeprefix(f"{path}: ") for line in caught.value.messages]


def test_paths_with_defaults(tmp_path: Path) -> None:
    config = _good(tmp_path)
    multipath = config.multipath
    assert multipath is not None
    assert (multipath.policy, config.telemetry_interval) == ("priority", 10)
    assert [path.name for path in multipath.paths] == ["fibre", "lte", "Sat"]
    fibre, lte, sat = multipath.paths
    assert (fibre.bind_ip.interface, fibre.remote_addr, fibre.remote_port) == ("enp7s3", "203.0.113.10", 45017)
    assert (fibre.priority, fibre.weight, fibre.connections, fibre.rate, fibre.rate_down) == (0, 1, 1, None, None)
    assert (lte.priority, sat.weight, sat.connections, sat.rate) == (10, 3, 2, 20_000_000)
    assert multipath.links() == (0, 1, 2)
    # What asks for the one WAN of an instance gets the first.
    assert (str(config.bind_ip), config.remote_addr, config.remote_port) == ("if:enp7s3", "203.0.113.10", 45017)
    assert list(multipath.dataplane.classes) == [multipath.dataplane.default_class] == ["default"]
    assert multipath.dataplane.classes["default"].scheduler_policy == "priority"
    assert multipath.dataplane.classifiers == ()
    assert _warnings(tmp_path) == []


def test_classes_and_classifiers(tmp_path: Path) -> None:
    multipath = _good(tmp_path, dataplane=DATAPLANE, multipath_policy="balanced").multipath
    assert multipath is not None
    found = multipath.dataplane
    assert list(found.classes) == ["default", "critical", "bulk"]
    critical, bulk, default = (found.classes[name] for name in ("critical", "bulk", "default"))
    assert (critical.scheduler_policy, bulk.scheduler_policy, default.scheduler_policy) == (
        "failover",
        "balanced",
        "balanced",
    )
    # Spelled as the paths are, however the class spells them.
    assert (critical.preferred_paths, bulk.excluded_paths) == (("fibre", "Sat"), ("lte",))
    assert (critical.copies, bulk.copies, bulk.spray, critical.spray) == (2, 1, True, False)
    voip, copying = found.classifiers
    assert (voip.name, voip.class_, voip.protocol) == ("voip", "critical", (17,))
    assert voip.dst_ports == ((5060, 5060), (10000, 20000), (4000, 4000))
    assert (copying.protocol, [str(prefix) for prefix in copying.dst_cidrs]) == ((6, 132), ["198.51.100.0/24"])
    assert (copying.dscp, copying.src_ports) == ((8, 10), ())


def test_a_class_that_is_there_may_be_the_default(tmp_path: Path) -> None:
    multipath = _good(tmp_path, dataplane=DATAPLANE | {"default_class": "Bulk"}).multipath
    assert multipath is not None
    assert (multipath.dataplane.default_class, list(multipath.dataplane.classes)) == ("bulk", ["critical", "bulk"])


def test_files_of_the_older_implementation_load(tmp_path: Path) -> None:
    """Keys, spelling and values that it took, as its own shipped examples have them."""
    paths = [
        {"bind_ip": "if:enp7s3", "remote_addr": "203.0.113.10", "remote_port": 45017, "pipes": 4, "weight": 0},
        {"name": "", "bind_ip": "if:enp7s4", "remote_addr": "203.0.113.10", "remote_port": 45018, "weight": -3},
        LTE | {"name": "WAN3", "transport": "stripe"},
    ]
    dataplane = {
        "default_class": "Default",
        "classes": {
            "Default": {"scheduler_policy": "Balanced", "preferred_paths": ["PATH1"]},
            "VoIP": {"duplicate": True, "duplicate_copies": 7, "excluded_paths": ["wan3"]},
            "low": None,
        },
        "classifiers": [
            {"name": "sip", "class": "VOIP", "protocol": "UDP", "dst_ports": ["5060"], "dscp": [46]},
            {"name": "rest", "class": "low", "protocol": "icmp"},
        ],
    }
    older = {
        "bind_ip": "if:enp7s3",
        "remote_addr": "203.0.113.10",
        "remote_port": 45017,
        "multipath_paths": paths,
        "dataplane": dataplane,
        "metrics_listen": "auto",
        "stripe_port": 46004,
        "transport_mode": "datagram",
        "tls_insecure_skip_verify": False,
    }
    multipath = _good(tmp_path, **older).multipath
    assert multipath is not None
    assert [(path.name, path.weight) for path in multipath.paths] == [("path1", 1), ("path2", 1), ("WAN3", 1)]
    classes = multipath.dataplane.classes
    assert (list(classes), classes["voip"].copies, classes["voip"].excluded_paths) == (
        ["default", "voip", "low"],
        3,
        ("WAN3",),
    )
    assert (classes["default"].preferred_paths, classes["low"].scheduler_policy) == (("path1",), "priority")
    told = {line.partition(": ")[0] for line in _warnings(tmp_path, **older)}
    assert told == {
        "bind_ip",
        "remote_addr",
        "remote_port",
        "metrics_listen",
        "stripe_port",
        "transport_mode",
        "multipath_paths[0].pipes",
        "multipath_paths[0].weight",
        "multipath_paths[1].weight",
        "multipath_paths[1].remote_port",
        "multipath_paths[2].transport",
        "dataplane.classes.VoIP.duplicate_copies",
    }


def test_keys_of_several_paths_mean_nothing_without_the_switch(tmp_path: Path) -> None:
    one = FIBRE | {"name": GONE}
    changes = one | {"multipath_enabled": False, "multipath_policy": "x", "dataplane": 1, "dataplane_config_file": "x"}
    assert _good(tmp_path, **changes).multipath is None
    keys = ["dataplane", "dataplane_config_file", "multipath_paths", "multipath_policy"]
    assert sorted(_warnings(tmp_path, **changes)) == [f"{key}: not used: multipath_enabled is false" for key in keys]


_ = "dataplane"
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("switch", {"multipath_enabled": 1}, "multipath_enabled: found 1, expected true or false"),
    ("no paths", {"multipath_paths": GONE}, "multipath_paths: missing, expected a list of mappings of name,"),
    ("empty list", {"multipath_paths": []}, "multipath_paths: found a list of 0, expected a list of mappings"),
    ("a mapping", {"multipath_paths": {}}, "multipath_paths: found a mapping of 0, expected a list of mappings"),
    ("a text", {"multipath_paths": [FIBRE, "x"]}, "multipath_paths[1]: found 'x', expected a mapping of name, bind_ip"),
    ("policy", {"multipath_policy": "rr"}, "multipath_policy: found 'rr', expected priority, failover or balanced"),
    ("interval", {"telemetry_interval": 3601}, "telemetry_interval: found 3601, expected seconds from 1 to 3600, or 0"),
    ("older server", {"legacy_server": True}, "legacy_server: found true beside multipath_enabled, expected false"),
    ("file", {"dataplane_config_file": 5}, "dataplane_config_file: found 5, expected a path, from the folder of"),
    *(
        (f"path {change}", {"multipath_paths": [FIBRE, LTE | change]}, f"multipath_paths[1].{expected}")
        for change, expected in (
            ({"weight": 1001}, "weight: found 1001, expected a number from 1 to 1000"),
            ({"weight": "3"}, "weight: found '3', expected a number from 1 to 1000"),
            ({"weight": True}, "weight: found true, expected a number from 1 to 1000"),
            ({"priority": -1}, "priority: found -1, expected a number from 0 to 65535"),
            ({"connections": 9}, "connections: found 9, expected a number from 1 to 8"),
            ({"rate": "20mbps"}, "rate: found '20mbps', expected a rate from 32kbit to 100gbit"),
            ({"name": "a b"}, "name: found 'a b', expected 1 to 64 of A-Z a-z 0-9 . _ -"),
            ({"name": "Fibre"}, "name: found Fibre, expected another name than that of multipath_paths[0]"),
            ({"bind_ip": "eth0"}, "bind_ip: found 'eth0', expected an IP address or if:<interface>"),
            ({"bind_ip": None}, "bind_ip: found nothing, expected an IP address or if:<interface>"),
            ({"remote_port": 0}, "remote_port: found 0, expected a UDP port from 1 to 65535"),
            (
                {"remote_addr": "2001:db8::1"},
                "remote_addr: found 2001:db8::1, expected an IPv4 address because bind_ip",
            ),
            ({"bind_ip": "2001:db8::2"}, "remote_addr: found 203.0.113.10, expected an IPv6 address because bind_ip"),
            ({"wieght": 1}, "wieght: unknown key, did you mean weight?"),
        )
    ),
    (
        "one name twice, and in a class",
        {
            "multipath_paths": [FIBRE, LTE | {"name": "FIBRE"}],
            _: {"classes": {"default": {"preferred_paths": ["fibre"]}}},
        },
        "multipath_paths[1].name: found FIBRE, expected another name than that of multipath_paths[0]",
    ),
    ("file of two lines", {"dataplane_config_file": "a\nb"}, "dataplane_config_file: found 'a\\nb', expected a path"),
    ("no mapping", {_: []}, "dataplane: found a list of 0, expected a mapping of default_class, classes, classifiers"),
    ("key", {_: {"clases": {}}}, "dataplane.clases: unknown key, did you mean classes?"),
    ("default", {_: {"default_class": "x"}}, "dataplane.default_class: found x, expected one of classes, where there"),
    ("classes", {_: {"classes": []}}, "dataplane.classes: found a list of 0, expected a mapping of names to classes"),
    (
        "class name",
        {_: {"classes": {"a b": {}}}},
        "dataplane.classes.'a b': found a class of this name, expected 1 to 64 of",
    ),
    (
        "two names",
        {_: {"classes": {"a": {}, "A": {}}}},
        "dataplane.classes.A: found a second class a, expected names that differ not only in case",
    ),
    *(
        (f"class {change}", {_: {"default_class": "c", "classes": {"c": change}}}, f"dataplane.classes.c{expected}")
        for change, expected in (
            (1, ": found 1, expected a mapping of scheduler_policy, preferred_paths,"),
            ({"policy": "x"}, ".policy: unknown key, expected one of scheduler_policy"),
            ({"scheduler_policy": "x"}, ".scheduler_policy: found 'x', expected priority, failover or balanced"),
            ({"duplicate": 2}, ".duplicate: found 2, expected true or false"),
            ({"duplicate_copies": "2"}, ".duplicate_copies: found '2', expected copies from 2 to 3"),
            ({"preferred_paths": "lte"}, ".preferred_paths: found 'lte', expected a list of names of paths"),
            ({"preferred_paths": ["x y"]}, ".preferred_paths[0]: found 'x y', expected the name of a path"),
            ({"preferred_paths": ["lte", "dsl"]}, ".preferred_paths[1]: found dsl, expected one of fibre, lte, Sat"),
            ({"excluded_paths": ["dsl"]}, ".excluded_paths[0]: found dsl, expected one of fibre, lte, Sat"),
            ({"excluded_paths": ["lte", "fibre", "sat"]}, ".excluded_paths: found every path there is, expected one"),
            ({"duplicate": True, "spray": True}, ".spray: found true beside duplicate, expected one of the two"),
            (
                {"duplicate": True, "excluded_paths": ["lte", "fibre"]},
                ".duplicate: found true with 1 WAN for it, expected two at least: one for each copy",
            ),
        )
    ),
    *(
        (
            f"rule {change}",
            {_: {"classes": CLASSES, "classifiers": [*RULES, change]}},
            f"dataplane.classifiers[2]{told}",
        )
        for change, told in (
            (1, ": found 1, expected a mapping of name, class, protocol,"),
            ({}, ".class: missing, expected the name of a class"),
            ({"class": "blk"}, ".class: found blk, expected one of default, critical, bulk"),
            ({"class": "bulk", "class_": "bulk"}, ".class_: unknown key, did you mean class?"),
            ({"class": "bulk", "protocol": "tpc"}, ".protocol[0]: found 'tpc', expected udp, tcp, icmp, icmpv6 or a"),
            ({"class": "bulk", "protocol": [6, 256]}, ".protocol[1]: found 256, expected udp, tcp, icmp, icmpv6 or a"),
            ({"class": "bulk", "dst_ports": ["0"]}, ".dst_ports[0]: found '0', expected a port from 1 to 65535, or a"),
            (
                {"class": "bulk", "src_ports": [1, "9-8"]},
                ".src_ports[1]: found '9-8' (the first is after the last), expected a port from 1 to 65535",
            ),
            ({"class": "bulk", "dst_ports": "5060"}, ".dst_ports: found '5060', expected a list of at most 255 ports"),
            ({"class": "bulk", "dscp": [64]}, ".dscp[0]: found 64, expected a DSCP from 0 to 63"),
            (
                {"class": "bulk", "src_cidrs": ["10.0.0.1/8"]},
                ".src_cidrs[0]: found '10.0.0.1/8' (host bits set, did you mean 10.0.0.0/8?), expected a prefix",
            ),
        )
    ),
]


@pytest.mark.parametrize(("change", "expected"), [item[1:] for item in BAD], ids=[item[0] for item in BAD])
def test_one_fault_gives_one_line(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    faults = _faults(tmp_path, **change)
    assert len(faults) == 1, faults
    assert faults[0].startswith(expected), faults


def test_all_faults_at_once_each_with_its_file(tmp_path: Path) -> None:
    beside = tmp_path / "classes" / "mp1.yaml"
    beside.parent.mkdir()
    beside.write_text("classes: {bulk: {duplicate: 1}}\nclassifiers: [{class: blk}]\nfoo: 1\n")
    changes = {"multipath_paths": [FIBRE | {"weight": -1.5}, FIBRE | {"name": None}, LTE | {"bar": 1}], "tun_mtu": 1}
    path = _write(tmp_path, CLIENT | changes | {"dataplane_config_file": "classes/mp1.yaml"})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [line.rpartition("found")[0] or line for line in caught.value.messages] == [
        f"{path}: multipath_paths[0].weight: ",
        (
            f"{path}: multipath_paths[2].bar: unknown key, expected one of name, bind_ip, remote_addr, remote_port, "
            "priority, weight, connections, ping_interval, rate, rate_down"
        ),
        f"{path}: tun_mtu: ",
        f"{beside}: foo: unknown key, expected one of default_class, classes, classifiers",
        f"{beside}: classes.bulk.duplicate: ",
        f"{beside}: classifiers[0].class: ",
    ]


def test_a_server_has_no_paths(tmp_path: Path) -> None:
    faults = _faults(tmp_path, role="server", tls_server_pin=GONE)
    assert "multipath_enabled: found on a server, expected on a client only" in faults


def test_too_many_of_anything(tmp_path: Path) -> None:
    many = [FIBRE | {"name": f"p{index}", "connections": 8, "remote_port": 1 + index} for index in range(32)]
    assert _faults(tmp_path, multipath_paths=many) == [
        "multipath_paths: found 256 connections in 32 paths, expected at most 255"
    ]
    classes = {f"c{index}": {} for index in range(8)}
    assert _faults(tmp_path, multipath_paths=many[:15], dataplane={"classes": classes}) == [
        "multipath_paths: found 120 connections, and 9 classes, expected a product of at most 1024"
    ]
    classes = {f"c{index}": {} for index in range(16)}
    assert "dataplane.classes: found 17, expected at most 16" in _faults(tmp_path, dataplane={"classes": classes})
    rules = [{"class": "default", "dst_ports": [1 + index]} for index in range(257)]
    assert _faults(tmp_path, dataplane={"classifiers": rules}) == [
        "dataplane.classifiers: found 257, expected at most 256"
    ]
    long = [{"class": "default", "dst_ports": list(range(1, 256)), "dscp": [index]} for index in range(8)]
    (line,) = _faults(tmp_path, dataplane={"classifiers": long})
    assert line.startswith("dataplane: found about 8337 bytes")
    assert "expected at most 8192" in line


SAID: list[tuple[str, dict[str, Any], str]] = [
    (
        "same WAN",
        {"multipath_paths": [FIBRE, FIBRE | {"name": "two"}]},
        "multipath_paths[1]: found the bind_ip and remote of multipath_paths[0], so both are one WAN",
    ),
    *(
        (
            f"another {key}",
            {"multipath_paths": [FIBRE, LTE | {key: value}]},
            f"multipath_paths[1].{key}: found {value}, and {FIBRE[key]} in multipath_paths[0]: all paths must end at",
        )
        for key, value in (("remote_addr", "203.0.113.11"), ("remote_port", 45018))
    ),
    ("rate", {"rate": "1mbit"}, "rate: not used: multipath_enabled is true, and every path has its own"),
    (
        "preferred and excluded",
        {"dataplane": {"classes": {"default": {"preferred_paths": ["lte"], "excluded_paths": ["lte"]}}}},
        "dataplane.classes.default.preferred_paths: found lte, which excluded_paths has too",
    ),
    (
        "more copies than WANs",
        {"dataplane": {"classes": {"default": {"duplicate": True, "duplicate_copies": 3, "excluded_paths": ["lte"]}}}},
        "dataplane.classes.default.duplicate_copies: found 3 with 2 WANs for it, so there are 2",
    ),
    (
        "spray by one path",
        {"dataplane": {"classes": {"default": {"spray": True, "scheduler_policy": "failover"}}}},
        "dataplane.classes.default.spray: not used: the policy is failover",
    ),
    ("unused", {"dataplane": {"classes": {"x": {}}}}, "dataplane.classes.x: not used: it is not the default_class"),
    *(
        (
            f"never {index}",
            {"dataplane": {"classifiers": [{"class": "default"} | rule for rule in rules]}},
            f"dataplane.classifiers[{len(rules) - 1}]: never matches: {why}",
        )
        for index, (rules, why) in enumerate(
            [
                (({}, {"protocol": "udp"}), "classifiers[0] takes all of it first"),
                (({"name": "all"}, {}), "classifiers[0] (all) takes all of it first"),
                (({"dst_ports": ["1-5", "6-9"]}, {"dst_ports": ["2-8"], "dscp": [1]}), "classifiers[0] takes"),
                (({"src_cidrs": ["10.0.0.0/8"]}, {"src_cidrs": ["10.1.0.0/16", "10.0.0.0/8"]}), "classifiers[0] takes"),
                (({"protocol": ["udp", "tcp"], "dscp": [1, 2]}, {"protocol": 6, "dscp": [2]}), "classifiers[0] takes"),
                (({"protocol": "icmp", "dst_ports": [1]},), "no protocol of it has ports"),
                (({"src_cidrs": ["10.0.0.0/8"], "dst_cidrs": ["fd00::/8"]},), "src_cidrs and dst_cidrs have no IP"),
            ]
        )
    ),
]


@pytest.mark.parametrize(("change", "expected"), [item[1:] for item in SAID], ids=[item[0] for item in SAID])
def test_what_is_strange_is_said_once(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    told = _warnings(tmp_path, **change)
    assert len(told) == 1, told
    assert told[0].startswith(expected), told


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"protocol": "udp"}, {}),
        ({"protocol": "udp"}, {"protocol": ["udp", "tcp"]}),
        ({"dst_ports": ["1-5", "7-9"]}, {"dst_ports": ["5-7"]}),
        ({"dst_ports": [53]}, {"src_ports": [53]}),
        ({"src_cidrs": ["10.0.0.0/8"]}, {"src_cidrs": ["10.0.0.0/7"]}),
        ({"src_cidrs": ["10.0.0.0/8"]}, {"src_cidrs": ["10.0.0.0/9", "fd00::/8"]}),
        ({"dscp": [1]}, {"dscp": [2]}),
    ],
)
def test_a_rule_that_can_match_is_not_called_dead(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    rules = [{"class": "default"} | rule for rule in (first, second)]
    assert _warnings(tmp_path, dataplane={"classifiers": rules}) == []


def test_the_file_beside_wins(tmp_path: Path) -> None:
    """Classes by their names, classifiers as a whole; the folder is that of the instance's file."""
    (tmp_path / "dp.yaml").write_text("default_class: bulk\nclasses: {bulk: {scheduler_policy: balanced}}\n")
    inline = {"default_class": "critical", "classes": CLASSES, "classifiers": RULES}
    config = _good(tmp_path, dataplane=inline, dataplane_config_file="dp.yaml")
    assert config.dataplane is not None
    assert (config.dataplane.default_class, len(config.dataplane.classifiers)) == ("bulk", 2)
    assert config.dataplane.classes["critical"].duplicate is True
    bulk = config.dataplane.classes["bulk"]
    assert (bulk.scheduler_policy, bulk.excluded_paths) == ("balanced", ())
    (tmp_path / "dp.yaml").write_text("classifiers: [{class: bulk}]\n")
    again = _good(tmp_path, dataplane=inline, dataplane_config_file=str(tmp_path / "dp.yaml"))
    assert again.dataplane is not None
    assert [rule.class_ for rule in again.dataplane.classifiers] == ["bulk"]
    assert again.dataplane.default_class == "critical"
    # The digest is of both files, so that a change in either shows.
    (tmp_path / "dp.yaml").write_text("classifiers: [{class: critical}]\n")
    changed = _good(tmp_path, dataplane=inline, dataplane_config_file=str(tmp_path / "dp.yaml"))
    assert changed.digest != again.digest
    assert needs_restart(again, changed) == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("gone.yaml", None, "No such file or directory, expected a readable YAML file"),
        (".", None, "Is a directory, expected a readable YAML file"),
        ("/dev/zero", None, "found something that is not a file, expected a readable YAML file"),
        ("dp.yaml", "- 1\n", "found a list, expected a YAML mapping of"),
        ("dp.yaml", "classes: {a: 1, a: 2}\n", "a: found a second time in line 1, expected once"),
        ("dp.yaml", "classifiers: [{class: c}]\n", "classifiers[0].class: found c, expected one of default"),
    ],
)
def test_faults_of_the_file_beside(tmp_path: Path, name: str, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    (line,) = _faults(tmp_path, dataplane_config_file=name)
    assert line.startswith(f"{tmp_path / name}: {expected}"), line


def test_what_a_running_tunnel_takes_over(tmp_path: Path) -> None:
    old = _good(tmp_path, dataplane=DATAPLANE)
    other = [SAT, FIBRE | {"weight": 7}]
    new = _good(
        tmp_path,
        multipath_paths=other,
        multipath_policy="failover",
        dataplane={"classes": {"default": {"duplicate": True}}},
        telemetry_interval=0,
    )
    assert old.bind_ip != new.bind_ip
    assert needs_restart(old, new) == []
    assert needs_restart(old, _good(tmp_path, dataplane=DATAPLANE)) == []
    single = _good(tmp_path, multipath_enabled=GONE, multipath_paths=GONE, **FIBRE | {"name": GONE})
    assert needs_restart(old, single) == ["multipath_enabled"]


def test_clashes_name_the_path(tmp_path: Path) -> None:
    one = load(_write(tmp_path, CLIENT, "1.yaml"))[0]
    two = CLIENT | {"tun_name": "mp2", "tun_cidr": "10.200.18.1/30"}
    apart = [FIBRE | {"remote_port": 45018}, LTE | {"remote_port": 45018}]
    assert list(between([("1", one), ("2", load(_write(tmp_path, two | {"multipath_paths": apart}))[0])])) == []
    apart[1] = LTE
    assert list(between([("1", one), ("2", load(_write(tmp_path, two | {"multipath_paths": apart}))[0])])) == [
        "2: multipath_paths[1].remote_port: found 45017 on 203.0.113.10, expected something else than in 1"
    ]
    plain = two | {"multipath_enabled": GONE, "multipath_paths": GONE} | FIBRE | {"name": GONE}
    assert list(between([("1", one), ("2", load(_write(tmp_path, plain))[0])])) == [
        "2: remote_port: found 45017 on 203.0.113.10, expected something else than in 1"
    ]


def test_preflight_of_every_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A WAN that is not there is remarked; the tunnel works by the others."""
    here = FIBRE | {"bind_ip": "127.0.0.1", "remote_addr": "127.0.0.2"}
    gone = LTE | {"bind_ip": "if:nosuchif"}
    missing = "multipath_paths[1].bind_ip: interface nosuchif does not exist, expected an interface with an IPv4"

    def check(paths: list[dict[str, Any]]) -> dict[str, Any]:
        path = _write(tmp_path, CLIENT | {"tun_name": "lo", "multipath_paths": paths})
        main(["check-config", "--preflight", "--json", str(path)])
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    answer = check([here, gone])
    assert answer["ok"] is True
    assert sum(missing in line for line in answer["warnings"]) == 1
    answer = check([here | {"bind_ip": "192.0.2.1"}, gone])
    assert [line.partition(".yaml: ")[2].partition(": ")[0] for line in answer["errors"]] == [
        "multipath_paths[0].bind_ip",
        "multipath_paths[1].bind_ip",
    ]


def test_the_size_of_a_policy_is_known_before_it_is_sent(tmp_path: Path) -> None:
    """What the file's limit counts is never less than what goes over the wire."""
    daemon = pytest.importorskip("mpquic.daemon.multipath")
    from mpquic.core.multipath import policy_wire  # noqa: PLC0415 - there with the other

    named = copy.deepcopy(DATAPLANE)
    for paths in ([FIBRE], [FIBRE, LTE, SAT], [FIBRE | {"name": "x" * 64, "weight": 1000, "rate_down": "90gbit"}, SAT]):
        for dataplane in ({}, named):
            if dataplane and len(paths) < 3:
                continue
            multipath = _good(tmp_path, multipath_paths=paths, dataplane=dataplane).multipath
            assert multipath is not None
            encoded = policy_wire.encode(daemon.policy(multipath, daemon.plan_paths(multipath), 2**40))
            assert len(encoded) <= size.bound(multipath) <= len(encoded) + 40 * len(paths)
