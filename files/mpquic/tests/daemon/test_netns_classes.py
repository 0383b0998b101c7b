# SPDX-License-Identifier: GPL-3.0-or-later
"""Two class tunnels of one site on one port, as whole daemons: both families, the way back, marks on the wire."""

from __future__ import annotations

import os
import select
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from routed import CEILING, RoutedWan
from wan import NOBODY, PORT, TUN, made, sh, until

sys.path.append(str(Path(__file__).parents[1] / "hostile"))

import places

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

#: Classes by the end that the daemon is; their TUNs, and the last part of their addresses.
TUNS = {"client": TUN, "other": "mpq8"}
HOST = {"client": 1, "other": 5}
#: A host of the LAN, one behind the server, and their networks.
LAN = {4: "172.16.9.2", 6: "fd00:9::2"}
LANS = {4: "172.16.9.0/30", 6: "fd00:9::/64"}
WORLD = {4: "10.99.9.9", 6: "fd00:99::9"}
EF, LE = 46 << 2, 1 << 2
VERSIONS = (4, 6)


class TwoClasses(RoutedWan):
    """The end ``other`` is a second daemon of the client: mark EF for the first, the packet's own for the second."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = ["dac_read_search"]
        for each in (self.ns, self.program, self.mounts):
            each["other"] = each["client"]  # type: ignore[index]

    def make(self) -> None:
        super().make()
        first = self.configured("client")
        (self.folder / "other").mkdir()
        os.chown(self.folder / "other", NOBODY, NOBODY)
        (self.folder / "other.yaml").write_text((self.folder / "client.yaml").read_text())
        peers = []
        for name, tun in TUNS.items():
            own = {4: f"10.200.9.{HOST[name]}", 6: f"fd6d:7071:9::{HOST[name]}"}
            if name == "other":
                sh(f"ip netns exec {self.ns[name]} ip tuntap add {tun} mode tun user {NOBODY}")
                self.ip(name, f"link set {tun} addrgenmode none")
            self.ip(name, f"addr flush dev {tun}")
            self.ip(name, f"link set {tun} mtu {CEILING} up")
            mark = (HOST[name] << 4) << 16
            lan = {"cidrs": list(LANS.values()), "mark": mark, "table": 9000 + HOST[name], "priority": 900 + HOST[name]}
            self.configure(
                name,
                tun_name=tun,
                tun_cidr=f"{own[4]}/32",
                tun_cidr6=f"{own[6]}/128",
                tun_peer="10.200.9.254",
                tun_mtu=CEILING,
                outer_dscp=EF >> 2 if name == "client" else "copy",
                lan_routing=lan,
            )
            for version in VERSIONS:
                self.ip(name, f"addr add {own[version]}/{32 if version == 4 else '128 nodad'} dev {tun}")
                self.ip(name, f"-{version} route add default dev {tun} table {9000 + HOST[name]}")
                # In place of the marks: a socket says which tunnel it takes.
                self.ip(name, f"-{version} rule add oif {tun} lookup {9000 + HOST[name]}")
            peers.append(
                {
                    "name": name,
                    "pins": [self.configured("server")["peers"][0]["pins"][0]],
                    "allowed": [f"{own[4]}/32", f"{own[6]}/128"],
                    "shared": list(LANS.values()),
                    "outer_dscp": EF >> 2 if name == "client" else "copy",
                }
            )
        assert first["tls_cert_file"] == self.configured("other")["tls_cert_file"]
        self.configure(
            "server",
            tun_cidr="10.200.9.254/24",
            tun_cidr6="fd6d:7071:9::ffff/64",
            peers=peers,
            multi_conn_enabled=True,
        )
        self.ip("server", f"addr flush dev {TUN}")
        self.ip("server", f"addr add 10.200.9.254/24 dev {TUN}")
        self.ip("server", f"addr add fd6d:7071:9::ffff/64 dev {TUN} nodad")
        for version in VERSIONS:
            self.ip("server", f"-{version} route add {LANS[version]} dev {TUN}")
            self.ip("server", f"addr add {WORLD[version]} dev lo")
            self.ip("client", f"addr add {LAN[version]} dev lo")
        for name in ("all", "default", *TUNS.values()):
            sh(f"ip netns exec {self.ns['client']} sysctl -q net.ipv4.conf.{name}.rp_filter=0")

    def bring_up(self) -> None:
        for role in ("server", "client", "other"):
            self.start(role)
        for role in ("client", "other"):
            self.wait_state(role, "up")
        until(lambda: self.status("server")["reason"] == "2 of 2 peers up", 3)

    def socket(self, role: str, version: int, name: str | None = None) -> socket.socket:
        """Return a UDP socket of the LAN whose packets take the tunnel of a class, or one behind the server."""
        address = (LAN if role == "client" else WORLD)[version]
        with places.inside(self.ns[role]):
            sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        if name is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, TUNS[name].encode())
        sock.bind((address, 5060 if role == "server" else 0))
        sock.settimeout(2)
        return sock

    def counted(self, tun: str) -> int:
        """Return how many packets a TUN of the client has handed to its kernel."""
        return int(sh(f"ip netns exec {self.ns['client']} cat /sys/class/net/{tun}/statistics/rx_packets").stdout)


@pytest.fixture
def wan() -> Iterator[TwoClasses]:
    with made(TwoClasses()) as world:
        yield world


def listen(sock: socket.socket, seconds: float = 1.0) -> list[tuple[str, int]]:
    """Return the direction and the TOS of the tunnel's outer packets until there are none."""
    seen = []
    while select.select([sock], [], [], seconds)[0]:
        data = sock.recv(65535)
        if data[0] >> 4 == 4 and data[9] == 17:
            ports = int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big")
            if PORT in ports:
                seen.append(("down" if ports[0] == PORT else "up", data[1]))
        seconds = 0.2
    return seen


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_come_back_through_the_tunnel_that_asked(wan: TwoClasses, version: int) -> None:
    wan.bring_up()
    world = wan.socket("server", version)
    for name in ("other", "client", "other"):
        with wan.socket("client", version, name) as asks:
            before = {tun: wan.counted(tun) for tun in TUNS.values()}
            for number in range(5):
                asks.sendto(b"question %d" % number, (WORLD[version], 5060))
                question, source = world.recvfrom(100)
                assert source[0] == LAN[version]
                world.sendto(question, source)
                assert asks.recv(100) == question
            carried = {tun: wan.counted(tun) - before[tun] for tun in before}
            assert carried == {tun: 5 if tun == TUNS[name] else 0 for tun in before}
            # Its tunnel is gone: the other one has it.
            if name == "client":
                wan.stop(name)
                until(lambda: wan.status("server")["reason"] == "1 of 2 peers up", 3)
                world.sendto(b"late", source)
                until(lambda: wan.counted(TUNS["other"]) > before[TUNS["other"]], 2)  # noqa: B023
    world.close()
    assert "Traceback" not in wan.log("server")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_too_big_is_answered_in_each_family(wan: TwoClasses, version: int) -> None:
    """By the daemon: nobody here may set the MTU of a TUN. The kernel believes the answer and cuts the packet."""
    wan.narrow(1400)
    wan.bring_up()
    until(lambda: all("tun not fitted" in wan.log(role) for role in wan.processes), 3)
    for role, name, to in (("client", "client", WORLD), ("client", "other", WORLD), ("server", "server", LAN)):
        source = f"-I {LAN[version]}" if role == "client" else f"-I {WORLD[version]}"
        device = f"-I {TUNS[name]}" if name in TUNS else ""
        size = CEILING - (28 if version == 4 else 48)
        line = f"ip netns exec {wan.ns[role]} ping -{version} -c 1 -W 1 -M do -s {size} {device} {source} {to[version]}"
        said = sh(line, check=False).stdout
        assert "1341" in said, said
    assert "Traceback" not in wan.log("client") + wan.log("server") + wan.log("other")


def test_marks_on_the_wire(wan: TwoClasses) -> None:
    with places.inside(wan.router):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        tap.bind((wan.near["server"], 3))
    wan.start("server")
    wan.wait_state("server", "listening")
    wan.start("client")
    wan.wait_state("client", "up")
    seen = listen(tap, 3)
    assert {tos for way, tos in seen if way == "up"} == {EF}, "handshake and all"
    # The server knows whom it speaks to when it has heard the registration.
    down = [tos for way, tos in seen if way == "down"]
    assert down == [0] * down.index(EF) + [EF] * (len(down) - down.index(EF))
    assert down[0] == 0
    wan.start("other")
    wan.wait_state("other", "up")
    assert {tos for _way, tos in listen(tap)} <= {0, EF}
    sockets = []
    for version in VERSIONS:
        world, asks = wan.socket("server", version), wan.socket("client", version, "other")
        sockets += [world, asks]
        for sock in (world, asks):
            if version == 4:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, LE | 2)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, LE | 2)
        asks.sendto(b"question", (WORLD[version], 5060))
        world.sendto(b"answer", world.recvfrom(100)[1])
        assert asks.recv(100) == b"answer"
        seen = listen(tap)
        # One packet each way has one inside; the acknowledgements have none.
        assert [tos for way, tos in seen if way == "up" and tos not in {0, EF}] == [LE]
        assert [tos for way, tos in seen if way == "down" and tos not in {0, EF}] == [LE]
    for sock in (tap, *sockets):
        sock.close()


def test_the_kernel_keeps_ipv6_on_a_narrow_path(wan: TwoClasses) -> None:
    """With an MTU below 1280 it would take the addresses and routes away. What does not fit is told to turn to IPv4."""
    wan.capabilities = ["dac_read_search", "net_admin"]
    wan.narrow(1300)
    wan.bring_up()
    until(lambda: wan.tun_mtu("client") == 1280, 3)
    line = f"ip netns exec {wan.ns['client']} ping -6 -c 1 -W 1 -I {TUN} -I {LAN[6]} {WORLD[6]}"
    assert "No route" in sh(line, check=False).stdout
    assert sh(line.replace("-6", "-4").replace(LAN[6], LAN[4]).replace(WORLD[6], WORLD[4])).returncode == 0
    assert wan.status("client")["drops"]["ipv6_narrow"] == 1
    # With 1279 it would have gone.
    shown = f"ip -n {wan.ns['client']} -6 -o addr show dev {TUN}"
    assert "fd6d:7071:9::1" in sh(shown).stdout
    wan.ip("client", f"link set {TUN} mtu 1279")
    assert "fd6d:7071:9::1" not in sh(shown).stdout
