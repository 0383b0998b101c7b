# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites with multipath tunnels for the tests of the planner."""

from __future__ import annotations

import copy

from sites import reference

PATHS = [
    {"wan": "enp7s3", "priority": 10},
    {"wan": "enp7s4", "priority": 100},
    {"wan": "enp7s5", "priority": 200},
]
DATAPLANE = {
    "default_class": "rest",
    "classes": {
        "calls": {"duplicate": True, "preferred_paths": ["enp7s3"]},
        "bulk": {"scheduler_policy": "balanced", "spray": True, "excluded_paths": ["enp7s5"]},
        "rest": {},
    },
    "classifiers": [
        {"name": "sip", "class": "calls", "protocol": "udp", "dst_ports": [5060, "10000-20000"], "dscp": ["ef"]},
        {"class": "bulk", "protocol": ["tcp", "sctp"], "src_cidrs": ["172.16.6.2/32"], "dst_cidrs": ["192.0.2.0/24"]},
    ],
}


def tunnel(**values):
    """Return the multipath tunnel of LAN 6 as the operator writes it."""
    entry = {"id": 1, "lan": "enp7s2", "lan_cidrs": ["172.16.6.0/30"], "paths": copy.deepcopy(PATHS)}
    return entry | copy.deepcopy(values)


def multipath(*tunnels, **variables):
    """Return groups and hostvars of the reference site, whose LAN 6 has a multipath tunnel."""
    groups, hostvars = reference()
    del hostvars["client1"]["mpquic_tunnels"][5]
    hostvars["client1"] |= {"mpquic_multipath_tunnels": list(tunnels) or [tunnel()], **variables}
    return groups, hostvars


def with_path(index, **values):
    """Return the site, in which one path has other keys."""
    paths = copy.deepcopy(PATHS)
    paths[index] |= values
    return multipath(tunnel(paths=paths))


def with_dataplane(**values):
    """Return the site with a dataplane that has other keys."""
    return multipath(tunnel(dataplane=DATAPLANE | values))
