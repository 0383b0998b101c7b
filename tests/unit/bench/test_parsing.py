# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
import threading

import pytest

from tests.bench import flows, iperf, meter, pings
from tests.bench.checksums import FLOWS, compare
from tests.bench.errors import BenchError
from tests.bench.soak_report import Record, judge

PINGS = """PING 10.98.1.2 (10.98.1.2) 56(84) bytes of data.
64 bytes from 10.98.1.2: icmp_seq=1 ttl=64 time=0.9 ms
64 bytes from 10.98.1.2: icmp_seq=2 ttl=64 time=2.00 ms
64 bytes from 10.98.1.2: icmp_seq=2 ttl=64 time=2.00 ms (DUP!)
64 bytes from 10.98.1.2: icmp_seq=4 ttl=64 time=4.5 ms

--- 10.98.1.2 ping statistics ---
4 packets transmitted, 3 received, +1 duplicates, 25% packet loss, time 60ms
"""


def test_pings_are_counted_once_and_losses_told():
    times = pings.parse(PINGS)
    assert times.values == [0.9, 2.0, 4.5]
    assert (times.median, times.p99, times.lost) == (2.0, 4.5, 1)


def test_no_answer_is_an_error():
    with pytest.raises(BenchError, match="no answer"):
        pings.parse("4 packets transmitted, 0 received, 100% packet loss, time 60ms\n")


def iperf_answer(protocol, received, packets=None):
    sent = {"bytes": 2000, "packets": packets} if packets else {"bytes": 2000}
    start = {"test_start": {"protocol": protocol, "blksize": 100}}
    return {"start": start, "end": {"sum_sent": sent, "sum_received": {"bytes": received, "seconds": 2.0}}}


def test_a_rate_is_what_the_receiver_counted():
    flow = iperf.parse(iperf_answer("TCP", 1_000_000))
    assert (flow.mbit, flow.sent) == (4.0, 0)


def test_datagrams_are_counted_by_their_bytes():
    flow = iperf.parse(iperf_answer("UDP", 1500, packets=20))
    assert (flow.sent, flow.received) == (20, 15)


@pytest.mark.parametrize("answer", [{"error": "connection refused"}, iperf_answer("TCP", 0)])
def test_a_failed_measurement_is_an_error(answer):
    with pytest.raises(BenchError, match="iperf3"):
        iperf.parse(answer)


def test_two_ends_of_real_flows_agree():
    mine, theirs = socket.socketpair()
    digests = {"a": {}, "b": {}}
    other = threading.Thread(target=flows.exchange, args=(theirs, 0, "b", 300_000, digests["b"]))
    other.start()
    flows.exchange(mine, 0, "a", 300_000, digests["a"])
    other.join()
    mine.close()
    theirs.close()
    assert digests["a"]["0"]["sent"] == digests["b"]["0"]["received"] != digests["a"]["0"]["received"]
    assert digests["b"]["0"]["sent"] == digests["a"]["0"]["received"]


def test_a_wrong_or_missing_flow_is_named():
    good = {str(number): {"sent": "x", "received": "x"} for number in range(FLOWS)}
    compare(good, good)
    with pytest.raises(BenchError, match="flow 1 to the server: other bytes"):
        compare(good, good | {"1": {"sent": "x", "received": "y"}})
    with pytest.raises(BenchError, match=r"^sha256: flow 1 to the client: other bytes$"):
        compare(good | {"1": {"sent": "x", "received": "y"}}, good)
    with pytest.raises(BenchError, match="flow 2 to the client: failed: timed out"):
        compare(good | {"2": {"sent": "x", "received": "failed: timed out"}}, good)
    with pytest.raises(BenchError, match="flow 0 to the server: nothing"):
        compare(good, {number: ends for number, ends in good.items() if number != "0"})


def test_a_listening_socket_is_told_by_address_and_port():
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        assert meter.listens(os.getpid(), "127.0.0.2", port)
        assert not meter.listens(os.getpid(), "127.0.0.3", port)
    assert not meter.listens(os.getpid(), "127.0.0.2", port)


def test_cpu_time_counts_what_this_process_does():
    before = meter.cpu_seconds([os.getpid()])
    start = os.times()
    while os.times().user + os.times().system - start.user - start.system < 0.1:
        pass
    assert meter.cpu_seconds([os.getpid()]) - before >= 0.08
    assert meter.rss_mb(os.getpid()) > 5
    assert meter.rss_mb(2**22 + 1) == 0


def soak(rise, **more):
    memory = [(second, 40 + rise * second / 3600, 40.0) for second in range(0, 3600, 10)]
    record = Record(memory=memory, drops={}, key_updates={"server": 3}, mbit=50.0)
    for name, value in more.items():
        setattr(record, name, value)
    return dict(zip(("server", "client", "keys", "errors"), [status for status, _text in judge(record)], strict=False))


def test_a_soak_is_judged_by_slope_errors_and_key_updates():
    assert soak(0.9) == {"server": "PASS", "client": "PASS", "keys": "PASS", "errors": "PASS"}
    assert soak(1.1)["server"] == "FAIL"
    assert soak(0, key_updates={"server": 0})["keys"] == "FAIL"
    assert soak(0, key_updates={"server": None})["keys"] == "INFO"
    assert soak(0, errors=["error something"])["errors"] == "FAIL"


def test_growth_while_warming_up_does_not_count():
    memory = [(second, min(80.0, 20 + second / 10), 40.0) for second in range(0, 3600, 10)]
    assert soak(0, memory=memory)["server"] == "PASS"


def test_a_soak_that_was_too_short_does_not_pass():
    assert soak(0, memory=[(0.0, 40.0, 40.0)])["server"] == "FAIL"
    assert soak(0, memory=[])["server"] == "FAIL"
