# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner says of bad class tunnels, and of those that look like a slip, line by line."""

from __future__ import annotations

import copy

import pytest
from class_sites import BK, CLASSES, CR, DF, MARKED, WAN5, classified, link, many, with_class
from hypothesis import given, settings
from hypothesis import strategies as st
from verdicts import refused, verdict, warned

LINK = "client1: mpquic_class_tunnels[0] (id 1)"
OTHER = "client1: mpquic_class_tunnels[1] (id 2)"
TUNNEL5 = "client1: mpquic_tunnels[4] (id 5)"
TUNNEL6 = "client1: mpquic_tunnels[5] (id 6)"
CR_AT = f"{LINK}: classes[0] (cr)"
BK_AT = f"{LINK}: classes[2] (bk)"
MATCH = f"{LINK}: classes[0].match[0]"
NAME = "expected an interface name of 1 to 15 characters (letters, digits, . _ -)"
NETWORK = "expected an IPv4 network of /8 to /29 such as 10.200.10.0/24"
NETWORK6 = "expected an IPv6 network of /48 to /112 such as fd6d:7071:10::/64"
ANY = "expected an IPv4 network of /0 to /32 or an IPv6 network of /0 to /128 such as 192.0.2.0/24 or 2001:db8::/32"
LANS = "expected a list of at least one LAN such as enp7s1 or {name: enp7s9, cidrs: [192.168.9.0/24]}"
LAN = "expected an IPv4 network of /8 to /32 or an IPv6 network of /16 to /128 such as 172.16.1.0/30"
CLASS_LIST = "expected a list of 1 to 8 classes such as {name: df, default: true}"
MATCH_LIST = "expected a list of matches such as {protocol: udp, dports: [5060]}"
MATCH_KEYS = "expected a mapping with some of the keys lan, protocol, src, dst, sports, dports, dscp"
DSCP = "expected 0 to 63 or one of cs0 to cs7, af11 to af43, ef, va, le"
PORT = "expected a port from 1 to 65535 or a range such as 10000-20000, the lower one first"
PROTOCOL = "expected a protocol number from 0 to 255 or one of icmp, tcp, udp, gre, esp, ah, icmpv6, sctp"
SAME_LAN = "which has the same LAN"
CLASS_KEY_LIST = "name, default, match, priority, share, outer_dscp, nat, number, table, rule_priority"
SHAPER = "the shaper of enp7s7 (mpquic_wans) knows classes by it"


KEYS = [
    ({"id": 26}, ["client1: mpquic_class_tunnels[0] (id 26): id: found 26, expected an integer from 1 to 25"]),
    ({"wan": "enp7 s7", "lans": ["enp7s1"]}, [f"{LINK}: wan: found 'enp7 s7', {NAME}"]),
    (
        {"wan": "enp7s9"},
        [f"{LINK}: lans: not set, expected its LAN interfaces, since no entry of mpquic_tunnels has this wan"],
    ),
    ({"prot": 1}, [f"{LINK}: prot: unknown key, did you mean port?"]),
    ({"port": 80}, [f"{LINK}: port: found 80, expected an integer from 1024 to 65535"]),
    ({"port": 45005}, [f"{LINK}: port: found 45005, already used by {TUNNEL5}"]),
    ({"first": -1}, [f"{LINK}: first: found -1, expected an integer from 0 to 1048575"]),
    ({"tun_mtu": 9001}, [f"{LINK}: tun_mtu: found 9001, expected an integer from 576 to 9000"]),
    ({"log_level": "all"}, [f"{LINK}: log_level: found 'all', expected one of debug, info, error"]),
    (
        {"budget_packets": 0},
        [f"{LINK}: budget_packets: found 0, expected an integer from 1 to 1000000000"],
    ),
    ({"server_tun": "mpq5"}, [f"{LINK}: server_tun: found 'mpq5', already used by {TUNNEL5}"]),
    (
        {"server_tun": "5"},
        [
            (
                f"{LINK}: server_tun: found '5', expected an interface name of 1 to 15 characters"
                " (letters, digits, _ -), a letter first"
            )
        ],
    ),
    ({"server_tun": 5}, [f"{LINK}: server_tun: found 5, {NAME}"]),
    ({"suffix": "Five"}, [f"{LINK}: suffix: found 'Five', expected 1 to 14 of a-z 0-9 _"]),
    (
        {"suffix": "abcdefghijklmn"},
        [
            f"{LINK}: classes[{n}]: name: found '{name}', expected at most 15 characters with the suffix abcdefghijklmn"
            for n, name in enumerate(("cr", "df", "bk"))
        ],
    ),
    ({"network": "10.200.10.0/30"}, [f"{LINK}: network: found '10.200.10.0/30', {NETWORK}"]),
    (
        {"network": "10.200.10.0/29"},
        [f"{LINK}: network: found 10.200.10.0/29, expected room for 12 addresses (four for each class, first 0)"],
    ),
    (
        {"first": 62},
        [f"{LINK}: network: found 10.200.10.0/24, expected room for 260 addresses (four for each class, first 62)"],
    ),
    (
        {"network": "10.200.5.0/24"},
        [
            f"{LINK}: network: found 10.200.5.0/24, overlaps tun_cidr 10.200.5.0/30 of {TUNNEL5}",
        ],
    ),
    (
        {"network": "172.16.5.0/24"},
        [f"{LINK}: network: found 172.16.5.0/24, overlaps lan_cidrs 172.16.5.0/30 of {TUNNEL5}"],
    ),
    (
        {"network": "203.0.113.0/24"},
        [f"{LINK}: network: found 203.0.113.0/24, contains the address 203.0.113.10 of vps1"],
    ),
    ({"network6": "fd00::/116"}, [f"{LINK}: network6: found 'fd00::/116', {NETWORK6}"]),
    (
        {"network6": "fd00::/64", "tun_mtu": 1279},
        [f"{LINK}: tun_mtu: found 1279, expected at least 1280, because the tunnel carries IPv6"],
    ),
    ({"lans": "enp7s1"}, [f"{LINK}: lans: found 'enp7s1', {LANS}"]),
    ({"lans": []}, [f"{LINK}: lans: found [], {LANS}"]),
    ({"lans": ["enp7 s1"]}, [f"{LINK}: lans[0]: found 'enp7 s1', {NAME}"]),
    (
        {"lans": ["enp7s9"]},
        [
            (
                f"{LINK}: lans[0]: found 'enp7s9', expected a lan of mpquic_tunnels, or a mapping such as"
                " {name: enp7s9, cidrs: [192.168.9.0/24]}"
            )
        ],
    ),
    ({"lans": ["enp7s1", "enp7s1"]}, [f"{LINK}: lans[1]: found 'enp7s1', already in the list"]),
    (
        {"lans": [{}]},
        [
            f"{LINK}: lans[0]: name: not set, expected the interface of the LAN",
            f"{LINK}: lans[0]: cidrs: not set, expected the prefixes behind it such as [192.168.9.0/24]",
        ],
    ),
    (
        {"lans": [{"name": "enp7s9", "cidrs": ["192.168.9.0"], "colour": 1}]},
        [
            f"{LINK}: lans[0]: colour: unknown key, expected one of name, cidrs",
            f"{LINK}: lans[0]: cidrs[0]: found '192.168.9.0', {LAN}",
        ],
    ),
    (
        {"lans": [{"name": "enp7s8", "cidrs": ["192.168.9.0/24"]}]},
        [f"{LINK}: lans[0]: found 'enp7s8', already the wan of {TUNNEL6}"],
    ),
    (
        {"lans": [{"name": "enp7s9", "cidrs": ["192.168.9.0/24", "192.168.9.128/25"]}]},
        [f"{LINK}: lans[0]: found 192.168.9.128/25, overlaps lans[0] 192.168.9.0/24 of the same entry"],
    ),
    (
        {"lans": [{"name": f"lan{n}", "cidrs": ["192.168.9.0/24"]} for n in (1, 2)]},
        [f"{LINK}: lans[1]: found 192.168.9.0/24, overlaps lans[0] 192.168.9.0/24 of the same entry"],
    ),
    (
        {"lans": [{"name": "enp7s9", "cidrs": ["172.16.5.0/30"]}]},
        [f"{LINK}: lans[0]: found 172.16.5.0/30, overlaps lan_cidrs 172.16.5.0/30 of {TUNNEL5}"],
    ),
    (
        {"lans": [{"name": "enp7s9", "cidrs": ["10.200.10.0/25"]}]},
        [f"{LINK}: lans[0]: found 10.200.10.0/25, overlaps network 10.200.10.0/24 of the same entry"],
    ),
    (
        {"lans": [{"name": "enp7s9", "cidrs": ["10.200.6.0/24"]}]},
        [f"{LINK}: lans[0]: found 10.200.6.0/24, overlaps tun_cidr 10.200.6.0/30 of {TUNNEL6}"],
    ),
    (
        {"lans": [{"name": "enp7s9", "cidrs": ["203.0.113.0/24"]}]},
        [f"{LINK}: lans[0]: found 203.0.113.0/24, contains the address 203.0.113.10 of vps1"],
    ),
    ({"classes": []}, [f"{LINK}: classes: found [], {CLASS_LIST}"]),
    ({"classes": {"name": "df"}}, [f"{LINK}: classes: found {{'name': 'df'}}, {CLASS_LIST}"]),
    (
        {"classes": ["df"]},
        [f"{LINK}: classes[0]: found 'df', expected a mapping such as {{name: df, default: true}}"],
    ),
    ({"classes": [CR, BK]}, [f"{LINK}: classes: found none with default: true, expected one"]),
    (
        {"classes": [CR, DF, {"name": "xx", "default": True}]},
        [
            f"{LINK}: classes[2] (xx): default: found True, expected one default class, as classes[1] (df) is",
        ],
    ),
    (
        {"classes": [DF, CR | {"name": "df"}]},
        [f"{LINK}: classes[1] (df): name: found 'df', already used by classes[0] (df)"],
    ),
    (
        {"classes": [DF | {"number": 0}, CR | {"number": 0}]},
        [f"{LINK}: classes[1] (cr): number: found 0, already used by classes[0] (df)"],
    ),
    (
        {"classes": [DF, {"match": [{"dscp": 46}]}]},
        [f"{LINK}: classes[1]: name: not set, expected the name of the class such as df"],
    ),
    (
        {"classes": [CR | {"share": 60}, DF | {"share": 36}]},
        [
            f"{LINK}: classes: found shares of 96 percent, expected at most 95 in all (5 are for what is in no class)",
        ],
    ),
    (
        {"classes": [CR | {"share": 94}, DF, BK]},
        [
            f"{LINK}: classes: found shares of 94 percent, expected at most 93, because 2 more have none of their own",
        ],
    ),
    (
        {
            "classes": [
                CR,
                DF,
                {"name": "xx", "match": [{"dports": 5060, "dscp": "ef", "protocol": "udp"}]},
                BK
                | {
                    "match": [
                        {"protocol": ["tcp", "udp"], "dports": ["10000-20000", 5060], "dscp": ["ef"]},
                        CR["match"][0],
                    ]
                },
            ]
        },
        [f"{LINK}: classes[3].match[1]: found the same as classes[0].match[0], expected a match of its own"],
    ),
]


@pytest.mark.parametrize(("values", "errors"), KEYS, ids=lambda value: str(value)[:60])
def test_keys_of_a_link(values, errors):
    assert refused(*classified(link(**values))) == errors


CLASS_KEYS = [
    ({"name": "Cr"}, [f"{LINK}: classes[0]: name: found 'Cr', expected 1 to 10 of a-z 0-9 _ that start with a letter"]),
    ({"default": "yes"}, [f"{CR_AT}: default: found 'yes', expected true or false"]),
    ({"priority": 8}, [f"{CR_AT}: priority: found 8, expected an integer from 0 to 7"]),
    ({"share": 0}, [f"{CR_AT}: share: found 0, expected an integer from 1 to 100"]),
    ({"outer_dscp": "high"}, [f"{CR_AT}: outer_dscp: found 'high', {DSCP}, or copy"]),
    ({"nat": 1}, [f"{CR_AT}: nat: found 1, expected true or false"]),
    ({"number": 8}, [f"{CR_AT}: number: found 8, expected an integer from 0 to 7"]),
    ({"table": 254}, [f"{CR_AT}: table: found 254, expected an integer from 256 to 4294967295"]),
    ({"table": 45002}, [f"{CR_AT}: table: found 45002, already used by client1: mpquic_tunnels[1] (id 2)"]),
    ({"table": 46018}, [f"{BK_AT}: table: found 46018, already used by {CR_AT}"]),
    ({"rule_priority": 0}, [f"{CR_AT}: rule_priority: found 0, expected an integer from 1 to 32765"]),
    ({"rule_priority": 502}, [f"{CR_AT}: rule_priority: found 502, already used by client1: mpquic_tunnels[1] (id 2)"]),
    (
        {"rule_priority": 600},
        [f"{CR_AT}: rule_priority: found 600, expected less than the priority 505 of {TUNNEL5}, {SAME_LAN}"],
    ),
    (
        {"colour": "red"},
        [f"{CR_AT}: colour: unknown key, expected one of {CLASS_KEY_LIST}"],
    ),
    (
        {"default": True},
        [
            (
                f"{CR_AT}: match: found [{{'protocol': 'udp', 'dports': [5060, '10000-20000'], 'ds..., expected none:"
                " the default class takes what no other class matches"
            )
        ],
    ),
    ({"match": []}, [f"{CR_AT}: match: found [], {MATCH_LIST}"]),
    ({"match": "udp"}, [f"{CR_AT}: match: found 'udp', {MATCH_LIST}"]),
    (
        {"nat": False},
        [
            (
                f"{CR_AT}: nat: found False, expected true, because 172.16.5.0/30 on enp7s1 is also of {TUNNEL5},"
                " to which the VPS routes it"
            )
        ],
    ),
]


@pytest.mark.parametrize(("values", "errors"), CLASS_KEYS, ids=lambda value: str(value)[:60])
def test_keys_of_a_class(values, errors):
    assert refused(*with_class(0, **values)) == errors


def test_a_class_that_is_neither_the_default_nor_has_a_match():
    assert refused(*classified(link(classes=[{"name": "cr"}, DF]))) == [
        f"{CR_AT}: match: not set, {MATCH_LIST}, or default: true"
    ]


MATCHES = [
    ({}, [f"{MATCH}: found {{}}, {MATCH_KEYS}"]),
    ("udp", [f"{MATCH}: found 'udp', {MATCH_KEYS}"]),
    ({"dport": 5060}, [f"{MATCH}: dport: unknown key, did you mean dports?"]),
    ({"lan": "enp7s2"}, [f"{MATCH}: lan: found 'enp7s2', expected one of the LANs of this entry (enp7s1)"]),
    ({"protocol": "quic"}, [f"{MATCH}: protocol: found 'quic', {PROTOCOL}"]),
    ({"protocol": [6, 256]}, [f"{MATCH}: protocol[1]: found 256, {PROTOCOL}"]),
    (
        {"protocol": []},
        [f"{MATCH}: protocol: found [], expected a value or a list of values; leave the key out for any"],
    ),
    ({"src": "172.16.5.2"}, [f"{MATCH}: src: found '172.16.5.2', {ANY}"]),
    (
        {"dst": ["192.0.2.1/24"]},
        [f"{MATCH}: dst[0]: found '192.0.2.1/24', expected a network without host bits, here 192.0.2.0/24"],
    ),
    ({"protocol": "udp", "dports": ["5060"]}, [f"{MATCH}: dports[0]: found '5060', {PORT}"]),
    ({"protocol": "udp", "dports": "20000-10000"}, [f"{MATCH}: dports: found '20000-10000', {PORT}"]),
    ({"protocol": "udp", "sports": 0}, [f"{MATCH}: sports: found 0, {PORT}"]),
    ({"protocol": "udp", "sports": "1-70000"}, [f"{MATCH}: sports: found '1-70000', {PORT}"]),
    ({"dscp": [64]}, [f"{MATCH}: dscp[0]: found 64, {DSCP}"]),
    ({"dscp": "copy"}, [f"{MATCH}: dscp: found 'copy', {DSCP}"]),
    ({"dports": [5060]}, [f"{MATCH}: dports: found without protocol, expected protocol tcp, udp or sctp"]),
    (
        {"protocol": ["tcp", "icmp"], "sports": 7},
        [f"{MATCH}: sports: found with protocol icmp, expected tcp, udp or sctp only"],
    ),
    (
        {"src": "172.16.5.0/30", "dst": "2001:db8::/32"},
        [f"{MATCH}: found src (IPv4) and dst (IPv6), expected what one packet can have"],
    ),
    (
        {"protocol": "icmpv6", "src": "172.16.5.0/30"},
        [f"{MATCH}: found src (IPv4) and protocol icmpv6, expected what one packet can have"],
    ),
]


@pytest.mark.parametrize(("match", "errors"), MATCHES, ids=lambda value: str(value)[:60])
def test_matches(match, errors):
    assert refused(*with_class(0, match=[match])) == errors


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        (
            {"id": 1},
            [
                (
                    "client1: mpquic_class_tunnels: found {'id': 1}, expected a list of links such as"
                    " {id: 1, wan: enp7s7, classes: [...]}"
                )
            ],
        ),
        (
            [7],
            ["client1: mpquic_class_tunnels[0]: found 7, expected a mapping with the keys id, wan and classes"],
        ),
        (
            [{}],
            [
                "client1: mpquic_class_tunnels[0]: id: not set, expected the link's number",
                "client1: mpquic_class_tunnels[0]: wan: not set, expected the interface it leaves by",
                (
                    "client1: mpquic_class_tunnels[0]: classes: not set, expected a list of classes such as"
                    " {name: df, default: true}"
                ),
            ],
        ),
    ],
    ids=["no list", "no mapping", "empty"],
)
def test_no_links(value, errors):
    groups, hostvars = classified()
    hostvars["client1"]["mpquic_class_tunnels"] = value
    assert refused(groups, hostvars) == errors


def test_a_tunnel_that_cannot_be_read_makes_no_more_errors():
    groups, hostvars = classified()
    hostvars["client1"]["mpquic_tunnels"][4]["lan"] = 7
    assert refused(groups, hostvars) == [f"{TUNNEL5}: lan: found 7, {NAME}"]


def test_the_shaper_has_to_know_classes_by_their_outside():
    assert refused(*classified(mpquic_wans=WAN5)) == [
        f"{LINK}: classes[1] (df): outer_dscp: found cs0 (0), expected another than that of classes[0] (cr), {SHAPER}",
        f"{BK_AT}: outer_dscp: found cs0 (0), expected another than that of classes[0] (cr), {SHAPER}",
    ]
    copied = [MARKED[0] | {"outer_dscp": "copy"}, *MARKED[1:]]
    assert refused(*classified(link(classes=copied), mpquic_wans=WAN5)) == [
        f"{CR_AT}: outer_dscp: found 'copy', expected a code point, {SHAPER}"
    ]
    assert refused(*classified(link(classes=copied))) == []


def test_a_code_point_that_two_classes_have_is_named_as_operators_know_it():
    assert refused(*classified(link(classes=[*MARKED[:2], BK | {"outer_dscp": 46}]), mpquic_wans=WAN5)) == [
        f"{BK_AT}: outer_dscp: found ef (46), expected another than that of classes[0] (cr), {SHAPER}"
    ]
    assert refused(
        *classified(link(classes=[CR | {"outer_dscp": 3}, DF, BK | {"outer_dscp": 3}]), mpquic_wans=WAN5)
    ) == [f"{BK_AT}: outer_dscp: found 3, expected another than that of classes[0] (cr), {SHAPER}"]


def test_all_that_is_wrong_among_classes_that_could_be_read_is_told_at_once():
    classes = [CR | {"share": 60}, DF | {"share": 36}, DF | {"name": "cr"}]
    assert refused(*classified(link(classes=classes), link(wan="enp7s8", colour=1))) == [
        f"{LINK}: classes[2] (cr): default: found True, expected one default class, as classes[1] (df) is",
        f"{LINK}: classes[2] (cr): name: found 'cr', already used by classes[0] (cr)",
        f"{LINK}: classes: found shares of 96 percent, expected at most 95 in all (5 are for what is in no class)",
        (
            "client1: mpquic_class_tunnels[1] (id 1): colour: unknown key, expected one of id, wan, classes, suffix,"
            " lans, port, server_tun, network, network6, first, tun_mtu, log_level, budget_rate, budget_packets"
        ),
        f"client1: mpquic_class_tunnels[1] (id 1): id: found 1, already used by {LINK}",
    ]


LAN2 = {"lans": ["enp7s2"]}


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        (
            {"id": 1, "wan": "enp7s8", "suffix": "5"},
            [f"client1: mpquic_class_tunnels[1] (id 1): id: found 1, already used by {LINK}"],
        ),
        (
            {"wan": "enp7s8", "lans": ["enp7s2", "enp7s1"]},
            [f"{OTHER}: lans[1]: found 172.16.5.0/30, overlaps lans 172.16.5.0/30 of {LINK}"],
        ),
        (
            {"wan": "enp7s8", "suffix": "5"},
            [
                f"{OTHER}: {place}: name and suffix: found '{place[-3:-1]}5', already used by {LINK}: {place}"
                for place in ("classes[0] (cr)", "classes[1] (df)", "classes[2] (bk)")
            ],
        ),
        ({"wan": "enp7s8", "port": 45010}, [f"{OTHER}: port: found 45010, already used by {LINK}"]),
        ({"wan": "enp7s8", "server_tun": "mt1"}, [f"{OTHER}: server_tun: found 'mt1', already used by {LINK}"]),
        (
            {"wan": "enp7s8", "network": "10.200.10.0/25"},
            [f"{OTHER}: network: found 10.200.10.0/25, overlaps network 10.200.10.0/24 of {LINK}"],
        ),
        (
            {"wan": "enp7s8", "lans": [{"name": "cr5", "cidrs": ["192.168.9.0/24"]}]},
            [f"{CR_AT}: name and suffix: found 'cr5', already the lan of {OTHER}"],
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_two_links_of_one_client(values, errors):
    assert refused(*classified(link(), link(**{"id": 2, **values}))) == errors


def test_two_links_on_one_wan():
    second = link(id=2, suffix="x", **LAN2)
    assert warned(*classified(link(), second)) == [f"{OTHER}: wan: enp7s7 also carries {LINK}"]
    shaped = [link(classes=MARKED), second | {"classes": MARKED}]
    assert refused(*classified(*shaped, mpquic_wans=WAN5)) == [
        f"{OTHER}: wan: found 'enp7s7', already used by {LINK}, and the rates of a WAN (mpquic_wans) are for one link"
    ]


def test_a_class_that_has_the_name_of_another_interface():
    groups, hostvars = classified()
    hostvars["client1"]["mpquic_tunnels"][0]["tun_name"] = "df5"
    assert refused(groups, hostvars) == [
        f"{LINK}: classes[1] (df): name and suffix: found 'df5', already used by client1: mpquic_tunnels[0] (id 1)"
    ]
    hostvars["client1"]["mpquic_tunnels"][0] |= {"tun_name": "mpq1", "wan": "df5"}
    assert refused(groups, hostvars) == [
        f"{LINK}: classes[1] (df): name and suffix: found 'df5', already the wan of client1: mpquic_tunnels[0] (id 1)"
    ]
    reserved = link(classes=[{"name": "al", "default": True}], suffix="l")
    assert refused(*classified(reserved)) == [
        f"{LINK}: classes[0]: name and suffix: found 'all', expected the name of an interface that carries traffic"
    ]


def test_the_vps_calls_a_class_by_a_name_that_the_daemon_takes():
    groups, hostvars = classified()
    host = "c" * 61
    groups["mpquic_clients"] = [host]
    hostvars[host] = hostvars.pop("client1")
    assert refused(groups, hostvars) == [
        f"{host}: mpquic_class_tunnels[0] (id 1): classes[{n}] ({name}): name: found '{name}', expected at most"
        f" 64 characters in {host}.{name}5, as the VPS calls it"
        for n, name in enumerate(("cr", "df", "bk"))
    ]


def test_a_legacy_client_hides_its_lan():
    lan = {"name": "enp7s9", "cidrs": ["192.168.9.0/24"]}
    classes = [DF | {"nat": False}]
    site = classified(link(lans=[lan], classes=classes), mpquic_legacy_from=["198.51.100.0/24"])
    assert refused(*site) == [
        f"{LINK}: classes[0] (df): nat: found False, expected true, because client1 is a legacy client"
    ]


SHARED = [
    (
        {"network": "10.202.0.0/16"},
        "port: found 45010, already used by {first}; links that share it need one server_tun and one network",
    ),
    (
        {"server_tun": "mt9"},
        "port: found 45010, already used by {first}; links that share it need one server_tun and one network",
    ),
    ({"tun_mtu": 1300}, "tun_mtu: found 1300, expected 1441 as {first} has, whose port and TUN it shares"),
    (
        {"first": 2},
        "first: found 2, cr1 would get 10.201.0.9 of {first}; 5 is free",
    ),
    ({"port": 45020}, "id: found 1, already used by {first}"),
    (
        {"port": 45020, "id": 2, "server_tun": "mt1"},
        "server_tun: found 'mt1', already used by {first}",
    ),
]


@pytest.mark.parametrize(("values", "error"), SHARED, ids=lambda value: str(value)[:50])
def test_clients_that_share_a_server_instance(values, error):
    groups, hostvars = many(2)
    hostvars["client1"]["mpquic_class_tunnels"][0] |= values
    first = "client0: mpquic_class_tunnels[0] (id 1)"
    number = values.get("id", 1)
    errors = refused(groups, hostvars)
    assert errors[0] == f"client1: mpquic_class_tunnels[0] (id {number}): {error.format(first=first)}"
    if number == 1:
        assert len(errors) == 1


def test_one_network6_for_all_that_share_an_instance():
    groups, hostvars = many(3)
    hostvars["client1"]["mpquic_class_tunnels"][0]["network6"] = "fd00:1::/64"
    hostvars["client2"]["mpquic_class_tunnels"][0]["network6"] = "fd00:2::/64"
    assert refused(groups, hostvars) == [
        (
            "client2: mpquic_class_tunnels[0] (id 1): network6: found fd00:2::/64, expected fd00:1::/64 as"
            " client1: mpquic_class_tunnels[0] (id 1) has, whose port and TUN it shares"
        )
    ]


def test_the_way_down_to_several_clients_has_no_rate():
    groups, hostvars = many(2, classes=MARKED)
    hostvars["client1"]["mpquic_wans"] = {"wan0": {"rate_up": "5mbit"}}
    assert refused(groups, hostvars) == []
    hostvars["client1"]["mpquic_wans"] = {"wan0": {"rate_down": "5mbit"}}
    assert refused(groups, hostvars) == [
        (
            "client1: mpquic_class_tunnels[0] (id 1): wan: found a rate_down of wan0 (mpquic_wans), expected none:"
            " the VPS cannot tell its packets from those of client0: mpquic_class_tunnels[0] (id 1),"
            " which has the same port"
        )
    ]


def test_lans_that_the_vps_routes_are_of_one_client():
    groups, hostvars = many(2, classes=[DF | {"nat": False}])
    second = "client1: mpquic_class_tunnels[0] (id 1)"
    assert refused(groups, hostvars) == [
        (
            f"{second}: lans[0]: found 192.168.1.0/24, overlaps lans[0] 192.168.1.0/24 of"
            " client0: mpquic_class_tunnels[0] (id 1)"
        )
    ]
    hostvars["client1"]["mpquic_tunnels"] = [{"id": 9, "wan": "w", "lan": "l", "lan_cidrs": ["192.168.1.0/25"]}]
    hostvars["client1"]["mpquic_class_tunnels"] = []
    assert refused(groups, hostvars) == [
        (
            "client0: mpquic_class_tunnels[0] (id 1): classes[0] (df): nat: found False, expected true, because"
            " 192.168.1.0/24 on lan0 is also of client1: mpquic_tunnels[0] (id 9), to which the VPS routes it"
        )
    ]


def test_a_lan_of_one_who_shares_the_instance_of_another_number():
    groups, hostvars = many(3, classes=[DF | {"nat": False}])
    lans = {
        host: [{"name": "lan0", "cidrs": [cidr]}]
        for host, cidr in (("client0", "192.168.9.0/24"), ("client1", "192.168.8.0/24"))
    }
    hostvars["client0"]["mpquic_class_tunnels"][0] |= {"lans": lans["client0"]}
    second = {"id": 2, "port": 45020, "server_tun": "mt2", "network": "10.202.0.0/16"}
    hostvars["client1"]["mpquic_class_tunnels"][0] |= {"lans": lans["client1"], **second}
    # It has the number of the first link and meets the second.
    hostvars["client2"]["mpquic_class_tunnels"][0] |= {"lans": lans["client0"], **second, "id": 1}
    assert refused(groups, hostvars) == [
        (
            "client2: mpquic_class_tunnels[0] (id 1): lans[0]: found 192.168.9.0/24, overlaps lans[0] 192.168.9.0/24 of"
            " client0: mpquic_class_tunnels[0] (id 1)"
        )
    ]


# Of the matches of cr and bk, what is said of the one of bk.
SHADOWS = [
    ({"protocol": "udp"}, {"protocol": "udp", "dports": [53]}, True),
    ({"protocol": "udp", "dports": [53]}, {"protocol": "udp"}, False),
    ({"protocol": ["udp", "tcp"], "dports": ["1-100", "101-200"]}, {"protocol": "tcp", "dports": ["50-150"]}, True),
    ({"protocol": "udp", "dports": ["1-100", "102-200"]}, {"protocol": "udp", "dports": ["50-150"]}, False),
    ({"dst": ["192.0.2.0/25", "192.0.2.128/25"]}, {"dst": "192.0.2.0/24"}, True),
    ({"dst": ["192.0.2.0/25"]}, {"dst": "192.0.2.0/24"}, False),
    ({"dst": "0.0.0.0/0"}, {"dscp": "ef"}, True),
    ({"src": "172.16.5.0/24"}, {"dscp": "ef"}, True),
    ({"src": "172.16.5.2/32"}, {"dscp": "ef"}, False),
    ({"lan": "enp7s1"}, {"protocol": "gre"}, True),
    ({"dscp": ["ef", "cs5"]}, {"dscp": 40, "protocol": 6}, True),
    ({"dscp": "ef"}, {"protocol": "udp"}, False),
    ({"protocol": "udp", "sports": ["1-65535"]}, {"protocol": "udp", "sports": 7}, True),
    # The LAN has no IPv6.
    ({"protocol": "icmp"}, {"protocol": ["icmp", "icmpv6"]}, True),
]


@pytest.mark.parametrize(("earlier", "later", "hidden"), SHADOWS, ids=lambda value: str(value)[:50])
def test_a_match_that_an_earlier_class_hides(earlier, later, hidden):
    classes = [CR | {"match": [{"protocol": "esp"}, earlier]}, DF, BK | {"match": [later]}]
    lines = warned(*classified(link(classes=classes)))
    assert lines == [f"{LINK}: classes[2].match[0]: never matches, classes[0].match[1] takes all of it"] * hidden


def test_a_match_for_one_of_two_lans_does_not_hide_the_other():
    lans = ["enp7s1", "enp7s2"]
    for earlier, hidden in ((["enp7s1"], 0), (["enp7s2", "enp7s1"], 1)):
        classes = [CR | {"match": [{"lan": earlier}]}, DF, BK]
        assert len(warned(*classified(link(lans=lans, classes=classes)))) == hidden


def test_a_match_for_one_family_does_not_hide_the_other():
    for cidrs, hidden in ((["192.168.9.0/24"], 1), (["192.168.9.0/24", "fd00:9::/64"], 0)):
        classes = [CR | {"match": [{"dst": "0.0.0.0/0"}]}, DF, BK]
        lans = [{"name": "enp7s9", "cidrs": cidrs}]
        assert len(warned(*classified(link(lans=lans, classes=classes)))) == hidden


@pytest.mark.parametrize("match", [{"src": "192.0.2.0/24"}, {"dst": "2001:db8::/32"}, {"protocol": "icmpv6"}])
def test_a_match_that_no_lan_sends(match):
    assert warned(*with_class(0, match=[match])) == [
        f"{MATCH}: never matches, no prefix of its LANs sends such packets"
    ]


def test_two_errors_of_one_link_are_both_told():
    classes = copy.deepcopy(CLASSES)
    classes[0]["match"][0]["dscp"] = 64
    classes[2]["share"] = "half"
    assert refused(*classified(link(classes=classes, tun_mtu=1))) == [
        f"{LINK}: tun_mtu: found 1, expected an integer from 576 to 9000",
        f"{MATCH}: dscp[0]: found 64, {DSCP}".replace("dscp[0]", "dscp"),
        f"{BK_AT}: share: found 'half', expected an integer from 1 to 100",
    ]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1.2.3.4", "::/0", "a-b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
LINK_KEYS = ["id", "wan", "suffix", "lans", "port", "server_tun", "network", "network6", "first", "tun_mtu", "classes"]
IN_CLASS = ["name", "default", "match", "priority", "share", "outer_dscp", "nat", "number", "table", "rule_priority"]
IN_MATCH = ["lan", "protocol", "src", "dst", "sports", "dports", "dscp"]


@settings(deadline=None)  # a busy machine is no error of the planner
@given(st.sampled_from(LINK_KEYS), st.sampled_from(IN_CLASS), st.sampled_from(IN_MATCH), JUNK, st.integers(0, 2))
def test_no_junk_raises(in_link, in_class, in_match, junk, depth):
    if depth == 0:
        verdict(*classified(link(**{in_link: junk})))
    elif depth == 1:
        verdict(*with_class(0, **{in_class: junk}))
    else:
        verdict(*with_class(0, match=[{in_match: junk}]))
