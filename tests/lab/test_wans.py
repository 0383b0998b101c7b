# SPDX-License-Identifier: GPL-3.0-or-later
"""The WANs: who leaves by which, and what each does to packets."""

import hashlib
import random

import pytest

pytestmark = pytest.mark.lab
NUMBERS = range(1, 7)


@pytest.fixture
def wan(lab):
    """Give a WAN to spoil, and its LAN."""
    yield "wan5", "lan5"
    lab.run("restore", "wan5")


@pytest.mark.parametrize("i", NUMBERS)
def test_every_lan_leaves_by_the_wan_of_its_number(lab, i):
    assert lab.out(f"lan{i}", "curl -s -m 10 http://192.0.2.80/ip") == f"198.51.100.{i}"
    assert f" 198.51.100.{i} GET /ip 200 13\n" in (lab.state / "http.log").read_text()


@pytest.mark.parametrize(("place", "address"), [("lan5", "fd00:5::1"), ("vps1", "2001:db8:80::80")])
def test_ipv6_is_where_the_topology_has_it(lab, place, address):
    assert lab.ping(place, address, count=2)[0] == 2


@pytest.mark.parametrize("i", NUMBERS)
def test_the_site_has_its_leases_tables_and_rules(lab, i):
    nic = ("enp7s3", "enp7s4", "enp7s5", "enp7s6", "enp7s7", "enp7s8")[i - 1]
    assert f"inet 100.64.{i}.10/24 metric {100 + i}" in lab.out("client1", f"ip -4 address show {nic}")
    assert lab.out("client1", f"ip route show table wan{i} default").startswith(f"default via 100.64.{i}.1 dev {nic} ")
    rules = lab.out("client1", "ip rule")
    assert f"{1000 + i}:\tfrom 172.16.{i}.0/30 lookup wan{i} " in rules
    assert f"{1200 + i}:\tfrom 100.64.{i}.10 lookup wan{i} " in rules


@pytest.mark.parametrize("i", NUMBERS)
def test_delay_is_that_of_the_profile(lab, i):
    quality = lab.status()["wans"][f"wan{i}"]["quality"]
    received, trips = lab.ping(f"lan{i}", count=8)
    assert received == 8
    assert min(trips) >= 2 * (quality["delay"] - quality["jitter"])
    assert min(trips) <= 2 * quality["delay"] + 10


def test_rate_is_that_of_the_settings(lab, wan):
    name, lan = wan
    for rate in (10, 30):
        lab.run("impair", name, f"rate_down={rate}", "delay=1", "jitter=0")
        got = lab.out(lan, "curl -s -m 20 -o /dev/null -w '%{speed_download}' http://192.0.2.80/bytes/2000000")
        assert 0.7 * rate < float(got) * 8 / 1e6 < rate


def test_loss_is_counted_and_near_the_setting(lab, wan):
    name, lan = wan
    lab.run("impair", name, "loss=20", "rate=0", "delay=0", "jitter=0")
    before = lab.status()["wans"][name]["counters"]["up"]
    lab.sh(lan, "ping -q -n -i 0.002 -c 500 -W 1 192.0.2.80", check=False)
    after = lab.status()["wans"][name]["counters"]["up"]
    lost, delivered = (after[key] - before[key] for key in ("lost", "packets"))
    assert 0.14 < lost / (lost + delivered) < 0.26  # 20 %, 3.3 standard deviations


def test_a_cut_is_silent_and_of_one_wan_alone(lab, wan):
    name, lan = wan
    before = lab.status()["wans"][name]["counters"]["up"]["cut"]
    lab.run("cut", name)
    done = lab.sh(lan, "ping -n -i 0.2 -c 3 -W 1 192.0.2.80", check=False)
    assert "100% packet loss" in done.stdout
    assert "errors" not in done.stdout + done.stderr
    assert "nreachable" not in done.stdout + done.stderr
    assert "LOWER_UP" in lab.out("client1", "ip -br link show enp7s7")
    status = lab.status()["wans"]
    assert status[name]["cut"]
    assert status[name]["counters"]["up"]["cut"] - before == 3
    assert lab.ping("lan6", count=2)[0] == 2
    lab.run("restore", name)
    assert lab.ping(lan, count=2)[0] == 2
    assert lab.status()["wans"][name]["profile"]


def test_order_is_kept_under_jitter(lab, wan):
    name, lan = wan
    lab.run("impair", name, "jitter=10", "delay=15", "rate=0")
    trips = lab.sh(lan, "ping -n -i 0.002 -c 300 -W 1 192.0.2.80").stdout
    numbers = [int(word[9:]) for word in trips.split() if word.startswith("icmp_seq=")]
    assert numbers == sorted(numbers)
    assert len(numbers) == 300


def test_the_payload_is_what_its_digest_says(lab, wan):
    name, lan = wan
    lab.run("impair", name, "rate=0", "delay=0", "jitter=0")
    said = lab.out(lan, "curl -s http://192.0.2.80/100M.bin.sha256").split()[0]
    assert lab.out(lan, "curl -s -m 60 http://192.0.2.80/100M.bin | sha256sum").split()[0] == said
    start = random.Random(0).randbytes(1_000_000)[:70_000]
    got = lab.out(lan, "curl -s http://192.0.2.80/bytes/70000 | sha256sum").split()[0]
    assert got == hashlib.sha256(start).hexdigest()
