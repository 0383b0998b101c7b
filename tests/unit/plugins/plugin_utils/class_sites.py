# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites with class tunnels for the tests of the planner."""

from __future__ import annotations

import copy

from sites import reference

WAN5 = {"enp7s7": {"rate_up": "20mbit", "rate_down": "30mbit"}}
CR = {"name": "cr", "match": [{"protocol": "udp", "dports": [5060, "10000-20000"], "dscp": ["ef"]}]}
DF = {"name": "df", "default": True}
BK = {"name": "bk", "match": [{"protocol": "tcp", "dports": ["5001-6000"]}]}
CLASSES = [CR, DF, BK]
# Where the outer DSCP tells them apart, as a shaper needs it.
MARKED = [CR | {"outer_dscp": "ef"}, DF, BK | {"outer_dscp": "cs1"}]


def link(**values):
    """Return the class link of WAN 5 as the operator writes it."""
    return {"id": 1, "wan": "enp7s7", "classes": copy.deepcopy(CLASSES)} | values


def classified(*links, **variables):
    """Return groups and hostvars of the reference site with class links beside its six tunnels."""
    groups, hostvars = reference()
    hostvars["client1"] |= {"mpquic_class_tunnels": list(links) or [link()], **variables}
    return groups, hostvars


def with_class(index, **values):
    """Return the reference site, in which one class has other keys."""
    classes = copy.deepcopy(CLASSES)
    classes[index] |= values
    return classified(link(classes=classes))


def many(clients, **values):
    """Return a site whose clients meet in one server instance, none with a tunnel without classes."""
    groups = {"mpquic_clients": [f"client{n}" for n in range(clients)], "mpquic_vps": ["vps1"]}
    hostvars = {"vps1": {"mpquic_public_address": "203.0.113.10"}}
    for n, host in enumerate(groups["mpquic_clients"]):
        shared = {
            "wan": "wan0",
            "network": "10.201.0.0/16",
            "first": 3 * n,
            "lans": [{"name": "lan0", "cidrs": ["192.168.1.0/24"]}],
        }
        hostvars[host] = {"mpquic_class_tunnels": [link(**shared | values)]}
    return groups, hostvars
