# SPDX-License-Identifier: GPL-3.0-or-later
"""One edit takes a class away, and lets the others show their LAN to the VPS; nothing of what is gone remains."""

from __future__ import annotations

import re
import shutil

import pytest
from conftest import INVENTORY, WEB, instances, matching, out, play, recap, run, unwatched, wait_for, watch
from flows import WEB6, flow, result, server
from links import ENDS, LAN, VPS_TUN
from test_flows import SIZE_OF_CALL, ends

TRACES = re.compile(r"bk5|10\.200\.10\.9\b|fd6d:7071:10::9\b|\b46018\b|0x0*130000|0x12?ffff.*130000|6d71:103\b")
LOOKS = (
    "find /etc /run/mpquic -path '*bk5*'",
    "grep -rsE 'bk5|10\\.200\\.10\\.9\\b|fd6d:7071:10::9\\b' /etc/mpquic /etc/systemd",
    "systemctl list-units --all --no-legend 'mpquic@*'",
    "ip -br address",
    "ip rule; ip -6 rule",
    "ip route show table all; ip -6 route show table all",
    "nft -s list ruleset",
    "for i in $(ls /sys/class/net); do tc qdisc show dev $i; tc class show dev $i; done",
    "mpquic status --json",
)


def traces(host: str) -> list[str]:
    """Return every line about a host that names the class ``bk``, its addresses, table, mark or place in the shaper."""
    return matching(host, LOOKS, TRACES)


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Take away the class ``bk`` and tunnel 5, and the NAT of the other classes."""
    inventory = tmp_path_factory.mktemp("site") / "inventory"
    shutil.copytree(INVENTORY, inventory)
    path = inventory / "host_vars" / "client1.yml"
    text = path.read_text()
    text = re.sub(r"  - \{id: 5.*\n", "", text)
    text = re.sub(r"      - name: bk\n(        .*\n)+", "", text)
    text = text.replace("default: true", "default: true\n        nat: false")
    text = text.replace("outer_dscp: ef", "outer_dscp: ef\n        nat: false")
    lan = '{name: enp7s1, cidrs: [172.16.5.0/30, "fd00:5::/64"]}'
    text = text.replace("    classes:", f'    suffix: "5"\n    lans: [{lan}]\n    classes:')
    path.write_text(text)
    before = {host: traces(host) for host in ENDS}
    others = {host: instances(host) for host in ENDS}
    result_ = play("--diff", inventory=inventory)
    recap(result_)
    wait_for(lambda: {instances("client1")[name]["state"] for name in ("cr5", "df5")} == {"up"}, seconds=20, what="up")
    with server():
        yield {"before": before, "others": others, "play": result_, "inventory": inventory}


def test_nothing_of_the_class_remains_on_either_end(changed):
    assert all(len(found) > 3 for found in changed["before"].values()), "there was nothing to be found before"
    assert {host: traces(host) for host in ENDS} == {host: [] for host in ENDS}


def test_the_tunnels_of_other_wans_did_not_notice(changed):
    for host in ENDS:
        now = instances(host)
        for name in ("1", "2", "3", "4", "6"):
            was = changed["others"][host][name]
            assert [now[name][key] for key in ("session", "pid", "connects")] == [
                was[key] for key in ("session", "pid", "connects")
            ]


def test_the_vps_sees_the_lan_and_answers_by_the_tunnel_of_the_flow(changed):
    with watch(*(("client1", name, "udp") for name in ("cr5", "df5")), ("vps1", "mt1", "udp")) as seen:
        running = [
            flow("calls", address, port, dscp, 1) for address in (WEB, WEB6) for port, dscp in ((5060, 46), (10000, 0))
        ]
        assert [result(process)["lost"] for process in running] == [0] * 4
    assert {ends(line)[0] for line in seen["vps1", "mt1"]} == {*LAN, WEB, WEB6}
    carried = {"up": 0, "down": 0}
    for line in seen["client1", "cr5"]:  # by bytes: the kernel may have got several packets as one
        carried["up" if ends(line)[2] in (WEB, WEB6) else "down"] += int(line.split()[-1])
    assert carried == dict.fromkeys(carried, 4 * 100 * SIZE_OF_CALL)
    assert seen["client1", "df5"] == []


@pytest.mark.parametrize("k", [0, 1], ids=["IPv4", "IPv6"])
def test_the_vps_reaches_the_lan_and_the_answer_takes_the_same_tunnel(changed, k):
    names = ("cr5", "df5")
    with watch(*(("client1", name, "icmp or (icmp6 and ip6[40] >= 128 and ip6[40] <= 129)") for name in names)) as seen:
        out("vps1", f"ping -c 5 -i 0.05 -W 1 -I {VPS_TUN[k]} {LAN[k]}")
    counts = {name: len(seen["client1", name]) for name in names}
    assert counts == {"cr5": 0, "df5": 10}, "nobody had carried this flow yet, so it is the default class's"


def test_explain_follows(changed):
    text = out("client1", f"mpquic explain --src {LAN[0]} --dst {WEB} --proto tcp --dport 5500 --iif enp7s1")
    assert "df5" in text
    assert "bk5" not in text


def test_a_second_run_changes_nothing(changed):
    result_ = play("--check", inventory=changed["inventory"])
    assert {host: counts["changed"] for host, counts in recap(result_).items()} == dict.fromkeys(ENDS, 0)


def test_without_its_tunnel_the_lan_goes_nowhere(changed):
    with unwatched("client1"):
        out("client1", "systemctl stop mpquic@cr5 && ip link del cr5")
        try:
            with watch(("isp5", "access", "udp port 5060")) as seen:
                assert result(flow("calls", WEB, 5060, 46, 0.3))["lost"] == 30
            assert seen["isp5", "access"] == []
        finally:
            out("client1", "systemctl start mpquic@cr5")
    wait_for(lambda: instances("client1")["cr5"]["state"] == "up", seconds=20, what="cr5 up")
    assert result(flow("calls", WEB, 5060, 46, 0.3))["lost"] == 0
    assert run("client1", "mpquic health check", check=False).returncode == 0
