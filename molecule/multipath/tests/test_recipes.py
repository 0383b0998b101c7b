# SPDX-License-Identifier: GPL-3.0-or-later
"""The recipes of docs/multipath.md, put on the machines by the play: each does what the page says."""

from __future__ import annotations

import re
import time

import pytest
from conftest import VPS_ADDRESS, WEB, capture, instances, out, play, recap, run, wait_for
from flows import flow, result, server
from paths import (
    ENDS,
    LAN,
    NAME,
    OTHERS,
    PORT,
    WANS,
    Carried,
    all_up,
    apply,
    black_hole,
    example,
    others,
    recipe,
    states,
    status,
    unplugged,
    write,
)

#: Packets a second of calls, and how many of them a fault may cost: half a second's.
RATE = 100
LOST = RATE // 2
CALLS, PLAIN, TALK = 5060, 10000, 443
FIRST, SECOND, THIRD = WANS.values()


@pytest.fixture(scope="module", autouse=True)
def _server():
    with server():
        yield


@pytest.fixture(scope="module")
def primary():
    """Add the tunnel: the recipe with its primary, and the page's classes."""
    before = others()
    dataplane = example("Classes")["dataplane"]
    result_ = apply(recipe("Primary and backups", dataplane=dataplane))
    all_up()
    return {"before": before, "play": result_, "pid": {host: instances(host)[NAME]["pid"] for host in ENDS}}


@pytest.fixture(scope="module")
def balanced(primary):
    """Turn the same tunnel into the recipe that balances."""
    before = {host: status(host) for host in ENDS}
    apply(recipe("Light balancing"))
    all_up()
    return before


@pytest.fixture(scope="module")
def resilient(balanced):
    """Turn it into the recipe with an expensive path."""
    apply(recipe("An expensive path for the worst case"))
    all_up()


def test_adding_it_disturbs_nobody(primary):
    assert others() == primary["before"]
    assert f"+  bind_ip: if:{FIRST}" in primary["play"].stdout
    assert [set(instances(host)) - set(OTHERS[host]) for host in ENDS] == [{NAME}] * 2


def test_a_second_run_changes_nothing(primary):
    result_ = play(inventory=write(recipe("Primary and backups", dataplane=example("Classes")["dataplane"])))
    assert {host: counts["changed"] for host, counts in recap(result_).items()} == dict.fromkeys(ENDS, 0)


def test_everything_takes_the_primary_both_ways(primary):
    with Carried() as carried, capture() as seen:
        found = result(flow("many", WEB, PLAIN, 100, 3, 20000, lan=LAN))
        assert out(LAN, f"curl -sS --max-time 10 http://{WEB}/ip").strip() == VPS_ADDRESS
    assert found["back"] == found["sent"] == 300
    for counts in (carried.up, carried.down):
        assert counts[FIRST] >= 300
        assert counts[SECOND] == counts[THIRD] == 0
    # Every path has its connection, and nothing of the LAN is outside of it.
    assert all(PORT in seen.ports(wan) for wan in WANS)
    assert [line for wan in WANS for line in seen.plain(wan)] == []


def test_ipv6_crosses(primary):
    out("client1", f"ping -6 -c 3 -i 0.2 -W 2 -I {NAME} fd6d:7071:1:1::2")


def test_calls_are_sent_on_two_paths_and_arrive_once(primary):
    before = {host: _classes(host)["calls"] for host in ENDS}
    with Carried() as carried:
        found = result(flow("calls", WEB, CALLS, 46, 2, lan=LAN))
    assert (found["sent"], found["lost"]) == (2 * RATE, 0)
    for counts in (carried.up, carried.down):
        assert min(counts[FIRST], counts[SECOND]) >= 2 * RATE
        assert counts[THIRD] == 0
    for host in ENDS:
        now = _classes(host)["calls"]
        for key in ("tx_packets", "tx_dups", "rx_packets", "rx_dups"):
            assert now[key] - before[host][key] == 2 * RATE, (host, key)


def _classes(host: str) -> dict[str, dict[str, int]]:
    entry = instances(host)[NAME]
    (entry,) = entry["peers"] if host == "vps1" else [entry]
    return {item["name"]: item for item in entry["classes"]}


def sent() -> int:
    return sum(path["tx_packets"] for path in status().values())


def _through(fault, seconds: float) -> dict[str, dict[str, float]]:
    """Run calls, the same twice on two paths, and TCP through a fault of 3 s; return what became of them."""
    before = sent()
    running = {
        "plain": flow("calls", WEB, PLAIN, 0, seconds, lan=LAN),
        "twice": flow("calls", WEB, CALLS, 46, seconds, lan=LAN),
        "tcp": flow("talk", WEB, TALK, seconds, lan=LAN),
    }
    wait_for(lambda: sent() - before > 3 * RATE, seconds=20, what="calls that have begun")
    with fault:
        time.sleep(3)
    return {name: result(process) for name, process in running.items()}


def test_a_silent_black_hole_of_the_primary(primary):
    began = out("client1", "date +%s.%N").strip()
    found = _through(black_hole(1), 12)
    assert 0 < found["plain"]["lost"] <= LOST, found
    assert found["twice"]["lost"] == 0, found
    assert found["tcp"]["back"] == found["tcp"]["said"], found
    # It came back within the time of the calls, without a loss of its own.
    assert states() == dict.fromkeys(WANS.values(), "up")
    with Carried() as carried:
        assert result(flow("many", WEB, PLAIN, 20, 3, 20000, lan=LAN))["back"] == 60
    assert carried.up[FIRST] >= 60
    assert carried.up[SECOND] == carried.down[SECOND] == 0
    told = out("client1", f"journalctl -q -o cat -u mpquic@{NAME} --since @{began}")
    assert re.search(rf"path suspect name={FIRST} reason=", told), told
    assert re.search(rf"path recovered name={FIRST} local=100\.64\.1\.\S+ remote={VPS_ADDRESS}:{PORT}", told), told


def test_a_wan_is_unplugged_and_plugged_in_again(primary):
    pids = primary["pid"]
    before = others(), status()
    found = _through(unplugged(1), 12)
    assert found["plain"]["lost"] <= LOST, found
    assert found["twice"]["lost"] == 0, found
    assert found["tcp"]["back"] == found["tcp"]["said"], found
    all_up()
    assert {host: instances(host)[NAME]["pid"] for host in ENDS} == pids
    now = status()
    assert [now[name]["session"] for name in (SECOND, THIRD)] == [
        before[1][name]["session"] for name in (SECOND, THIRD)
    ]
    assert now[FIRST]["session"] != before[1][FIRST]["session"]
    assert now[FIRST]["last_down"] is not None
    # Level 1 has the same WAN and found it again, too.
    wait_for(lambda: instances("client1")["1"]["state"] == "up", seconds=20, what="tunnel 1 up")


@pytest.mark.parametrize("host", ENDS)
def test_status_and_telemetry_tell_of_every_path_and_class(primary, host):
    time.sleep(2.5)
    text = out(host, "mpquic status")
    told = out(host, f"journalctl -q -o cat -u mpquic@{NAME} --since=-10s")
    for name in WANS.values():
        assert re.search(rf"\b{name}\b.*\bup\b", text), text
        counters = r"tx_pkts=\d+ rx_pkts=\d+ tx_err=\d+ rx_err=\d+ consecutiveFails=\d+"
        stamps = r"last_up=20\S+Z last_down=(-|20\S+Z)"
        assert re.search(rf"path telemetry name={name} state=up {counters} {stamps}", told), told
    for name in example("Classes")["dataplane"]["classes"]:
        assert re.search(rf"class telemetry class={name} tx_pkts=\d+ tx_err=\d+ tx_dups=\d+", told), told


def test_another_recipe_is_a_reload(balanced, primary):
    assert {host: instances(host)[NAME]["pid"] for host in ENDS} == primary["pid"]
    for host in ENDS:
        now = status(host)
        assert {name: path["session"] for name, path in now.items()} == {
            name: path["session"] for name, path in balanced[host].items()
        }
    assert [status()[name]["weight"] for name in WANS.values()] == [3, 2, 1]


def test_light_balancing_shares_by_weight_both_ways(balanced):
    # A path that has failed has less for minutes, and answers come by the path that the question took.
    weights = {name: path["weight"] / (1 + path["consecutive_fails"]) for name, path in status().items()}
    with Carried() as carried:  # new flows: what there was stays where it was
        found = result(flow("many", WEB, PLAIN, 600, 4, 21000, lan=LAN))
    assert found["back"] >= 0.99 * found["sent"]
    for counts in (carried.up, carried.down):
        total = sum(counts.values())
        for name, weight in weights.items():
            assert abs(counts[name] / total - weight / sum(weights.values())) < 0.1, (counts, weights)
        assert min(counts.values()) > 0, counts


def test_the_expensive_path_is_idle_while_another_works(resilient):
    with Carried() as carried:
        assert result(flow("many", WEB, PLAIN, 60, 5, 22000, lan=LAN))["back"] == 300
    assert min(carried.up[FIRST], carried.up[SECOND]) > 0
    assert carried.up[THIRD] == carried.down[THIRD] == 0


def test_the_expensive_path_takes_over_when_both_others_fail(resilient):
    before = sent()
    running = flow("calls", WEB, PLAIN, 0, 8, lan=LAN)
    wait_for(lambda: sent() - before > RATE, seconds=20, what="calls that have begun")
    with Carried() as carried, black_hole(1, 2):
        time.sleep(4)
    found = result(running)
    assert found["lost"] <= LOST, found
    assert carried.up[THIRD] > RATE, carried.up
    all_up()
    assert run(LAN, f"ping -c 3 -i 0.2 -W 2 {WEB}", check=False).returncode == 0
