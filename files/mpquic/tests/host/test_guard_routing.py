# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and routes of everybody come back as they were, and an identical state is not touched."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from guard_place import Place
from mpquic.host.errors import HostError
from mpquic.host.guard import routing
from mpquic.host.guard.rawlink import RawLink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns


@pytest.fixture
def place() -> Iterator[Place]:
    with closing(Place()) as found:
        found.link("up1", "198.51.100.2/24")
        found.ip("route add default via 192.0.2.1 metric 100")
        found.ip("route add default via 2001:db8::1 metric 100")
        found.ip("route add 10.0.0.0/8 nexthop via 192.0.2.1 weight 3 nexthop via 198.51.100.1 weight 1")
        found.ip("route add default via 198.51.100.1 table 101 src 198.51.100.2 mtu 1400 proto static")
        found.ip("route add unreachable default table 101 metric 4000")
        found.ip("route add unreachable 2001:db8:66::/48 metric 4000")
        found.ip("rule add priority 1001 from 198.51.100.2 lookup 101")
        found.ip("rule add priority 1002 fwmark 0x10000/0xff0000 iif up0 lookup 101 suppress_prefixlength 0")
        found.ip("rule add priority 1003 ipproto tcp dport 22 lookup main")
        found.ip("-6 rule add priority 1004 to 2001:db8:77::/48 prohibit")
        found.ip("rule add priority 1005 not from 198.51.100.2 lookup 101")
        hops = "nexthop via 203.0.113.1 dev up0 onlink weight 1 nexthop via 203.0.113.2 dev up0 onlink weight 2"
        found.ip(f"route add 10.7.0.0/16 {hops}")
        yield found


class Guarded:
    """The state of a place when it was in order."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.file, self.said = place, folder / "state.json", folder / "said.json"
        self.before = (place.rules(), place.routes())
        place.run(self._take)

    def _take(self) -> None:
        with RawLink() as link:
            self.file.write_text(json.dumps(routing.read(link).plain()))

    def _restore(self) -> None:
        with RawLink() as link:
            report = routing.restore(link, routing.load(json.loads(self.file.read_text())))
        self.said.write_text(json.dumps([report.done, report.failed]))

    def restore(self) -> tuple[list[str], list[str]]:
        self.place.run(self._restore)
        done, failed = json.loads(self.said.read_text())
        return done, failed


@pytest.fixture
def guarded(place: Place, tmp_path: Path) -> Guarded:
    return Guarded(place, tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "route del default via 192.0.2.1 metric 100",
        "route replace default via 192.0.2.77 metric 100",
        "route add blackhole default metric 1",
        "-6 route del default metric 100",
        "-6 route add unreachable default metric 1",
        "-6 route del unreachable 2001:db8:66::/48",
        "route del 10.0.0.0/8",
        "route del 10.7.0.0/16",
        "route flush table main",
        "route flush table 101",
        "rule add priority 5 unreachable",
        "rule add priority 5 from all lookup 4242",
        "rule del priority 1002",
        "rule del priority 1003",
        "rule del priority 1005",
        "rule del priority 0",
        "rule flush",
        "-6 rule flush",
    ],
)
def test_damage_is_undone(place: Place, guarded: Guarded, damage: str):
    place.ip(damage)
    assert (place.rules(), place.routes()) != guarded.before
    done, failed = guarded.restore()
    assert (sorted(place.rules()), sorted(place.routes())) == tuple(map(sorted, guarded.before))
    assert done
    assert failed == []
    assert guarded.restore() == ([], [])


def test_an_identical_state_is_not_touched(place: Place, guarded: Guarded, tmp_path: Path):
    log = tmp_path / "monitor"
    with log.open("w") as stream:
        monitor = subprocess.Popen(["ip", "-n", place.name, "monitor", "route", "rule"], stdout=stream)
    try:
        while "30999" not in log.read_text():
            place.ip("rule add priority 30999 lookup 99")
            place.ip("rule del priority 30999 lookup 99")
        seen = log.read_text().count("30999")
        assert guarded.restore() == ([], [])
        place.ip("rule add priority 31000 lookup 99")
        while "31000" not in log.read_text():
            pass
        lines = [line for line in log.read_text().splitlines() if "30999" not in line and "31000" not in line]
    finally:
        monitor.terminate()
        monitor.wait()
    assert seen
    assert lines == []


def test_routes_follow_a_device_that_was_made_again(place: Place, guarded: Guarded):
    place.ip("link del up1")
    place.link("other")  # so that the index is another one
    place.link("up1", "198.51.100.2/24")
    done, failed = guarded.restore()
    assert failed == []
    assert any("table 101" in line for line in done)
    strip = [line for line in place.routes() if "other" not in line]
    assert sorted(strip) == sorted(guarded.before[1])


def test_a_route_whose_interface_is_gone_is_reported(place: Place, guarded: Guarded):
    place.ip("link del up1")
    _, failed = guarded.restore()
    assert any("table 101" in line and "its interface is gone" in line for line in failed)
    assert any("default via 192.0.2.1" in line for line in place.routes())


def test_a_lease_that_came_meanwhile_stays(place: Place, guarded: Guarded):
    place.ip("address add 203.0.113.9/24 dev up1")
    place.ip("route add default via 203.0.113.1 metric 50 proto dhcp")
    assert guarded.restore() == ([], [])
    assert "203.0.113.1" in place.ip("route show default")


@pytest.mark.parametrize("protocol", ["redirect", "ra", "dhcp"])
def test_a_route_that_came_meanwhile_by_itself_stays(place: Place, guarded: Guarded, protocol: str):
    place.ip(f"route add 203.0.113.0/24 via 192.0.2.9 proto {protocol}")
    assert guarded.restore() == ([], [])
    assert "203.0.113.0/24" in place.ip("route")


def test_a_rule_that_the_kernel_made_meanwhile_stays(place: Place, guarded: Guarded):
    place.ip("rule add priority 900 lookup 77 protocol kernel")
    assert guarded.restore() == ([], [])
    assert "900:" in place.ip("rule")


def test_an_advertised_route_comes_back_for_as_long_as_one_advertisement(place: Place, tmp_path: Path):
    place.ip("-6 route add 2001:db8:99::/48 via 2001:db8::9 proto ra expires 600")
    guarded = Guarded(place, tmp_path)
    place.ip("-6 route del 2001:db8:99::/48")
    done, failed = guarded.restore()
    assert (len(done), failed) == (1, [])
    assert " expires 1" in place.ip("-6 route show 2001:db8:99::/48")


@pytest.mark.parametrize(
    "protocol", ["bird", "zebra", "bgp", "ospf", "isis", "rip", "eigrp", "babel", "keepalived", "196"]
)
def test_what_a_routing_daemon_changes_is_its_own(place: Place, tmp_path: Path, protocol: str):
    place.ip(f"route add 198.18.0.0/15 via 192.0.2.1 protocol {protocol}")
    place.ip(f"route add 198.18.0.0/16 via 192.0.2.1 protocol {protocol}")
    place.ip(f"rule add priority 2001 lookup 77 protocol {protocol}")
    guarded = Guarded(place, tmp_path)
    place.ip("route del 198.18.0.0/15")
    place.ip(f"route replace 198.18.0.0/16 via 192.0.2.9 protocol {protocol}")
    place.ip(f"route add 203.0.113.0/24 via 192.0.2.9 protocol {protocol}")
    place.ip("rule del priority 2001")
    place.ip(f"rule add priority 2002 lookup 77 protocol {protocol}")
    place.ip("route del 10.7.0.0/16")
    rules = place.rules()
    done, failed = guarded.restore()
    assert (len(done), failed) == (1, [])
    assert place.rules() == rules
    found = place.ip("route")
    assert "198.18.0.0/15" not in found
    assert "198.18.0.0/16 via 192.0.2.9" in found
    assert "203.0.113.0/24 via 192.0.2.9" in found
    assert "10.7.0.0/16" in found


def test_a_route_by_a_nexthop_object_comes_back(place: Place, tmp_path: Path):
    place.ip("nexthop add id 7 via 192.0.2.1 dev up0")
    place.ip("route add 10.9.0.0/16 nhid 7")
    guarded = Guarded(place, tmp_path)
    place.ip("route del 10.9.0.0/16")
    done, failed = guarded.restore()
    assert (len(done), failed) == (1, [])
    assert sorted(place.routes()) == sorted(guarded.before[1])


class Interrupted(RawLink):
    """The first answers of its kernel were interrupted by a change."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        self.times -= 1
        for kind, flags, body in super()._answers():
            yield kind, flags | (0x10 if self.times >= 0 else 0), body


def test_an_interrupted_answer_is_asked_for_again():
    with RawLink() as link:
        expected = link.routes(2)
    with Interrupted(2) as link:
        assert link.routes(2) == expected
        assert link.times == -1
    with Interrupted(99) as link, pytest.raises(HostError, match="change faster than they can be read"):
        link.routes(2)
