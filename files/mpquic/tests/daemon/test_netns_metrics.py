# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of whole daemons in network namespaces: what is scraped is what happened and what the daemons say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from mpquic.metrics.table import METRICS
from prometheus_client.parser import text_string_to_metric_families
from wan import ADDRESS, PEER, TUN, sh, until

if TYPE_CHECKING:
    from multiwan import MultiWan
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def page(wan: Wan) -> str:
    line = [sys.executable, "-m", "mpquic", "exporter", "--once", "--run-dir", wan.folder, "--instances", wan.folder]
    done = subprocess.run(
        [*map(str, line), "--identity", str(wan.folder)], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stdout


def scrape(wan: Wan) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page(wan))
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the series of a name that have these labels; there must be one."""
    found = [number for (each, given), number in samples.items() if each == name and given >= labels.items()]
    assert found, (name, labels)
    return sum(found)


def gained(before: Samples, after: Samples, name: str, labels: dict[str, str]) -> float:
    """Return by how much the series of a name that have these labels grew together, new ones included."""
    return sum(
        number - before.get((each, given), 0)
        for (each, given), number in after.items()
        if each == name and given >= labels.items()
    )


def test_a_tunnel_of_one_path(wan: Wan) -> None:
    wan.bring_up()
    before = scrape(wan)
    assert value(before, "mpquic_tunnel_up", tunnel="client") == 1
    assert value(before, "mpquic_tunnel_config_current", tunnel="server") == 1
    assert value(before, "mpquic_peer_up", tunnel="server", peer=PEER) == 1
    assert wan.ping("client", "-c 20 -i 0.01 -s 900")
    time.sleep(0.1)
    after, client, server = scrape(wan), wan.status("client"), wan.status("server")

    for scope, labels in (("tunnel", {}), ("path", {"path": ""})):
        for direction, key in (("sent", "tx"), ("received", "rx")):
            names = {"tunnel": "client", "direction": direction, **labels}
            assert gained(before, after, f"mpquic_{scope}_packets_total", names) == 20
            assert gained(before, after, f"mpquic_{scope}_bytes_total", names) == 20 * 928
            assert value(after, f"mpquic_{scope}_packets_total", **names) == client[f"{key}_packets"]
            names |= {"tunnel": "server"}
            assert gained(before, after, f"mpquic_{scope}_packets_total", names) == 20
    assert value(after, "mpquic_peer_bytes_total", peer=PEER, direction="sent") == server["peers"][0]["tx_bytes"]
    for tunnel in ("client", "server"):
        assert gained(before, after, "mpquic_path_rtt_seconds_count", {"tunnel": tunnel}) > 0
        assert gained(before, after, "mpquic_path_judged_packets_total", {"tunnel": tunnel}) >= 20
        assert value(after, "mpquic_path_rtt_seconds_bucket", tunnel=tunnel, le="+Inf") == value(
            after, "mpquic_path_rtt_seconds_count", tunnel=tunnel
        )
        assert 0 < value(after, "mpquic_path_smoothed_rtt_seconds", tunnel=tunnel) < 0.1
        assert value(after, "mpquic_tunnel_connections_total", tunnel=tunnel) == 1
        assert value(after, "mpquic_tunnel_handshakes_total", tunnel=tunnel) >= 1
        assert abs(value(after, "mpquic_tunnel_start_time_seconds", tunnel=tunnel) - time.time()) < 60


def test_what_breaks_is_counted(wan: Wan) -> None:
    wan.bring_up()
    wan.stop("server", signal.SIGKILL)
    wan.wait_state("client", "waiting")
    until(lambda: value(scrape(wan), "mpquic_path_outage_seconds_total", tunnel="client") > 0.5, 10)
    found = scrape(wan)
    assert value(found, "mpquic_tunnel_up", tunnel="client") == 0
    assert value(found, "mpquic_tunnel_answering", tunnel="server") == 0
    assert value(found, "mpquic_path_up", tunnel="client") == 0
    assert value(found, "mpquic_tunnel_outages_total", tunnel="client") == 1
    assert value(found, "mpquic_tunnel_outage_seconds_total", tunnel="client") > 0.5
    assert value(found, "mpquic_path_switches_total", tunnel="client") == 1
    assert value(found, "mpquic_tunnel_state", tunnel="client", state="up") == 0
    begun = value(found, "mpquic_tunnel_handshakes_total", tunnel="client")
    until(lambda: value(scrape(wan), "mpquic_tunnel_handshakes_total", tunnel="client") > begun, 15)
    # Whoever comes with another key is refused.
    wan.identify("client")
    wan.start("server")
    wan.wait_started("server")
    wan.reload("client")
    until(
        lambda: (
            "mpquic_tunnel_refusals_total" in page(wan)
            and value(scrape(wan), "mpquic_tunnel_refusals_total", tunnel="server", reason="not_a_peer") >= 1
        ),
        15,
    )


def test_reloads_and_files_that_do_not_run(wan: Wan) -> None:
    wan.bring_up()
    wan.configure("client", log_level="info")
    assert value(scrape(wan), "mpquic_tunnel_config_current", tunnel="client") == 0
    wan.reload("client")
    found = scrape(wan)
    assert value(found, "mpquic_tunnel_config_current", tunnel="client") == 1
    assert value(found, "mpquic_tunnel_reloads_total", tunnel="client", result="done") == 1
    wan.configure("client", tun_name="other")
    wan.processes["client"].send_signal(signal.SIGHUP)
    until(lambda: value(scrape(wan), "mpquic_tunnel_reloads_total", tunnel="client", result="failed") == 1, 10)


def test_what_waits_and_what_is_refused(wan: Wan) -> None:
    wan.configure("client", rate="500kbit")
    wan.bring_up()
    flood = "import socket;s=socket.socket(type=socket.SOCK_DGRAM)\nwhile 1: s.sendto(bytes(1000), ('%s', 9))"
    line = ["ip", "netns", "exec", wan.ns["client"], sys.executable, "-c", flood % ADDRESS["server"]]
    names = ("queue_packets", "queue_bytes", "queue_age_seconds")
    with subprocess.Popen(line) as flooding:
        try:
            until(lambda: all(_waits(scrape(wan), name) for name in names), 20)
        finally:
            flooding.kill()
    found = scrape(wan)
    for scope in ("tunnel", "path"):
        assert gained({}, found, f"mpquic_{scope}_dropped_packets_total", {"tunnel": "client"}) > 0
    # The kernel gives a packet to class E to the TUN, the client to its server, and that to nobody.
    wan.ip("client", f"route add 240.0.0.1/32 dev {TUN}")
    sh(f"ip netns exec {wan.ns['client']} ping -q -c 3 -i 0.05 -W 1 240.0.0.1", check=False)
    found = scrape(wan)
    for scope in ("tunnel", "peer"):
        assert value(found, f"mpquic_{scope}_dropped_packets_total", tunnel="server", reason="martian") == 3


def _waits(samples: Samples, name: str) -> bool:
    return value(samples, f"mpquic_path_{name}", tunnel="client") > 0


def test_copies_by_several_paths(wans: MultiWan) -> None:
    classes = {"default_class": "bulk", "classes": {"bulk": {}, "critical": {"duplicate": True}}}
    wans.configure("client", dataplane={**classes, "classifiers": [{"class": "critical", "dscp": [46]}]})
    wans.bring_up()
    before = scrape(wans)
    assert wans.ping("client", "-c 7 -i 0.05 -W 1 -Q 184")
    sent = {"tunnel": "client", "class": "critical"}
    received = {"tunnel": "server", "class": "critical"}
    until(lambda: gained(before, scrape(wans), "mpquic_class_duplicates_total", received) == 7, 10)
    after = scrape(wans)
    assert gained(before, after, "mpquic_class_copies_total", sent) == 7
    assert gained(before, after, "mpquic_class_packets_total", sent | {"direction": "sent"}) == 14
    assert gained(before, after, "mpquic_class_packets_total", received | {"direction": "received"}) == 14
    for path in ("wan1", "wan2"):
        assert gained(before, after, "mpquic_class_packets_total", sent | {"direction": "sent", "path": path}) == 7


def test_a_tunnel_of_several_paths(wans: MultiWan) -> None:
    wans.bring_up()
    before = scrape(wans)
    assert wans.ping("client", "-c 20 -i 0.01 -s 900")
    time.sleep(0.1)
    after = scrape(wans)

    for tunnel, peer in (("client", ""), ("server", PEER)):
        assert {
            dict(given)["path"]: number
            for (name, given), number in after.items()
            if name == "mpquic_path_up" and dict(given)["tunnel"] == tunnel
        } == {"wan1": 1, "wan2": 1}
        for direction in ("sent", "received"):
            names = {"tunnel": tunnel, "peer": peer, "direction": direction, "class": "default"}
            packets = gained(before, after, "mpquic_class_packets_total", names)
            octets = gained(before, after, "mpquic_class_bytes_total", names)
            assert (packets, octets) == (20, 20 * 928)
    wans.block(1)
    wans.wait_path("wan1", "down")
    found = scrape(wans)
    assert value(found, "mpquic_path_up", tunnel="client", path="wan1") == 0
    assert value(found, "mpquic_path_state", tunnel="client", path="wan1", state="down") == 1
    assert value(found, "mpquic_path_switches_total", tunnel="client", path="wan1") == 1
    assert value(found, "mpquic_path_outage_seconds_total", path="wan1", tunnel="client") > 0
    assert value(found, "mpquic_tunnel_up", tunnel="client") == 1
    status = wans.status("client")
    for path in status["paths"]:
        sent = value(found, "mpquic_path_bytes_total", tunnel="client", path=path["name"], direction="sent")
        assert sent <= path["tx_bytes"]


def test_every_metric_of_a_tunnel_is_there(wans: MultiWan) -> None:
    """And promtool finds no fault with any."""
    wans.bring_up()
    assert wans.ping("client")
    text = page(wans)
    given = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE mpquic_")}
    absent = {metric.name for metric in METRICS} - given
    # There is no certificate in this folder by that name, no watch, no recorder and no count for a bill; nobody was
    # refused, and nothing was dropped.
    assert {name for name in absent if not name.endswith(("_dropped_packets_total", "_refusals_total"))} == {
        "mpquic_host_certificate_start_timestamp_seconds",
        "mpquic_host_certificate_expiry_timestamp_seconds",
        "mpquic_host_drift_findings",
        "mpquic_host_last_repair_timestamp_seconds",
        "mpquic_host_resolver_up",
        *(metric.name for metric in METRICS if metric.labels[:1] == ("wan",)),
    }
    if shutil.which("promtool"):
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")
