# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace for a test, the command run inside it, and the kernel's own report of what it changed."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Imported here, so that not every forked command has to.
import mpquic.cli.health
import mpquic.cli.routing
import mpquic.cli.tun
import mpquic.host.health
import mpquic.host.netlink
import mpquic.host.timed  # noqa: F401
from mpquic.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNET = 0x40000000
CARRIER = re.compile(r" linkdown|NO-CARRIER,|,LOWER_UP| state \w+")
INDEX = re.compile(r"^\d+: (?=\S+: <)")
LIBC = ctypes.CDLL(None, use_errno=True)
PIN = "sha256:" + "0" * 64
#: The classes of one WAN: their addresses are of one network.
CLASSES = {"cr5": "10.200.10.1", "df5": "10.200.10.5", "bk5": "10.200.10.9"}
CLASSES_6 = {"cr5": "fd6d:7071:10::1", "df5": "fd6d:7071:10::5", "bk5": "fd6d:7071:10::9"}
MARKS = {"cr5": 0x00110000, "df5": 0x00120000, "bk5": 0x00130000}


@dataclass
class Done:
    """What a command did."""

    rc: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


class Namespace:
    """A network namespace of one test."""

    def __init__(self, folder: Path) -> None:
        self.name = f"hosteng-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.instances = folder / "instances"
        self.instances.mkdir()
        self.children: list[int] = []
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link set lo up")

    def close(self) -> None:
        for child in self.children:
            os.kill(child, 9)
            os.waitpid(child, 0)
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def ip(self, command: str) -> str:
        """Run ``ip COMMAND`` in the namespace."""
        return subprocess.run(
            ["ip", "-n", self.name, *command.split()], check=True, capture_output=True, text=True
        ).stdout

    def enter(self) -> None:
        """Move the calling process into the namespace."""
        with Path(f"/run/netns/{self.name}").open("rb") as file:
            assert LIBC.setns(file.fileno(), CLONE_NEWNET) == 0

    def fork(self, work: Callable[[], int], *, out: Path | None = None, err: Path | None = None) -> int:
        """Run `work` in a child inside the namespace; return its process id."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            for path, number in ((out, 1), (err, 2)):
                if path is not None:
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            self.enter()
            code = work()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 70
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def background(self, work: Callable[[], int]) -> None:
        """Run `work` until the test ends."""
        self.children.append(self.fork(work))

    def mpquic(self, *arguments: str) -> Done:
        """Run the command in the namespace."""
        out, err = self.folder / "out", self.folder / "err"
        child = self.fork(lambda: main(arguments), out=out, err=err)
        _, status = os.waitpid(child, 0)
        return Done(os.waitstatus_to_exitcode(status), out.read_text(), err.read_text())

    def routing(self, *arguments: str) -> Done:
        return self.mpquic("routing", *arguments, "--instances", str(self.instances), "--json")

    def health(self, *arguments: str) -> Done:
        return self.mpquic("health", *arguments, *self._places(), "--json")

    def _places(self) -> list[str]:
        folders = {"--instances": self.instances, "--run-dir": self.folder, "--state-dir": self.folder / "state"}
        return [word for option, folder in folders.items() for word in (option, str(folder))]

    def instance(
        self,
        number: int,
        *,
        lan: str | None = None,
        role: str = "client",
        cidr: str | None = None,
        ipv6: bool = False,
    ) -> None:
        """Write the reference instance file of one tunnel, with `ipv6` of a LAN that has both families."""
        interface = lan or f"lan{number}"
        own = 1 if role == "client" else 2
        text = {
            "role": role,
            "bind_ip": f"if:wan{number}" if role == "client" else "0.0.0.0",
            "remote_port": 45000 + number,
            "tun_name": f"mpq{number}",
            "tun_cidr": cidr or f"10.200.{number}.{own}/30",
            "lan_routing": {"cidrs": [f"172.16.{number}.0/30"]},
        }
        if role == "client":
            text |= {"remote_addr": "203.0.113.1", "tls_server_pin": PIN}
            text["lan_routing"] |= {"interface": interface, "table": 45000 + number, "priority": 500 + number}
        else:
            text |= {"tls_cert_file": str(self.folder / "cert.pem"), "tls_key_file": str(self.folder / "key.pem")}
        if ipv6:
            text["tun_cidr6"] = f"fd6d:7071:0:{number}::{own}/126"
            text["lan_routing"]["cidrs"].append(f"fd00:{number}::/64")
        self.write(f"{number}", text)

    def class_instance(self, name: str, **changes: Any) -> None:
        """Write the reference instance file of one class of WAN 5."""
        place = list(CLASSES).index(name)
        text = {
            "role": "client",
            "bind_ip": "if:wan5",
            "remote_addr": "203.0.113.1",
            "remote_port": 45010,
            "tun_name": name,
            "tun_cidr": f"{CLASSES[name]}/32",
            "tun_cidr6": f"{CLASSES_6[name]}/128",
            "tun_peer": "10.200.10.254",
            "tls_server_pin": PIN,
            "lan_routing": {"cidrs": [], "mark": MARKS[name], "table": 46016 + place, "priority": 200 + place},
        }
        self.write(name, text | changes)

    def write(self, name: str, text: dict[str, Any]) -> None:
        """Write an instance file, without the keys that are None."""
        kept = {key: value for key, value in text.items() if value is not None}
        (self.instances / f"{name}.yaml").write_text(json.dumps(kept))

    def veth(self, name: str, address: str | None = None) -> None:
        self.ip(f"link add {name} type veth peer name p-{name}")
        for end in (name, f"p-{name}"):
            # No IPv6 address of its own: it would turn up in a monitor whenever duplicate detection is through.
            self.ip(f"link set {end} addrgenmode none")
            self.ip(f"link set {end} up")
        if address:
            self.ip(f"address add {address} dev {name}")

    def snapshot(self) -> str:
        """Return all that routing is made of, without what the kernel counts or renumbers."""
        text = self.ip("address")
        for family in ("-4", "-6"):
            text += self.ip(f"{family} rule") + self.ip(f"{family} route show table all")
        return "\n".join(sorted(INDEX.sub("", line) for line in CARRIER.sub("", text).splitlines()))


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Poll a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@dataclass
class Monitor:
    """The kernel's own report of what changed, by ``ip monitor``."""

    namespace: Namespace
    log: Path
    marks: int = 0

    def mark(self) -> int:
        """Return the place in the log now, sure that all earlier events are in it."""
        self.marks += 1
        priority = 31000 + self.marks
        self.namespace.ip(f"rule add priority {priority} to 192.0.2.{self.marks} lookup 99")
        assert eventually(lambda: f"{priority}:" in self.log.read_text())
        return len(self.log.read_text())

    def tuns(self) -> list[str]:
        return self.namespace.ip("-br link show type tun").splitlines()

    def events(self, work: Callable[[], Any], *, settled: bool = True) -> list[str]:
        """Return the events that `work` caused."""
        # The kernel tells of a new TUN's missing carrier up to a second late.
        assert not settled or eventually(lambda: all(" DOWN " in line for line in self.tuns()) and self._quiet())
        return self._between(work)

    def _quiet(self) -> bool:
        # And of a new IPv6 address from a queue of its own.
        return not self._between(lambda: time.sleep(0.05))

    def _between(self, work: Callable[[], Any]) -> list[str]:
        start = self.mark()
        work()
        end = self.mark()
        lines = self.log.read_text()[start:end].splitlines()
        return [line for line in lines if "lookup 99" not in line]
