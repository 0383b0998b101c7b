# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stranger and what a peer may ask of a server."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import forged
import places
import pytest
from caller import Caller, drive, let
from flood import initials, is_retry
from mpquic.core import admission, guest
from mpquic.core.capsules import MAX_VALUE, encode
from mpquic.core.registration import MAX_CONTROL
from mpquic.core.wire import CID_LENGTH, is_short
from pinger import Pinger
from wan import ADDRESS, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from hosts import Hosts

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NET = {name: ip_network(f"10.200.9.{number}") for number, name in enumerate(("good", "bad", "few", "thin"), 51)}
#: What peers may send: UDP datagrams per second, bits per second.
FEW, THIN = 200, 1_000_000
#: A capsule type that nobody knows.
UNKNOWN = 0x1234


@pytest.fixture(scope="module")
def server(hosts: Hosts) -> Hosts:
    """A tunnel, and peers who are yet to come."""
    limits: dict[str, dict[str, Any]] = {"few": {"budget_packets": FEW}, "thin": {"budget_rate": "1mbit"}}
    for name, net in NET.items():
        hosts.know(name, f"{net}", **limits.get(name, {}))
    hosts.bring_up()
    return hosts


class Drops:
    """What the server has dropped since this was made."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._before = self._all()

    def _all(self) -> Counter[str]:
        return Counter(self._hosts.status("server")["drops"])

    def __getitem__(self, reason: str) -> int:
        return self._all()[reason] - self._before[reason]


def connected(hosts: Hosts, name: str) -> Caller:
    caller = hosts.caller(name, NET[name])
    drive(caller, until=lambda: caller.registered is not None and hosts.peer(name)["state"] == "up", seconds=5)
    return caller


def works(hosts: Hosts, caller: Caller, name: str) -> bool:
    """Tell whether a peer's packets get through."""
    before = hosts.peer(name)["rx_packets"]
    caller.send([forged.packet(str(NET[name].network_address), ADDRESS["server"])])
    drive(caller, until=lambda: hosts.peer(name)["rx_packets"] > before, seconds=2)
    return not caller.over


@pytest.mark.parametrize("stream", [4, 2])
def test_a_second_stream_ends_the_connection(server: Hosts, stream: int) -> None:
    good, bad = connected(server, "good"), connected(server, "bad")
    # As if the server had allowed it.
    bad.link._connection._remote_max_streams_bidi = bad.link._connection._remote_max_streams_uni = 10
    bad.link._connection._remote_max_stream_data_uni = 10
    bad.link._connection.send_stream_data(stream, b"x")
    bad.link._due = True
    drive(good, bad, until=lambda: server.peer("bad")["state"] == "waiting", seconds=5)
    assert server.peer("bad")["reason"] == "the peer opened a stream beside the control stream"
    assert works(server, good, "good")


def test_too_much_on_the_control_stream_ends_the_connection(server: Hosts) -> None:
    good, bad = connected(server, "good"), connected(server, "bad")
    # What is unknown is skipped, as long as there is not too much of it.
    good.link.control(b"".join(encode(UNKNOWN, bytes(MAX_VALUE)) for _capsule in range(3)))
    let(good, seconds=0.2)
    assert works(server, good, "good")
    connection = bad.link._connection
    connection._remote_max_data = connection._streams[0].max_stream_data_remote = 1 << 30
    bad.link.control(b"".join(encode(UNKNOWN, bytes(MAX_VALUE)) for _capsule in range(5)))
    drive(good, bad, until=lambda: server.peer("bad")["state"] == "waiting", seconds=5)
    assert server.peer("bad")["reason"] in {
        "the peer sent more on the control stream than it may",
        f"control stream: found more than {MAX_CONTROL} bytes",
    }
    assert works(server, good, "good")


@pytest.mark.parametrize(
    ("says", "code"),
    [
        # A capsule too long; CONFIRM without REGISTER; versions that are not spoken here; 65 prefixes.
        (encode(UNKNOWN, b"") + b"\x80\x6d\x71\x02\x80\x00\x40\x01", 4),
        (encode(0x6D7101, b"\x01\x01") + encode(0x6D7105, bytes(16)), 4),
        (encode(0x6D7101, b"\x07\x09"), 1),
        (encode(0x6D7101, b"\x01\x01") + encode(0x6D7102, bytes(17) + b"\x40\x41"), 4),
    ],
    ids=["length", "order", "version", "prefixes"],
)
def test_words_that_make_no_sense_are_refused(server: Hosts, says: bytes, code: int) -> None:
    drops = Drops(server)
    bad = server.caller("bad", NET["bad"], says=says)
    drive(bad, until=lambda: bad.refused is not None, seconds=5)
    assert bad.refused is not None
    assert bad.refused.code == code
    assert drops["refused"] == 1
    until(lambda: f"key={server.pins['bad']} peer=bad reason=" in server.log("server"), 1)
    good = connected(server, "good")
    assert works(server, good, "good")
    assert "Traceback" not in server.log("server")
    good.close()


def test_half_open_connections_of_one_source(
    server: Hosts, figure: Callable[[str, object], None], *, full: bool
) -> None:
    drops = Drops(server)
    hoard = admission.MAX_HALF_OPEN_PER_SOURCE + 12
    sock = server.stranger("10.64.0.9")
    datagrams = initials(hoard, server.server_pin)
    for datagram in datagrams:
        sock.send(datagram)
    # The others are dropped, or asked for a proof that they are there.
    until(lambda: drops["half_open_full"] + drops["retry"] == 12, 10)
    # Others are not held up by that.
    assert works(server, connected(server, "good"), "good")
    answers: list[bytes] = []
    end = time.monotonic() + (guest.DEADLINE + 1 if full else 0.5)
    while time.monotonic() < end:
        answers += [data for data, _source in places.received(sock)]
        time.sleep(0.01)
    # Those that must prove themselves get one small datagram each; the rest is about those that were let in.
    retries = [data for data in answers if is_retry(data)]
    assert len(retries) <= drops["retry"]
    assert all(len(data) < len(datagrams[0]) for data in retries)
    back = sum(map(len, answers)) - sum(map(len, retries))
    sent = sum(map(len, datagrams[: admission.MAX_HALF_OPEN_PER_SOURCE]))
    figure("bytes to an address that is not proved, per byte from it", round(back / sent, 2))
    assert 0 < back <= 3 * sent
    if full:
        # They are gone by themselves.
        assert drops["handshake_timeout"] == admission.MAX_HALF_OPEN_PER_SOURCE


def test_whoever_dawdles_is_ended(server: Hosts, *, full: bool) -> None:
    if not full:
        pytest.skip("takes 6 s")
    good = connected(server, "good")
    silent = server.caller("bad", NET["bad"], says=b"")
    undecided = server.caller("bad", NET["bad"], confirms=False)
    # A byte of a capsule every now and then.
    slow = server.caller("bad", NET["bad"], says=b"\x80")
    started = time.monotonic()
    drops: list[float] = []

    def drip() -> None:
        if slow.established and not slow.over and time.monotonic() > started + len(drops) / 2:
            drops.append(time.monotonic())
            slow.link.control(b"\x00")

    callers = [silent, undecided, slow]
    drive(*callers, good, until=lambda: all(caller.over for caller in callers), seconds=guest.DEADLINE + 3, also=drip)
    assert time.monotonic() - started > guest.DEADLINE - 0.5
    until(lambda: server.log("server").count('reason="no registration in time"') == 3, 1)
    assert works(server, good, "good")


def test_answers_to_unknown_versions_are_few(server: Hosts, figure: Callable[[str, object], None]) -> None:
    drops = Drops(server)
    sock = server.stranger()
    header = b"\xc0%b\x08" + bytes(8) + b"\x08" + bytes(8)
    for version, size in ((b"\xba\xba\xba\xba", 1199), (bytes(4), 1200)):
        for _datagram in range(50):
            sock.send((header % version).ljust(size, b"\0"))
    until(lambda: drops["version"] == 100, 3)
    assert places.received(sock) == []
    started = time.monotonic()
    for _datagram in range(200):
        sock.send((header % b"\xba\xba\xba\xba").ljust(1200, b"\0"))
    until(lambda: drops["version"] == 300, 3)
    time.sleep(0.1)
    answers = places.received(sock)
    most = admission.MAX_VERSIONS * (1 + time.monotonic() - started)
    figure("answers to 200 unknown versions", len(answers))
    assert 1 <= len(answers) <= most
    assert all(len(data) < 100 and data[1:5] == bytes(4) for data, _source in answers)


def test_a_budget_holds_one_and_leaves_the_others_alone(
    server: Hosts, figure: Callable[[str, object], None], *, full: bool
) -> None:
    seconds, rate = (10, 5000) if full else (1, 2000)
    callers = {name: connected(server, name) for name in ("few", "thin")}
    #: Packets per second, and their size.
    loads = {"few": (rate, 60), "thin": (rate / 4, 1200)}
    sent = dict.fromkeys(callers, 0)
    started = time.monotonic()
    with Pinger(server, seconds) as pinger:
        while not pinger.done():
            now = time.monotonic() - started
            for name, caller in callers.items():
                per_second, size = loads[name]
                # One by one: a datagram each.
                for _packet in range(min(int(now * per_second) - sent[name], 50)):
                    caller.send([forged.packet(str(NET[name].network_address), ADDRESS["server"], size)])
                    sent[name] += 1
                caller.step()
            time.sleep(0.001)
        echoes = pinger.echoes()
    passed = time.monotonic() - started
    few, thin = server.peer("few"), server.peer("thin")
    figure("undisturbed peer: echoes sent, lost, p99 (ms)", (echoes.sent, echoes.lost, echoes.percentile(0.99)))
    figure(
        "held peer: packets per second sent, let in", (round(sent["few"] / passed), round(few["rx_packets"] / passed))
    )
    mbits = tuple(round(8e-6 * octets / passed, 2) for octets in (1200 * sent["thin"], thin["rx_bytes"]))
    figure("held peer: Mbit/s sent, let in", mbits)
    assert echoes.lost == 0
    for peer in (few, thin):
        assert peer["drops"]["budget"] > sent[peer["name"]] / 4
    # A quarter of a second may be saved up.
    assert few["rx_packets"] <= FEW * (passed + 0.3)
    assert 8 * thin["rx_bytes"] <= THIN * (passed + 0.3)
    assert "budget" not in server.peer()["drops"]
    for caller in callers.values():
        # Acknowledgements are among what is refused; nobody is given up for that.
        assert not caller.over
        caller.close()


def routing_id(server: Hosts) -> bytes:
    """Return the connection id to which the tunnel's client sends."""
    tap = server.tap("client", server.veth["client"])
    found: list[bytes] = []

    def seen() -> bool:
        server.ping("client")
        # An IPv4 and a UDP header, one byte of flags.
        packets = [data[28:] for data in places.tapped(tap, outgoing=True) if data[9:10] == b"\x11"]
        found.extend(data[1 : 1 + CID_LENGTH] for data in packets if data and is_short(data))
        return bool(found)

    until(seen, 10)
    return found[-1]


def test_garbage_is_counted_and_harmless(server: Hosts) -> None:
    session = server.peer()["session"]
    drops = Drops(server)
    made = random.Random(4)
    sock = server.stranger()
    tunnels = routing_id(server)
    (initial,) = initials(1, server.server_pin)
    strangers = 0
    with Pinger(server) as pinger:
        for number in range(2000):
            data = made.randbytes(made.randint(1, 1400))
            if number % 4 == 1:
                data = b"\x40" + tunnels + data
            elif number % 4 == 2:
                data = b"\xc0\x00\x00\x00\x01" + data
            elif number % 4 == 3:
                at = made.randrange(len(initial))
                data = initial[:at] + bytes([made.randrange(256)]) + initial[at + 1 :]
            strangers += number % 4 != 1 and is_short(data)
            sock.send(data)
            if number % 20 == 0:
                time.sleep(0.001)
        echoes = pinger.echoes()
    assert echoes.lost == 0
    assert server.peer()["session"] == session
    assert server.peer()["drops"] == {}
    # Every fourth names the tunnel's connection, and was given to it.
    assert strangers > 100
    assert 0 < drops["unknown_connection"] <= strangers
    assert {"malformed", "unknown_connection", "version"} <= server.status("server")["drops"].keys()
    assert "Traceback" not in server.log("server")
