# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's host with a LAN and a resolver, where faults are made, and what the commands call them."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiwan import SERVER, MultiWan
from wan import ADDRESS, PORT, until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds from a fault to its name, of which a busy machine may take some for starting Python.
STATUS, DOCTOR = 5.0, 10.0
SLACK = 30.0
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
        # A machine that is busy with something else answers late, which is none of these tests' faults.
        return {one for one in self.all_findings(role) if one[1] != "rtt_high"}

    def all_findings(self, role: str = "client") -> set[tuple[str, str]]:
        """Return findings(), and round trips."""
        code, text = self.doctor(role, "--json")
        found: list[dict[str, Any]] = json.loads(text)["findings"]
        wrong = {(one["where"], one["code"]) for one in found if one["level"] != "note"}
        assert code == (2 if wrong else 0), text
        return wrong

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
