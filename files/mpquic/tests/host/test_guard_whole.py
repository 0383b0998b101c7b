# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of a whole host, and the way back to it: in a network namespace, with files below a folder."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from guard_place import Place
from guard_systemd import Systemd
from mpquic.host import lock, tun
from mpquic.host.guard import files, restore, settings, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns


class Host(Place):
    """A host with a file, a unit, a table, and a snapshot of it all."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder = folder
        self.systemd = Systemd(folder / "systemd", monkeypatch)
        self.systemd.has("mpquic@1.service")
        self.root = folder / "root"
        (self.root / "etc/mpquic").mkdir(parents=True)
        (self.root / "etc/systemd/system").mkdir(parents=True)
        self.file = self.root / "etc/mpquic/mpquic.nft"
        self.file.write_text("one\n")
        for function in (files.read, files.restore):
            monkeypatch.setattr(function, "__defaults__", (self.root,))
        monkeypatch.setattr(lock, "LOCK_FILE", str(folder / "lock"))
        monkeypatch.setattr(lock, "PATIENCE", 0.1)
        self.ip("route add default via 192.0.2.1")
        self.nft("table inet mine { chain c { type filter hook forward priority 0; }; }")
        self.run(self._settle)
        self.run(lambda: (folder / "snapshot").write_text(json.dumps(snapshot.take().plain())))

    def _settle(self) -> None:
        Path("/proc/sys/net/ipv4/conf/up0/rp_filter").write_text("2")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def change(self, **values: Any) -> None:
        path = self.folder / "snapshot"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def restore(self) -> tuple[list[str], list[str]]:
        def work() -> None:
            wanted = snapshot.load(json.loads((self.folder / "snapshot").read_text()))
            report = restore.restore(wanted, lambda _name: None)
            (self.folder / "said").write_text(json.dumps([report.done, report.failed]))

        self.run(work)
        done, failed = json.loads((self.folder / "said").read_text())
        return done, failed

    def set(self, name: str, value: str) -> None:
        self.run(lambda: Path("/proc/sys/net", name).write_text(value))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with closing(Host(tmp_path, monkeypatch)) as found:
        yield found


def damage(host: Host) -> None:
    host.file.write_text("two\n")
    host.ip("route del default")
    host.nft("delete table inet mine")
    host.set("ipv4/ip_forward", "0")
    host.set("ipv4/conf/up0/rp_filter", "1")
    host.systemd.has("mpquic@2.service")
    host.ip("tuntap add mpq9 mode tun")
    host.ip(f"link set mpq9 alias {tun.ALIAS}")


DONE = {
    "put back /etc/mpquic/mpquic.nft",
    "set net/ipv4/ip_forward back to 1",
    "set net/ipv4/conf/up0/rp_filter back to 2",
    "put back the nft table inet mine",
    "put back the route default via 192.0.2.1 dev up0 table main",
    "stopped mpquic@2.service",
    "removed the TUN device mpq9",
}


def test_everything_comes_back(host: Host):
    assert host.restore() == ([], [])
    damage(host)
    done, failed = host.restore()
    assert failed == []
    assert set(done) >= DONE
    assert host.file.read_text() == "one\n"
    assert "default via 192.0.2.1" in host.ip("route")
    assert "inet mine" in host.nft("list tables")
    assert "mpq9" not in host.ip("link")
    assert host.restore() == ([], [])
    assert "daemon-reload" not in host.systemd.calls()


def test_a_unit_that_comes_back_is_read_by_systemd(host: Host):
    (host.root / "etc/systemd/system/mpquic@.service").write_text("[Service]\n")
    done, _ = host.restore()
    assert done == ["removed /etc/systemd/system/mpquic@.service", "systemd read its units again"]
    assert host.systemd.calls() == ["daemon-reload"]


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        ({"tables": {"inet mine": 5}}, "put back the nft table inet mine"),
        ({"routing": {"rules": ["00"], "routes": ["00"], "names": {}}}, "put back the route"),
        ({"files": {"etc/mpquic/mpquic.nft": ["file", "rw", 0, 0, "b25lCg=="]}}, "put back /etc/mpquic/mpquic.nft"),
    ],
)
def test_a_part_that_fails_does_not_stop_the_others(host: Host, part: dict[str, Any], lost: str):
    host.change(**part)
    damage(host)
    done, failed = host.restore()
    assert any("is damaged" in line for line in failed)
    assert set(done) >= {line for line in DONE if not line.startswith(lost)}


def test_a_command_that_does_not_end_does_not_keep_the_host(host: Host):
    damage(host)
    with lock.exclusive():
        done, failed = host.restore()
    assert set(done) >= DONE
    assert len(failed) == 2
    assert all(line.startswith("went on beside another command: ") for line in failed)


def test_a_route_that_waits_for_its_device_counts_as_failed_only_if_it_still_cannot(host: Host):
    host.ip("link del up0")
    _, failed = host.restore()
    assert len(failed) == len(set(failed))
    assert any("its interface is gone" in line for line in failed)


def test_settings_of_an_interface_that_is_gone_are_nobodys(host: Host):
    host.run(lambda: (host.folder / "settings").write_text(json.dumps(settings.read())))
    found = json.loads((host.folder / "settings").read_text())
    assert found["ipv4/conf/up0/rp_filter"] == "2"
    assert list(found).index("ipv4/ip_forward") < list(found).index("ipv4/conf/up0/forwarding")
    host.ip("link del up0")
    _, failed = host.restore()
    assert not [line for line in failed if line.startswith("set ")]
