# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites for the tests of the planner: the reference site, and strategies that draw valid ones."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

WANS = ["enp7s3", "enp7s4", "enp7s5", "enp7s6", "enp7s7", "enp7s8"]
LANS = ["enp6s20", "enp6s21", "enp6s22", "enp6s23", "enp7s1", "enp7s2"]


def reference():
    """Return groups and hostvars of the reference site."""
    tunnels = [{"id": i, "wan": wan, "lan": lan} for i, (wan, lan) in enumerate(zip(WANS, LANS, strict=True), start=1)]
    groups = {"mpquic_clients": ["client1"], "mpquic_vps": ["vps1"]}
    return groups, {"client1": {"mpquic_tunnels": tunnels}, "vps1": {"mpquic_public_address": "203.0.113.10"}}


@st.composite
def sites(draw, min_tunnels=0):
    """Draw a valid site: some VPSs, clients that share them, tunnels with some of their keys overridden."""
    servers = [f"vps{n}" for n in range(1, draw(st.integers(1, 3)) + 1)]
    clients = [f"client{n}" for n in range(1, draw(st.integers(1, 3)) + 1)]
    hostvars = {host: {"mpquic_public_address": f"203.0.113.{10 + n}"} for n, host in enumerate(servers)}
    ids = draw(
        st.lists(st.integers(1, 255), unique=True, min_size=max(min_tunnels, len(clients)), max_size=12)
        if min_tunnels
        else st.lists(st.integers(1, 255), unique=True, max_size=12)
    )
    for client in clients:
        hostvars[client] = {"mpquic_tunnels": []}
        if len(servers) > 1 or draw(st.booleans()):
            hostvars[client]["mpquic_server"] = draw(st.sampled_from(servers))
        if draw(st.booleans()):
            hostvars[client]["mpquic_wans"] = {"wan2": {"rate": "50mbit"}, "wan9": {"rate_up": "64kbit"}}
    for n, i in enumerate(ids):
        entry = {"id": i, "wan": f"wan{draw(st.integers(0, 5))}", "lan": f"lan{i}"}
        overrides = {
            "port": 20000 + i,
            "table": 1000 + i,
            "priority": 20000 + i,
            "tun_name": f"t{i}",
            "tun_cidr": draw(st.sampled_from([f"10.201.{i}.4/30", f"10.201.{i}.8/31"])),
            "lan_cidrs": draw(st.permutations([f"192.168.{i}.0/25", f"192.168.{i}.128/25", f"172.17.{i}.0/24"])),
            "tun_mtu": draw(st.integers(1200, 1420)),
            "log_level": draw(st.sampled_from(["debug", "info", "error"])),
            "rate": draw(st.sampled_from(["20mbit", "500kbit"])),
            "rate_up": "5Mbit",
            "rate_down": "1.5gbit",
        }
        entry |= {key: overrides[key] for key in draw(st.sets(st.sampled_from(sorted(overrides))))}
        client = clients[n] if n < len(clients) else draw(st.sampled_from(clients))
        hostvars[client]["mpquic_tunnels"].append(entry)
    return {"mpquic_clients": clients, "mpquic_vps": servers}, hostvars


def changed(hostvars, host, index=None, **values):
    """Return a copy in which a host's variables, or one tunnel's keys, are set."""
    result = copy.deepcopy(hostvars)
    target = result[host] if index is None else result[host]["mpquic_tunnels"][index]
    target.update(values)
    return result
