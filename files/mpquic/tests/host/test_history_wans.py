# SPDX-License-Identifier: GPL-3.0-or-later
"""What WANs have carried: real interfaces in a namespace, real SQLite, boots and names that the test changes."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pytest
from mpquic.cli import main
from mpquic.host.errors import ConfigError
from mpquic.host.history import billing, counting, store, usage, wan
from mpquic.host.history.counting import Counters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TODAY = "2027-01-20"


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[store.Store]:
    with closing(store.Store(tmp_path / "history.db")) as found:
        yield found


def count(kept: store.Store, *devices: Counters, boot: str = "a", wans: tuple[str, ...] = ("lte",)) -> tuple[int, int]:
    """Count once, and return what the first WAN has carried by then."""
    with kept.transaction() as connection:
        counting.count(connection, wans, {device.interface: device for device in devices}, boot, TODAY)
        return counting.carried(connection, wans[0], TODAY)


def device(rx: int, tx: int, *, name: str = "lte", ifindex: int = 3, address: str = "02:00:00:00:00:01") -> Counters:
    return Counters(name, ifindex, address, rx, tx)


def test_what_came_before_the_first_look_is_not_counted_and_nothing_twice(kept: store.Store) -> None:
    assert count(kept, device(1000, 100)) == (0, 0)
    assert count(kept, device(1500, 130)) == (500, 30)
    assert count(kept, device(1500, 130)) == (500, 30)


def test_a_boot_and_a_device_made_anew_begin_at_nothing(kept: store.Store) -> None:
    count(kept, device(1000, 100))
    assert count(kept, device(4000, 400), boot="b") == (4000, 400)
    assert count(kept, device(50, 5, ifindex=9), boot="b") == (4050, 405)
    # Drivers that lose their counters.
    assert count(kept, device(20, 2, ifindex=9), boot="b") == (4070, 407)


def test_a_wan_that_is_away_keeps_its_count(kept: store.Store) -> None:
    count(kept, device(0, 0))
    count(kept, device(70, 7))
    assert count(kept) == (70, 7)
    assert count(kept, device(90, 9)) == (90, 9)


def test_an_interface_that_is_renamed_is_followed(kept: store.Store) -> None:
    count(kept, device(0, 0))
    assert count(kept, device(80, 8, name="wwan0")) == (80, 8)
    # But not after a boot: then nobody knows that it is the same.
    assert count(kept, device(500, 5, name="wwan0"), boot="b") == (80, 8)


def test_a_wan_that_is_renamed_in_the_inventory_keeps_what_it_used(kept: store.Store) -> None:
    count(kept, device(0, 0))
    count(kept, device(80, 8))
    assert count(kept, device(100, 10, name="modem"), wans=("modem",)) == (100, 10)
    with kept.transaction() as connection:
        assert counting.carried(connection, "lte", TODAY) == (0, 0)


def test_two_wans_of_one_address_are_two(kept: store.Store) -> None:
    count(kept, device(0, 0))
    count(kept, device(80, 8))
    both = ("modem", "lte")
    assert count(kept, device(90, 9), device(60, 6, name="modem", ifindex=4), wans=both) == (0, 0)
    assert count(kept, device(90, 9), device(65, 6, name="modem", ifindex=4), wans=both) == (5, 0)


@pytest.mark.parametrize(
    ("day", "billing_day", "expected"),
    [
        ("2027-01-20", 12, ("2027-01-12", "2027-02-12")),
        ("2027-01-11", 12, ("2026-12-12", "2027-01-12")),
        ("2027-01-12", 12, ("2027-01-12", "2027-02-12")),
        ("2027-02-28", 31, ("2027-02-28", "2027-03-31")),
        ("2027-02-27", 31, ("2027-01-31", "2027-02-28")),
        ("2028-02-29", 30, ("2028-02-29", "2028-03-30")),
        ("2027-12-31", 1, ("2027-12-01", "2028-01-01")),
    ],
)
def test_periods(day: str, billing_day: int, expected: tuple[str, str]) -> None:
    first, following = billing.period(date.fromisoformat(day), billing_day)
    assert (first.isoformat(), following.isoformat()) == expected


def test_usage_in_its_period(kept: store.Store) -> None:
    lte = wan.Wan("lte", quota=1000, billing_day=12, warn=(50, 80))
    with kept.transaction() as connection:
        for day, received in (("2027-01-11", 5000), ("2027-01-12", 300), ("2027-01-20", 250)):
            connection.execute("INSERT INTO wan_days VALUES('lte', ?, ?, 20)", (day, received))
        found = usage.find(connection, lte, "lte", date(2027, 1, 20))
        full = usage.find(connection, wan.Wan("lte", quota=590, billing_day=12), "wwan0", date(2027, 1, 20))
        plain = usage.find(connection, wan.Wan("lte", billing_day=12, metered=True), None, date(2027, 1, 20))
    assert (found.used_bytes, found.percent, found.warned, found.level) == (590, 59.0, 50, usage.WARN)
    assert (full.warned, full.level, full.interface) == (100, usage.FULL, "wwan0")
    assert (plain.percent, plain.level, plain.metered) == (None, usage.OK, True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("wans: {lte: {quota: 0}}", "wans.lte.quota: found 0, expected bytes from 1 to 2^60"),
        ("wans: {lte: {billing_day: 40}}", "wans.lte.billing_day: found 40, expected a day from 1 to 31"),
        ("wans: {lte: {warn: [95, 80]}}", "wans.lte.warn: found [95, 80], expected a list of percentages"),
        ("wans: {lte: {metered: 1}}", "wans.lte.metered: found 1, expected true or false"),
        ("wans: {lte: {limit: 1}}", "wans.lte.limit: unknown key, expected one of quota"),
        ("wans: {'../x': {}}", "wans: found '../x', expected the name of an interface"),
        ("wans: [lte]", "wans: expected a mapping of interfaces"),
        ("wan: {}", "wan: unknown key, expected wans"),
        ("wans: {lte: {", "wans.yaml"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "wans.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"wans\.yaml") as refused:
        wan.load(file)
    assert fault in str(refused.value)


COUNT = """
import sys, time
from pathlib import Path
from mpquic.host.history import recorder, store
folder = Path(sys.argv[1])
places = recorder.Places(folder / "run", folder, wans=folder / "wans.yaml", usage=folder / "wans.json")
kept = store.Store(folder / "history.db")
found = recorder.Recorder(kept, places, lambda name: None)
found.look()
found.write()
kept.close()
"""


@pytest.mark.netns
def test_real_interfaces_renamed_and_across_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"mqh{tmp_path.stat().st_ino}"
    run = ["ip", "netns", "exec", name]
    file = tmp_path / "wans.json"

    def ip(command: str) -> None:
        subprocess.run(["ip", "-n", name, *command.split()], check=True)

    def record() -> dict[str, object]:
        subprocess.run([*run, sys.executable, "-c", COUNT, str(tmp_path)], check=True)
        return usage.told(file)[0]

    def ping(count: int) -> None:
        ping = [*run, "ping", "-q", "-c", str(count), "-i", "0.002", "-s", "1000", "10.99.0.2"]
        subprocess.run(ping, check=True, stdout=subprocess.DEVNULL)

    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "netns", "add", f"{name}b"], check=True)
    try:
        ip(f"link add lte type veth peer name far netns {name}b")
        ip("addr add 10.99.0.1/24 dev lte")
        ip("link set lte up")
        subprocess.run(["ip", "-n", f"{name}b", "addr", "add", "10.99.0.2/24", "dev", "far"], check=True)
        subprocess.run(["ip", "-n", f"{name}b", "link", "set", "far", "up"], check=True)
        (tmp_path / "wans.yaml").write_text("wans: {lte: {quota: 100000, warn: [40]}}")
        ping(1)
        assert record()["used_bytes"] == 0
        ping(20)
        first = record()
        # 1042 bytes each way with the Ethernet header, and perhaps a neighbour or two.
        assert 20 * 2 * 1042 <= int(str(first["used_bytes"])) < 20 * 2 * 1042 + 1500
        assert first["level"] == "warn"
        ip("link set lte down")
        ip("link set lte name wwan0")
        ip("link set wwan0 up")
        ping(30)
        second = record()
        assert second["interface"] == "wwan0"
        assert second["level"] == "full"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
        subprocess.run(["ip", "netns", "del", f"{name}b"], check=True)
    assert main(["history", "--history", str(tmp_path / "history.db"), "--show", "events"]) == 0
    told = capsys.readouterr().out
    assert "40 % of the quota used" in told
    assert "quota used up" in told
    assert main(["status", "--run-dir", str(tmp_path)]) == 0
    assert "wan lte (now wwan0): 0.1 MB of 0.1 MB (1" in capsys.readouterr().out
    assert main(["status", "--run-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wans"][0]["level"] == "full"
