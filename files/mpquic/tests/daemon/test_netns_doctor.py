# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults between whole daemons, over one WAN and over two, and what ``mpquic doctor`` and ``status`` call them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from multiwan import SERVER, MultiWan
from wan import ADDRESS, PORT, TUN, made, sh, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

#: Seconds from a fault to its name, of which a busy machine may take some for starting Python.
STATUS, DOCTOR = 5.0, 10.0
SLACK = 10.0
#: Answers every question, with no error and no answer.
_RESOLVER = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    data, where = sock.recvfrom(512)
    sock.sendto(data[:2] + b"\\x81\\x80" + data[4:], where)
"""


class Site(MultiWan):
    """A client whose host has what an instance needs, and a resolver beside the server."""

    def __init__(self, level: int) -> None:
        super().__init__(1 if level == 1 else 2)
        self.level = level
        #: What names the tunnel, or its first path.
        self.first = "tunnel client" if level == 1 else "tunnel client, path wan1"
        self._resolver: subprocess.Popen[str] | None = None
        self._netns = [Path("/etc/netns") / name for name in self.ns.values()]

    def make(self) -> None:
        super().make()
        if self.level == 1:
            one = {"bind_ip": f"if:{self.wans[0]}", "remote_addr": SERVER, "remote_port": PORT}
            kept = self.configured("client")
            self.write("client", {key: kept[key] for key in kept if not key.startswith("multipath")} | one)
        lan = {"cidrs": ["172.16.9.0/30"], "interface": "lan9", "table": 45009, "priority": 509}
        self.write("client", self.configured("client") | {"lan_routing": lan})
        self.ip("client", "link add lan9 type veth peer name far9")
        self.ip("client", "addr add 172.16.9.1/30 dev lan9")
        for end in ("lan9", "far9"):
            self.ip("client", f"link set {end} up")
        # The server answers to the address of the client's TUN alone; its peer has the LAN as well.
        peers = self.configured("server")["peers"]
        peers[0]["allowed"].append("172.16.9.0/30")
        self.write("server", self.configured("server") | {"peers": peers})
        for role in ADDRESS:
            (self.folder / f"etc-{role}").mkdir()
            (self.folder / f"etc-{role}" / f"{role}.yaml").symlink_to(self.folder / f"{role}.yaml")
        for folder in self._netns:
            folder.mkdir(parents=True)
            (folder / "resolv.conf").write_text(f"nameserver {SERVER}\n")
        line = ["ip", "netns", "exec", self.ns["server"], sys.executable, "-c", _RESOLVER, SERVER]
        self._resolver = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self._resolver.stdout is not None
        assert self._resolver.stdout.readline() == "ready\n"
        self.mend()

    def mend(self) -> None:
        """Bring TUN, rules and routes in order, at both ends."""
        for role in ADDRESS:
            code, text = self.command(role, "routing", "fix", "all", "--instances", self.folder / f"etc-{role}")
            assert code == 0, text

    def command(self, role: str, *arguments: object) -> tuple[int, str]:
        line = ["ip", "netns", "exec", self.ns[role], sys.executable, "-m", "mpquic", *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def doctor(self, role: str = "client", *more: str) -> tuple[int, str]:
        places = ["--instances", self.folder / f"etc-{role}", "--run-dir", self.folder, "--identity", "/nonexistent"]
        return self.command(role, "doctor", *places, *more)

    def findings(self, role: str = "client") -> set[tuple[str, str]]:
        """Return (where, code) of all that is wrong."""
        code, text = self.doctor(role, "--json")
        found: list[dict[str, Any]] = json.loads(text)["findings"]
        wrong = {(one["where"], one["code"]) for one in found if one["level"] != "note"}
        assert code == (2 if wrong else 0), text
        # A machine that is busy with something else answers late, which is none of these tests' faults.
        return {one for one in wrong if one[1] != "rtt_high"}

    def named(self, where: str, *codes: str, role: str = "client") -> set[tuple[str, str]]:
        """Wait for the name of a fault; return all that is wrong then."""
        found: set[tuple[str, str]] = set()

        def told() -> bool:
            found.clear()
            found.update(self.findings(role))
            return any((where, code) in found for code in codes)

        until(told, DOCTOR + SLACK, lambda: f"{where}: {codes}, but {found}")
        return found

    def shown(self, *texts: str, role: str = "client") -> None:
        """Wait until the status shows one of these texts."""
        last = ""

        def told() -> bool:
            nonlocal last
            last = self.status_text(role)
            return any(text in last for text in texts)

        until(told, STATUS + SLACK, lambda: f"{texts} in the status, but {last}")

    def status_text(self, role: str) -> str:
        places = ["--instances", self.folder / f"etc-{role}", "--run-dir", self.folder]
        code, text = self.command(role, "status", role, *places)
        assert code == 0, text
        return text

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Have packets on their way, as users do."""
        line = f"ip netns exec {self.ns['client']} ping -q -i 0.02 {ADDRESS['server']}"
        with subprocess.Popen(line.split(), stdout=subprocess.DEVNULL) as ping:
            try:
                yield
            finally:
                ping.terminate()

    def in_router(self, rules: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.router, "nft", rules], check=True, timeout=20)

    def close(self) -> None:
        if self._resolver is not None:
            self._resolver.kill()
            self._resolver.wait(10)
        super().close()
        for folder in self._netns:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._netns[0].parent.rmdir()

    def stop_resolver(self) -> None:
        assert self._resolver is not None
        self._resolver.kill()
        self._resolver.wait(10)


@pytest.fixture(params=[1, 3], ids=["level1", "level3"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with made(Site(request.param)) as world:
        world.bring_up() if world.level == 3 else super(MultiWan, world).bring_up()
        yield world


def test_nothing_is_wrong_where_nothing_is(site: Site) -> None:
    with site.busy():
        time.sleep(1)
        assert site.findings() == set()
    assert site.findings("server") == set()
    text = site.doctor()[1]
    assert "[OK]   host" in text.splitlines()
    assert text.splitlines()[-1].startswith("tunnels=1 wrong=")


def test_a_wan_without_a_carrier(site: Site) -> None:
    site.plug(1, "down")
    assert not site.named(site.first, "wan_no_carrier") & {("tunnel client", "no_reply")}
    site.shown("has no carrier")
    site.plug(1, "up")
    until(lambda: site.findings() == set(), 30, lambda: str(site.findings()))
    # It is remembered.
    site.shown(f"ago: interface {site.wans[0]} has no carrier")


def test_a_black_hole(site: Site) -> None:
    with site.busy():
        site.block(1)
        site.shown("no answer", "no acknowledgement")
        site.named(site.first, "no_answer")


def test_lost_packets(site: Site) -> None:
    near = site.near[0]
    with site.busy():
        rules = "add table ip drops; add chain ip drops f { type filter hook forward priority 0; }; "
        site.in_router(f"{rules}add rule ip drops f iifname {near} numgen random mod 100 < 20 drop")
        found = site.named(site.first, "loss")
        assert not found & {(site.first, "mtu_fell")}


def test_a_key_that_nobody_knows(site: Site) -> None:
    site.stop("client")
    site.identify("client")
    site.start("client")
    site.wait_started("client")
    site.named("tunnel client" if site.level == 1 else site.first, "wrong_key")
    site.shown("is no peer here")
    assert ("tunnel server", "wrong_key") in site.findings("server")


def test_another_server(site: Site) -> None:
    site.stop("client")
    other = "sha256:" + "0" * 64
    site.write("client", site.configured("client") | {"tls_server_pin": other})
    site.start("client")
    site.wait_started("client")
    site.named("tunnel client" if site.level == 1 else site.first, "wrong_key")
    site.shown("is not the pinned one")


def test_a_path_that_carries_less(site: Site) -> None:
    quiet = "add table ip quiet; add chain ip quiet o { type filter hook output priority 0; }; "
    site.in_router(f"{quiet}add rule ip quiet o icmp type 3 drop")
    for device in (f"-n {site.router} link set {site.near[0]}", f"-n {site.ns['client']} link set {site.wans[0]}"):
        sh(f"ip {device} mtu 1280")
    large = f"ip netns exec {site.ns['client']} ping -q -i 0.02 -s 1250 {ADDRESS['server']}"
    with subprocess.Popen(large.split(), stdout=subprocess.DEVNULL) as ping:
        try:
            site.named(site.first, "mtu_fell")
            site.shown("bytes, and carried")
        finally:
            ping.terminate()


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_daemon_that_is_gone(site: Site, role: str) -> None:
    site.stop(role)
    site.shown("not running (systemctl start mpquic@client)" if role == "client" else "no answer")
    if role == "client":
        site.named("tunnel client", "no_reply", "not_up")
    else:
        site.named("tunnel client" if site.level == 1 else site.first, "port_closed", "no_answer")


def test_a_rule_that_somebody_took_away(site: Site) -> None:
    site.ip("client", "rule del priority 509")
    assert site.named("tunnel client", "rule_missing") == {("tunnel client", "rule_missing")}
    assert "mend  mpquic routing fix client" in site.doctor()[1]
    site.mend()
    assert site.findings() == set()


def test_no_names(site: Site) -> None:
    site.stop_resolver()
    assert site.named("host", "dns_silent") == {("host", "dns_silent")}
    site.write("client", site.configured("client"))
    keys = site.configured("client")
    if site.level == 1:
        site.write("client", keys | {"remote_addr": "vps.example.net"})
    else:
        keys["multipath_paths"][0]["remote_addr"] = "vps.example.net"
        site.write("client", keys)
    site.named("tunnel client", "dns_failed")


def test_a_file_that_is_not_run(site: Site) -> None:
    site.write("client", site.configured("client") | {"telemetry_interval": 77})
    site.named("tunnel client", "config_stale")


def test_a_file_that_cannot_be_read(site: Site) -> None:
    (site.folder / "etc-client" / "broken.yaml").write_text("role: [")
    found = site.named("host", "config_wrong")
    assert found == {("host", "config_wrong")}


def test_a_tun_that_is_down(site: Site) -> None:
    site.ip("client", f"link set {TUN} down")
    site.named("tunnel client", "tun_down")
