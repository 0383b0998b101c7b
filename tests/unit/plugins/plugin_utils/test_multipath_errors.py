# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner says of bad multipath tunnels, and of those that look like a slip, line by line."""

from __future__ import annotations

import copy

import pytest
from class_sites import WAN5, link
from hypothesis import given, settings
from hypothesis import strategies as st
from multipath_sites import DATAPLANE, PATHS, multipath, tunnel, with_dataplane, with_path
from sites import changed
from verdicts import refused, verdict, warned

VARIABLE = "client1: mpquic_multipath_tunnels"
MP = f"{VARIABLE}[0] (id 1)"
OTHER = f"{VARIABLE}[1] (id 2)"
TUNNEL1 = "client1: mpquic_tunnels[0] (id 1)"
TUNNEL5 = "client1: mpquic_tunnels[4] (id 5)"
LINK = "client1: mpquic_class_tunnels[0] (id 1)"
NAME = "expected an interface name of 1 to 15 characters (letters, digits, . _ -)"
LAN = "expected an IPv4 network of /8 to /32 or an IPv6 network of /16 to /128 such as 172.16.1.0/30"
LABEL = "expected 1 to 64 letters, digits, . _ -"
PATH_LIST = "expected a list of at least one path such as [{wan: enp7s3}, {wan: enp7s4}]"
KNOWN_PATHS = "expected one of its paths (enp7s3, enp7s4, enp7s5)"
POLICY = "expected one of priority, failover, balanced"


KEYS = [
    ({"id": 65}, [f"{VARIABLE}[0] (id 65): id: found 65, expected an integer from 1 to 64"]),
    ({"lan": "en p"}, [f"{MP}: lan: found 'en p', {NAME}"]),
    ({"lan": "enp7s3"}, [f"{MP}: lan: found 'enp7s3', already the wan of {TUNNEL1}"]),
    ({"lan_cidrs": ["172.16.6.0"]}, [f"{MP}: lan_cidrs[0]: found '172.16.6.0', {LAN}"]),
    ({"polic": "priority"}, [f"{MP}: polic: unknown key, did you mean policy?"]),
    ({"policy": "fastest"}, [f"{MP}: policy: found 'fastest', {POLICY}"]),
    ({"port": 80}, [f"{MP}: port: found 80, expected an integer from 1024 to 65535"]),
    ({"port": 45005}, [f"{MP}: port: found 45005, already used by {TUNNEL5}"]),
    ({"tun_name": "mpq5"}, [f"{MP}: tun_name: found 'mpq5', already used by {TUNNEL5}"]),
    ({"tun_name": "enp7s5"}, [f"{MP}: tun_name: found 'enp7s5', already the wan of client1: mpquic_tunnels[2] (id 3)"]),
    (
        {"tun_name": "5"},
        [
            (
                f"{MP}: tun_name: found '5', expected an interface name of 1 to 15 characters"
                " (letters, digits, _ -), a letter first"
            )
        ],
    ),
    ({"tun_mtu": 100}, [f"{MP}: tun_mtu: found 100, expected an integer from 576 to 9000"]),
    (
        {"tun_mtu": 1279, "lan_cidrs": ["fd00:6::/64"]},
        [f"{MP}: tun_mtu: found 1279, expected at least 1280, because the tunnel carries IPv6"],
    ),
    ({"telemetry_interval": 3601}, [f"{MP}: telemetry_interval: found 3601, expected an integer from 0 to 3600"]),
    ({"log_level": "all"}, [f"{MP}: log_level: found 'all', expected one of debug, info, error"]),
    ({"budget_packets": 0}, [f"{MP}: budget_packets: found 0, expected an integer from 1 to 1000000000"]),
    ({"table": 45001}, [f"{MP}: table: found 45001, already used by {TUNNEL1}"]),
    ({"rule_priority": 501}, [f"{MP}: rule_priority: found 501, already used by {TUNNEL1}"]),
    (
        {"tun_cidr": "10.200.5.0/30"},
        [f"{MP}: tun_cidr: found 10.200.5.0/30, overlaps tun_cidr 10.200.5.0/30 of {TUNNEL5}"],
    ),
    (
        {"lan_cidrs": ["172.16.0.0/22"]},
        [
            (
                f"{MP}: lan_cidrs: found 172.16.0.0/22, overlaps lan_cidrs 172.16.{i}.0/30 of"
                f" client1: mpquic_tunnels[{i - 1}] (id {i})"
            )
            for i in (1, 2, 3)
        ],
    ),
    (
        {"lan_cidrs": ["203.0.113.0/24"]},
        [f"{MP}: lan_cidrs: found 203.0.113.0/24, contains the address 203.0.113.10 of vps1"],
    ),
    (
        {"lan_cidrs": ["10.200.17.0/24"]},
        [f"{MP}: lan_cidrs: found 10.200.17.0/24, overlaps tun_cidr 10.200.17.0/30 of the same tunnel"],
    ),
    ({"paths": []}, [f"{MP}: paths: found [], {PATH_LIST}"]),
    ({"paths": "enp7s3"}, [f"{MP}: paths: found 'enp7s3', {PATH_LIST}"]),
    (
        {"paths": [{"wan": f"wan{n}", "connections": 8} for n in range(32)]},
        [f"{MP}: paths: found 256 connections in all, expected at most 255"],
    ),
]


@pytest.mark.parametrize(("values", "errors"), KEYS, ids=lambda value: None)
def test_a_wrong_key_is_named(values, errors):
    assert refused(*multipath(tunnel(**values))) == errors


PATH_KEYS = [
    ({"wan": "enp7 s3"}, [f"{MP}: paths[1]: wan: found 'enp7 s3', {NAME}"]),
    ({"wan": "enp7s2"}, [f"{MP}: lan: found 'enp7s2', already the wan of {MP}: paths[1]"]),
    ({"bind_ip": "enp7s4"}, None),
    ({"name": "a b"}, [f"{MP}: paths[1]: name: found 'a b', {LABEL}"]),
    ({"name": "enp7s3"}, [f"{MP}: paths[1]: name: found 'enp7s3', already used by paths[0]"]),
    ({"priority": 65536}, [f"{MP}: paths[1]: priority: found 65536, expected an integer from 0 to 65535"]),
    ({"weight": 0}, [f"{MP}: paths[1]: weight: found 0, expected an integer from 1 to 1000"]),
    ({"weight": True}, [f"{MP}: paths[1]: weight: found True, expected an integer from 1 to 1000"]),
    ({"connections": 9}, [f"{MP}: paths[1]: connections: found 9, expected an integer from 1 to 8"]),
    (
        {"rate_up": "20mbps"},
        [
            (
                f"{MP}: paths[1]: rate_up: found '20mbps', expected a rate from 32kbit to 100gbit such as 500kbit,"
                " 20mbit or 1gbit"
            )
        ],
    ),
]


@pytest.mark.parametrize(("values", "errors"), PATH_KEYS, ids=lambda value: None)
def test_a_wrong_key_of_a_path_is_named(values, errors):
    known = "wan, name, priority, weight, connections, metered, ping_interval, rate, rate_up, rate_down"
    expected = errors or [f"{MP}: paths[1]: bind_ip: unknown key, expected one of {known}"]
    assert refused(*with_path(1, **values)) == expected


CLASS = f"{MP}: dataplane: classes.calls"
FIRST = f"{MP}: dataplane: classifiers[0]"
DATAPLANES = [
    (
        {"classes": {}},
        [
            (
                f"{MP}: dataplane: found {{'default_class': 'rest', 'classes': {{}}, 'classifiers': [...,"
                " expected a mapping with classes such as"
                " {default_class: all, classes: {all: {scheduler_policy: balanced}}}"
            )
        ],
    ),
    ({"clases": 1}, [f"{MP}: dataplane: clases: unknown key, did you mean classes?"]),
    (
        {"default_class": "best"},
        [f"{MP}: dataplane: default_class: found 'best', expected one of its classes (calls, bulk, rest)"],
    ),
    ({"calls": {"spry": True}}, [f"{CLASS}: spry: unknown key, did you mean spray?"]),
    ({"calls": {"scheduler_policy": "fast"}}, [f"{CLASS}: scheduler_policy: found 'fast', {POLICY}"]),
    ({"calls": {"duplicate": 1}}, [f"{CLASS}: duplicate: found 1, expected true or false"]),
    (
        {"calls": {"duplicate": True, "duplicate_copies": 4}},
        [f"{CLASS}: duplicate_copies: found 4, expected an integer from 2 to 3"],
    ),
    ({"calls": {"preferred_paths": ["lte"]}}, [f"{CLASS}: preferred_paths[0]: found 'lte', {KNOWN_PATHS}"]),
    (
        {"calls": {"preferred_paths": "enp7s3"}},
        [
            (
                f"{CLASS}: preferred_paths: found 'enp7s3', expected a list of names, each one of its paths"
                " (enp7s3, enp7s4, enp7s5)"
            )
        ],
    ),
    (
        {"calls": {"preferred_paths": ["enp7s3"], "excluded_paths": ["enp7s3"]}},
        [f"{CLASS}: excluded_paths: found 'enp7s3', expected none of its preferred_paths"],
    ),
    (
        {"calls": {"excluded_paths": ["enp7s3", "enp7s4", "enp7s5"]}},
        [f"{CLASS}: excluded_paths: found all paths, expected at least one that is left"],
    ),
    (
        {"calls": {"duplicate": True, "spray": True}},
        [f"{CLASS}: spray: found True, expected false beside duplicate: true, since what is sprayed is sent once"],
    ),
    (
        {"calls": {"duplicate": True, "excluded_paths": ["enp7s3", "enp7s4"]}},
        [
            (
                f"{CLASS}: duplicate: found True, expected at least two WANs for it;"
                " the paths that are not excluded leave by 1"
            )
        ],
    ),
    (
        {"classifiers": [{"name": "sip", "class": "cals"}]},
        [f"{FIRST} (sip): class: found 'cals', expected one of its classes (calls, bulk, rest)"],
    ),
    ({"classifiers": [{"protocol": "udp"}]}, [f"{FIRST}: class: not set, expected one of calls, bulk, rest"]),
    (
        {"classifiers": [{"class": "calls", "dst_ports": ["6-5"]}]},
        [
            (
                f"{FIRST}: dst_ports[0]: found '6-5', expected a port from 1 to 65535 or a range such as 10000-20000,"
                " the lower one first"
            )
        ],
    ),
    (
        {"classifiers": [{"class": "calls", "protocol": "icmp", "dst_ports": [5]}]},
        [f"{FIRST}: dst_ports: found with protocol icmp, expected tcp, udp or sctp only"],
    ),
    (
        {"classifiers": [{"class": "calls", "src_cidrs": ["172.16.6.2/32"], "dst_cidrs": ["2001:db8::/32"]}]},
        [f"{FIRST}: found src_cidrs (IPv4) and dst_cidrs (IPv6), expected what one packet can have"],
    ),
    (
        {"classifiers": [{"class": "calls", "dscp": [46]}, {"class": "bulk", "dscp": ["ef"]}]},
        [f"{MP}: dataplane: classifiers[1]: found the same as classifiers[0], expected a match of its own"],
    ),
    (
        {"classifiers": [{"name": "a", "class": "calls", "dscp": 46}, {"name": "a", "class": "bulk"}]},
        [f"{MP}: dataplane: classifiers[1] (a): name: found 'a', already used by classifiers[0] (a)"],
    ),
]


@pytest.mark.parametrize(("values", "errors"), DATAPLANES, ids=lambda value: None)
def test_a_wrong_dataplane_is_named(values, errors):
    values = copy.deepcopy(values)
    if "calls" in values:
        values["classes"] = DATAPLANE["classes"] | {"calls": values.pop("calls")}
    assert refused(*with_dataplane(**values)) == errors


def test_many_paths_cannot_have_many_classes():
    paths = [{"wan": f"wan{n}", "connections": 5} for n in range(26)]
    classes = {f"c{n}": {} for n in range(8)}
    entry = tunnel(paths=paths, dataplane={"default_class": "c0", "classes": classes})
    assert refused(*multipath(entry)) == [
        f"{MP}: dataplane: classes: found 8 for 130 connections, expected a product of at most 1024"
    ]


def test_several_classes_need_a_default():
    dataplane = {key: DATAPLANE[key] for key in ("classes", "classifiers")}
    assert refused(*multipath(tunnel(dataplane=dataplane))) == [
        f"{MP}: dataplane: default_class: not set, expected the class of what no classifier takes (calls, bulk, rest)"
    ]


def test_what_is_not_set_is_named():
    assert refused(*multipath({"id": 1})) == [
        f"{MP}: lan: not set, expected the interface of its LAN",
        f"{MP}: lan_cidrs: not set, expected the prefixes behind it such as [172.16.6.0/30]",
        f"{MP}: paths: not set, expected the WANs it leaves by such as [{{wan: enp7s3}}, {{wan: enp7s4}}]",
    ]
    assert refused(*multipath(tunnel(paths=[{}]))) == [
        f"{MP}: paths[0]: wan: not set, expected the interface it leaves by"
    ]


def second(**values):
    return {
        "id": 2,
        "lan": "enp7s9",
        "lan_cidrs": ["192.168.9.0/24"],
        "paths": [{"wan": "enp7s3"}, {"wan": "enp7s4"}],
        **values,
    }


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"id": 1}, f"{VARIABLE}[1] (id 1): id: found 1, already used by {MP}"),
        ({"port": 45017}, f"{OTHER}: port: found 45017, already used by {MP}"),
        ({"tun_name": "mp1"}, f"{OTHER}: tun_name: found 'mp1', already used by {MP}"),
        ({"table": 47001}, f"{OTHER}: table: found 47001, already used by {MP}"),
        ({"rule_priority": 401}, f"{OTHER}: rule_priority: found 401, already used by {MP}"),
        (
            {"tun_cidr": "10.200.17.0/30"},
            f"{OTHER}: tun_cidr: found 10.200.17.0/30, overlaps tun_cidr 10.200.17.0/30 of {MP}",
        ),
        (
            {"lan_cidrs": ["172.16.6.0/24"]},
            f"{OTHER}: lan_cidrs: found 172.16.6.0/24, overlaps lan_cidrs 172.16.6.0/30 of {MP}",
        ),
    ],
)
def test_two_of_one_client_are_compared(values, error):
    assert refused(*multipath(tunnel(), second(**values))) == [error]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"id": 1}, f"client2: mpquic_multipath_tunnels[0] (id 1): id: found 1, already used by {MP}"),
        (
            {"lan_cidrs": ["172.16.6.0/24"]},
            (
                "client2: mpquic_multipath_tunnels[0] (id 2): lan_cidrs: found 172.16.6.0/24, overlaps lan_cidrs"
                f" 172.16.6.0/30 of {MP}"
            ),
        ),
    ],
)
def test_those_of_two_clients_are_compared_on_their_vps(values, error):
    groups, hostvars = multipath()
    groups["mpquic_clients"].append("client2")
    hostvars["client2"] = {"mpquic_multipath_tunnels": [second(**values)]}
    assert refused(groups, hostvars) == [error]
    # Each on a VPS of its own they have nothing to do with each other.
    groups["mpquic_vps"].append("vps2")
    hostvars["vps2"] = {"mpquic_public_address": "203.0.113.11"}
    hostvars["client1"]["mpquic_server"] = "vps1"
    hostvars["client2"]["mpquic_server"] = "vps2"
    assert warned(groups, hostvars) == []


BESIDE_LINK = [
    ({"id": 4}, {"id": 2}, f"{VARIABLE}[0] (id 4): port: found 45020, already used by"),
    ({"tun_name": "mt1"}, {}, f"{MP}: tun_name: found 'mt1', already used by"),
    ({"tun_name": "df5"}, {}, f"{LINK}: classes[1] (df): name and suffix: found 'df5', already used by {MP}"),
    ({"table": 46016}, {}, f"{MP}: table: found 46016, already used by {LINK}: classes[0] (cr)"),
    ({"rule_priority": 200}, {}, f"{MP}: rule_priority: found 200, already used by {LINK}: classes[0] (cr)"),
    ({"tun_cidr": "10.200.10.8/30"}, {}, f"{MP}: tun_cidr: found 10.200.10.8/30, overlaps network 10.200.10.0/24 of"),
    (
        {},
        {"lans": [{"name": "enp7s2", "cidrs": ["172.16.6.0/30"]}]},
        f"{MP}: lan_cidrs: found 172.16.6.0/30, overlaps lans[0] 172.16.6.0/30 of {LINK}",
    ),
]


@pytest.mark.parametrize(("values", "of_link", "error"), BESIDE_LINK, ids=lambda value: None)
def test_it_is_compared_with_class_links(values, of_link, error):
    errors = refused(*multipath(tunnel(**values), mpquic_class_tunnels=[link(**of_link)]))
    assert error in errors[0]
    # A link of another number has another network as well.
    assert len(errors) == (2 if "id" in values else 1)


def test_a_lan_that_another_client_shows_the_vps_is_not_behind_a_multipath_tunnel():
    groups, hostvars = multipath()
    groups["mpquic_clients"].append("client2")
    shown = {"name": "lan0", "cidrs": ["172.16.6.0/24"]}
    classes = [{"name": "df", "default": True, "nat": False}]
    hostvars["client2"] = {"mpquic_class_tunnels": [{"id": 1, "wan": "wan0", "lans": [shown], "classes": classes}]}
    at = "client2: mpquic_class_tunnels[0] (id 1)"
    assert refused(groups, hostvars) == [
        f"{MP}: lan_cidrs: found 172.16.6.0/30, overlaps lans[0] 172.16.6.0/24 of {at}"
    ]
    # Behind NAT the VPS does not see it.
    classes[0]["nat"] = True
    assert warned(groups, hostvars) == []


def test_neither_end_may_be_an_old_one():
    groups, hostvars = multipath()
    old = changed(hostvars, "client1", mpquic_legacy_from=["198.51.100.0/24"])
    assert refused(groups, old) == [
        f"{MP}: found beside mpquic_legacy_from, expected a client that runs this collection"
    ]
    old = changed(hostvars, "vps1", mpquic_legacy_pin="sha256:" + "ab" * 32)
    assert refused(groups, old) == [f"{MP}: its VPS vps1 has mpquic_legacy_pin, expected one that runs this collection"]


def test_a_site_without_any_tunnel_is_told_of_all_kinds():
    groups, hostvars = multipath()
    del hostvars["client1"]["mpquic_tunnels"]
    assert warned(groups, hostvars) == []
    del hostvars["client1"]["mpquic_multipath_tunnels"]
    assert refused(groups, hostvars)[0].startswith("client1: mpquic_tunnels: not set")


def test_the_name_of_the_variable_may_be_misspelt():
    groups, hostvars = multipath(mpquic_multipath_tunnel=[])
    assert warned(groups, hostvars) == [
        "client1: mpquic_multipath_tunnel: unknown variable, did you mean mpquic_multipath_tunnels?"
    ]


def test_slips_are_mentioned():
    assert warned(*with_path(1, wan="enp7s3", name="again")) == [
        f"{MP}: paths[1]: wan: enp7s3 is also that of paths[0]: they fail together"
    ]
    assert warned(*multipath(tunnel(paths=[{"wan": "enp7s3", "connections": 2}]))) == [
        f"{MP}: paths: enp7s3 is the only one, nothing can take over when it fails"
    ]
    assert warned(*with_dataplane(classifiers=DATAPLANE["classifiers"][:1])) == [
        f"{MP}: dataplane: classes.bulk: no classifier has this class"
    ]
    copies = {"calls": {"duplicate": True, "duplicate_copies": 3, "excluded_paths": ["enp7s4"]}}
    assert warned(*with_dataplane(classes=DATAPLANE["classes"] | copies)) == [
        (
            f"{MP}: dataplane: classes.calls: duplicate: the paths that are not excluded leave by 2 WANs,"
            " so there are no 3 copies"
        )
    ]
    single = {"calls": {"duplicate_copies": 2}}
    assert warned(*with_dataplane(classes=DATAPLANE["classes"] | single)) == [
        f"{MP}: dataplane: classes.calls: duplicate_copies: not used without duplicate: true"
    ]


def test_an_entry_that_could_not_be_read_is_not_mentioned():
    for paths in ([{"wan": 7}, {"wan": "enp7s3"}, {"wan": "en p"}], [{"wan": "enp7s3"}] * 2 + [{"wan": 7}]):
        assert verdict(*multipath(tunnel(paths=paths)))["warnings"] == []
    unread = DATAPLANE["classes"] | {"calls": {"duplicate": 1, "duplicate_copies": 2}}
    assert verdict(*with_dataplane(classes=unread))["warnings"] == []


def test_an_entry_with_an_unknown_key_is_compared_with_others():
    paths = [*PATHS, {"wan": "enp7s3"}]
    assert refused(*multipath(tunnel(paths=paths, port=45001, polcy="priority"))) == [
        f"{MP}: polcy: unknown key, did you mean policy?",
        f"{MP}: paths[3]: name: found 'enp7s3', already used by paths[0]",
        f"{MP}: port: found 45001, already used by {TUNNEL1}",
    ]


def test_a_path_is_listed_once():
    paths = [{"wan": "enp7s3"}, {"wan": "enp7s3"}, {"wan": "enp7s4"}]
    assert refused(*multipath(tunnel(paths=paths, dataplane={"classes": {"all": {"preferred_paths": ["lte"]}}}))) == [
        f"{MP}: dataplane: classes.all: preferred_paths[0]: found 'lte', expected one of its paths (enp7s3, enp7s4)"
    ]


def test_classifiers_that_never_match_are_mentioned():
    shadowed = [{"class": "calls", "protocol": "udp"}, {"class": "bulk", "protocol": "udp", "dst_ports": [53]}]
    assert warned(*with_dataplane(classifiers=shadowed)) == [
        f"{MP}: dataplane: classifiers[1]: never matches, classifiers[0] takes all of it"
    ]
    foreign = [*DATAPLANE["classifiers"], {"class": "rest", "src_cidrs": ["172.16.5.0/30"]}]
    assert warned(*with_dataplane(classifiers=foreign)) == [
        f"{MP}: dataplane: classifiers[2]: never matches, no prefix of its LANs sends such packets"
    ]
    # What the client itself sends has the address of the TUN.
    own = [*DATAPLANE["classifiers"], {"class": "rest", "src_cidrs": ["10.200.17.1/32"]}]
    assert warned(*with_dataplane(classifiers=own)) == []


def test_a_vps_that_may_send_more_than_a_shaped_wan_carries_is_mentioned():
    shaped = {"mpquic_class_tunnels": [link(classes=[{"name": "df", "default": True}])], "mpquic_wans": WAN5}
    paths = [*PATHS, {"wan": "enp7s7"}]
    assert warned(*multipath(tunnel(paths=paths), **shaped)) == [
        f"{MP}: paths[3]: rate_down: not set, the VPS may send 30mbit by enp7s7 beside the 30mbit of {LINK}"
    ]
    paths[3]["rate_down"] = "10mbit"
    assert warned(*multipath(tunnel(paths=paths), **shaped)) == []


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 70000)
    | st.text(max_size=6)
    | st.sampled_from(["enp7s3", "udp", "rest"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["wan", "name", "class", "classes", "paths", "dst_ports", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*tunnel(), "dataplane", "policy", "tun_cidr6"]), JUNK)
def test_nothing_makes_it_fail(key, value):
    verdict(*multipath(tunnel(**{key: value})))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*DATAPLANE]), JUNK)
def test_no_dataplane_makes_it_fail(key, value):
    verdict(*with_dataplane(**{key: value}))
