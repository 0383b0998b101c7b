# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

from tests.bench.floors import judge
from tests.bench.results import Problem, Sample


def statuses(results):
    return {verdict.text: verdict.status for verdict in judge(results)}


def test_a_ratio_of_medians_is_compared_with_its_floor(results):
    # 1100 to 400 is 2.75, 1100 to 500 is 2.2; the floor is 2.5.
    assert statuses(results) == {
        "W2 TCP to the server to wireguard-go, Debian 12": "PASS",
        "W2 TCP to the server to OpenVPN": "FAIL",
        "W2 TCP to the client to wireguard-go, Debian 12": "PASS",
        "W2 TCP to the client to OpenVPN": "FAIL",
        # 12.5 us; the floor is 5.
        "W2 CPU per packet, TCP to the server": "FAIL",
        "W2 CPU per packet, TCP to the client": "FAIL",
    }


def test_a_floor_is_reached_by_the_ratio_as_printed(results):
    for mbit, cpu_us, status in ((1248.0, 5.004, "PASS"), (1247.0, 5.006, "FAIL")):
        results.samples = [
            replace(sample, values={"mbit": mbit if sample.peer == "mpquic" else 500.0, "cpu_us": cpu_us})
            for sample in results.samples
        ]
        assert set(statuses(results).values()) == {status}


def test_one_failed_round_of_ours_is_a_failure(results):
    results.problems.append(Problem(2, "W2", "mpquic", "tcp", "it fell over"))
    found = {verdict.text: verdict for verdict in judge(results)}["W2 TCP to the server to wireguard-go, Debian 12"]
    assert (found.status, found.found) == ("FAIL", "round 2: it fell over")


def test_a_rival_without_a_figure_is_a_failure_with_its_reason(results):
    results.samples = [sample for sample in results.samples if sample.peer != "openvpn"]
    results.problems.append(Problem(1, "W2", "openvpn", "tcp", "no such program"))
    found = {verdict.text: verdict for verdict in judge(results)}["W2 TCP to the server to OpenVPN"]
    assert found.status == "FAIL"
    assert "no such program" in found.found


def test_a_rival_that_cannot_be_had_here_is_skipped(results):
    results.samples = [sample for sample in results.samples if sample.peer != "openvpn"]
    results.unavailable["openvpn"] = "no mirror"
    assert statuses(results)["W2 TCP to the server to OpenVPN"] == "SKIP"


def test_what_was_not_asked_for_is_not_judged(results):
    results.about["peers"] = ["mpquic", "openvpn"]
    results.about["tests"] = ["tcp"]
    assert list(statuses(results)) == ["W2 TCP to the server to OpenVPN", "W2 CPU per packet, TCP to the server"]


def test_a_failed_test_without_a_floor_is_a_failure_too(results):
    results.about["tests"] = ["ping"]
    results.problems.append(Problem(1, "W2", "mpquic", "ping", "no answer"))
    assert statuses(results) == {"W2 ping": "FAIL"}


def test_what_the_daemon_cannot_do_yet_is_skipped(results):
    results.about["tests"] = ["wan"]
    results.unavailable["wan"] = "no key rate"
    assert set(statuses(results).values()) == {"SKIP"}


def test_six_tunnels_are_compared_with_one_and_with_each_other(results):
    results.about["tests"] = ["tunnels"]

    def run(total, share):
        results.samples = [Sample(1, "W2", "mpquic", "tunnels", {"sum1": 1000, "sum6": total, "share6": share})]
        return statuses(results)

    assert run(800, 0.8) == {
        "W2 six tunnels: slowest to fastest": "PASS",
        "W2 six tunnels: sum to the rate of one": "PASS",
    }
    assert run(790, 0.8)["W2 six tunnels: sum to the rate of one"] == "FAIL"
    assert run(900, 0.79)["W2 six tunnels: slowest to fastest"] == "FAIL"
