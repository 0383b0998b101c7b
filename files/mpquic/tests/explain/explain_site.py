# SPDX-License-Identifier: GPL-3.0-or-later
"""A client host in a namespace of its own, all of whose interfaces are TUNs: what is written to one comes in by it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import json
import os
import socket
import struct
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from mpquic import config
from mpquic.host import instances
from mpquic.host.explain import plan, ruleset
from mpquic.host.explain.sources import Sources
from mpquic.host.netlink import Kernel
from mpquic.host.shaper import document
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

# The roles' tests own the table; a second one of it would only drift.
sys.path.insert(0, str(Path(__file__).parents[4] / "tests" / "unit" / "roles"))

from nft_table import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.host.explain.packet import Packet

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
LIBC = ctypes.CDLL(None, use_errno=True)
PIN = "sha256:" + "0" * 64
UP = {
    "state": "up",
    "reason": "connected",
    "since_s": 5.0,
    "local": "192.0.2.17:41300",
    "remote": "203.0.113.10:45010",
}
WAN = "enp7s7"
LANS = ("enp7s1", "enp7s2")
LAN4, LAN6 = "172.16.5.0/28", "fd00:5::/64"
CLASSES = ("cr5", "df5", "bk5")
MARKS = {name: (0x11 + number) << 16 for number, name in enumerate(CLASSES)}
TABLES = {name: 46016 + number for number, name in enumerate(CLASSES)}
PRIORITIES = {name: 200 + number for number, name in enumerate(CLASSES)}


@contextlib.contextmanager
def namespace() -> Iterator[None]:
    """Put the calling thread into a namespace that nobody else knows and that ends with it."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert LIBC.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)


def ip(command: str) -> str:
    return subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True).stdout


def ip_batch(option: str, *commands: str) -> None:
    """Run several commands by one process."""
    subprocess.run(["ip", option, "-batch", "-"], input="\n".join(commands), check=True, text=True)


def lead(cidr: str, lan: str, tun: str, table: int, priority: int) -> None:
    """Lead what comes in from a LAN into a tunnel, and nowhere else."""
    ip(f"rule add priority {priority} from {cidr} iif {lan} lookup {table} protocol 109")
    ip(f"route add default dev {tun} metric 10 table {table} proto 109")
    ip(f"route add unreachable default metric 4278198272 table {table} proto 109")


def nft(text: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=text, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def sysctl(key: str, value: int) -> None:
    Path("/proc/sys/net", key).write_text(str(value))


class Site:
    """The host; `folder` has what /etc/mpquic would have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instances = folder / "instances"
        self.instances.mkdir()
        self.files: dict[str, int] = {}
        self.told: dict[str, dict[str, Any]] = {}
        ip("link set lo up")
        sysctl("ipv4/ip_forward", 1)
        sysctl("ipv6/conf/all/forwarding", 1)
        for name in ("all", "default"):
            sysctl(f"ipv4/conf/{name}/rp_filter", 0)
        # What the tests write has no checksums.
        sysctl("netfilter/nf_conntrack_checksum", 0)

    def close(self) -> None:
        for file in self.files.values():
            os.close(file)

    def attach(self, name: str) -> None:
        """Hold a TUN, and make it if there is none of that name."""
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
        self.files[name] = file

    def tun(self, name: str, *addresses: str) -> None:
        """Make an interface."""
        self.attach(name)
        ip_batch(
            "-s",
            f"link set {name} addrgenmode none",
            *(f"address add {address} dev {name}{' nodad' if ':' in address else ''}" for address in addresses),
            f"link set {name} up",
        )

    def instance(self, name: str, **keys: Any) -> None:
        (self.instances / f"{name}.yaml").write_text(json.dumps(keys))
        self.told[name] = dict(UP)

    def class_instance(self, name: str) -> None:
        """Make a class tunnel with its TUN, its rules and its routes as docs/architecture.md has them."""
        number = CLASSES.index(name)
        own4, own6 = f"10.200.10.{4 * number + 1}/32", f"fd6d:7071:10::{4 * number + 1:x}/128"
        self.tun(name, own4, own6)
        self.instance(
            name,
            role="client",
            bind_ip=f"if:{WAN}",
            remote_addr="203.0.113.10",
            remote_port=45010,
            tun_name=name,
            tun_cidr=own4,
            tun_cidr6=own6,
            tun_peer="10.200.10.254",
            tls_server_pin=PIN,
            lan_routing={
                "cidrs": [],
                "mark": MARKS[name],
                "table": TABLES[name],
                "priority": PRIORITIES[name],
            },
        )
        for family, own in (("-4", own4), ("-6", own6)):
            rule = f"rule add priority {PRIORITIES[name]} protocol 109 table {TABLES[name]}"
            ip_batch(
                family,
                f"{rule} fwmark {MARKS[name]:#x}/0xfff0000",
                f"{rule} from {own}",
                f"route add default dev {name} metric 10 table {TABLES[name]} proto 109",
                f"route add unreachable default metric 4278198272 table {TABLES[name]} proto 109",
            )

    def level1(self) -> None:
        """Make tunnel 1, which takes another LAN by its source."""
        self.tun("mpq1", "10.200.1.1/30")
        self.instance(
            "1",
            role="client",
            bind_ip="if:enp7s3",
            remote_addr="203.0.113.10",
            remote_port=45001,
            tun_name="mpq1",
            tun_cidr="10.200.1.1/30",
            tls_server_pin=PIN,
            lan_routing={"cidrs": ["172.16.1.0/30"], "interface": "enp7s2", "table": 45001, "priority": 501},
        )
        lead("172.16.1.0/30", "enp7s2", "mpq1", 45001, 501)

    def classes(self, matches: dict[str, list[dict[str, Any]]], default: str = "df5") -> None:
        """Plan and load classes: each has the matches given, in the order given."""
        link = {
            "name": "mt1",
            "wan": WAN,
            "port": 45010,
            "remote_addr": "203.0.113.10",
            "lans": [{"interface": lan, "cidrs4": [LAN4], "cidrs6": [LAN6]} for lan in LANS],
            "classes": [
                {
                    "name": name,
                    "tun": name,
                    "mark": MARKS[name],
                    "matches": [{**EVERYTHING, **one} for one in matches[name]],
                }
                for name in matches
            ],
            "default": default,
        }
        (self.folder / "classes.yaml").write_text(yaml.safe_dump({"links": [link]}))
        guard = {"cidrs": [LAN4, LAN6], "tuns": list(CLASSES)}
        shape = {"interface": WAN, "port_key": "dport", "port": 45010}
        plan = {
            "tuns": [*CLASSES, "mpq1"],
            "masquerade": [],
            "guards": [{"interface": lan, **guard} for lan in LANS],
            "nat_tuns": ["cr5", "df5"],
            "classify": {"links": [link]},
            "shape": [{**shape, "dscp": 46, "classid": "6d71:101"}, {**shape, "dscp": 0, "classid": "6d71:102"}],
        }
        nft(render(plan))

    def sources(self) -> Sources:
        """Read the host, as the command does."""
        with Kernel() as kernel:
            state = kernel.read()
        return Sources(
            table=ruleset.read(),
            table_wanted=True,
            state=state,
            classes=plan.load(self.folder / "classes.yaml"),
            instances=instances.select(self.instances, instances.ALL).known,
            shaper=document.load(shaped) if (shaped := self.folder / "shaper.yaml").exists() else (),
            load=functools.cache(lambda one: config.load(self.instances / f"{one.id}.yaml")[0]),
            ask=self.told.get,
        )

    def send(self, packet: Packet, tag: bytes, target: str | None = None) -> str | None:
        """Let a packet in, or out if it has no `iif`; return the device it leaves by, to `target` or as it came."""
        wire = raw(packet, tag)
        if packet.iif is not None:
            os.write(self.files[packet.iif], wire)
        else:
            family = socket.AF_INET if packet.version == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
                sock.sendto(wire, (str(packet.destination), 0))
        # An ICMP error carries the tag as well, to somebody else.
        end = ip_address(target or packet.destination).packed
        place = slice(16, 20) if packet.version == 4 else slice(24, 40)
        left = [n for n, file in self.files.items() for got in drain(file) if tag in got and got[place] == end]
        assert len(left) <= 1
        return left[0] if left else None


EVERYTHING: dict[str, list[Any]] = {
    "lan": [],
    "protocol": [],
    "src": [],
    "dst": [],
    "sports": [],
    "dports": [],
    "dscp": [],
}


def forget_flows(version: int = 4) -> None:
    """Make the kernel forget what it tracks of a family, so that the next packet is a flow's first."""
    with NFCTSocket(nfgen_family=socket.AF_INET if version == 4 else socket.AF_INET6) as conntrack:
        conntrack.flush()


def drain(file: int) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        while True:
            yield os.read(file, 65536)


def raw(packet: Packet, tag: bytes) -> bytes:
    """Write a packet, with `tag` in its payload."""
    ports = struct.pack("!HH", packet.sport or 0, packet.dport or 0)
    body = {
        6: ports + struct.pack("!IIBBHHH", 1, 0, 5 << 4, 2, 1024, 0, 0),
        17: ports + struct.pack("!HH", 8 + len(tag), 0),
        132: ports + bytes(8) + struct.pack("!BBHIIHHI", 1, 0, 20, 7, 9000, 1, 1, 1),
        1: struct.pack("!BBHHH", 8, 0, 0, 7, 1),
        47: struct.pack("!HHI", 0, 0x0800, 0),
        58: struct.pack("!BBHHH", 128, 0, 0, 7, 1),
    }.get(packet.protocol or 0, b"") + tag
    source, destination = ip_address(packet.source).packed, ip_address(packet.destination).packed
    if packet.version == 6:
        head = struct.pack("!IHBB", 6 << 28 | packet.dscp << 22, len(body), packet.protocol, 64)
        return head + source + destination + body
    head = struct.pack("!BBHHHBBH", 0x45, packet.dscp << 2, 20 + len(body), 1, 0, 64, packet.protocol, 0)
    head += source + destination
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack("!H", checksum) + head[12:] + body
