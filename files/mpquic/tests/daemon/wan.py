# SPDX-License-Identifier: GPL-3.0-or-later
"""Two network namespaces joined by a veth, a TUN device in each, and daemons of an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.io.control import ask
from mpquic.quic import spki_pin
from mpquic.quic.selftest import _self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_World = TypeVar("_World", bound="Wan")
TUN = "mpq9"
PORT = 45009
NOBODY = 65534
ADDRESS = {"client": "10.200.9.1", "server": "10.200.9.2"}
OUTER = {"client": "10.98.9.1", "server": "10.98.9.2"}
OTHER = {"client": "server", "server": "client"}
#: The client's name in the server's list of peers.
PEER = "client1"


def sh(command: str, *, check: bool = True, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command.split(), capture_output=True, text=True, timeout=timeout, check=check)


def until(condition: Callable[[], bool], seconds: float, what: str | Callable[[], str] = "") -> float:
    """Poll; return how long it took. ``what`` is told when it takes longer."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            pytest.fail(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)
    return time.monotonic() - start


class Wan:
    """The wire and both ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mpquic-wan-"))
        self.folder.chmod(0o755)
        self.ns = {role: f"mqd{os.getpid()}{role[0]}" for role in ADDRESS}
        self.veth = {role: f"mqd{role[0]}{os.getpid()}"[:15] for role in ADDRESS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        #: Capabilities of the daemons. To read is the test's own: the checkout may lie in a folder of root's.
        self.capabilities = ["dac_read_search"]
        #: What Python runs as a daemon.
        self.program = dict.fromkeys(ADDRESS, "-m mpquic")
        #: What a daemon sees elsewhere: (path of this machine, path there).
        self.mounts: dict[str, list[tuple[Path, Path]]] = {role: [] for role in ADDRESS}

    def make(self) -> None:
        for role in ADDRESS:
            sh(f"ip netns add {self.ns[role]}")
        self.join()
        for role in ADDRESS:
            self.ip(role, "link set lo up")
            self.make_tun(role)
        os.mknod(self.folder / "tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
        (self.folder / "tun").chmod(0o666)
        self.configure("client", bind_ip=f"if:{self.veth['client']}", remote_addr=OUTER["server"])
        self.configure("client", tls_server_pin=self.identify("server"))
        self.configure("server", bind_ip=OUTER["server"])
        peer = {"name": PEER, "pins": [self.identify("client")], "allowed": [f"{ADDRESS['client']}/32"]}
        self.configure("server", peers=[peer])

    def join(self) -> None:
        """Lay the wire."""
        one, two = self.veth.values()
        sh(f"ip link add {one} netns {self.ns['client']} type veth peer name {two} netns {self.ns['server']}")
        for role in ADDRESS:
            self.ip(role, f"addr add {OUTER[role]}/24 dev {self.veth[role]}")
            self.ip(role, f"link set {self.veth[role]} up")

    def make_tun(self, role: str, mtu: int = 1300) -> None:
        sh(f"ip netns exec {self.ns[role]} ip tuntap add {TUN} mode tun user {NOBODY}")
        # As on a host of ours: no link-local address, or the kernel would send packets of its own into the tunnel.
        self.ip(role, f"link set {TUN} addrgenmode none")
        self.ip(role, f"addr add {ADDRESS[role]}/30 dev {TUN}")
        self.ip(role, f"link set {TUN} mtu {mtu} up")

    def identify(self, role: str) -> str:
        """Give an end a new key, and return its pin. What the other end trusts is left as it is."""
        pin = self.make_key(role)
        self.configure(
            role, tls_cert_file=str(self.folder / f"{role}.crt"), tls_key_file=str(self.folder / f"{role}.key")
        )
        return pin

    def make_key(self, name: str) -> str:
        """Make a key, with its certificate, in files of this name; return its pin."""
        key, certificate = _self_signed()
        self.owned(f"{name}.crt", certificate.public_bytes(Encoding.PEM))
        self.owned(f"{name}.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return spki_pin(certificate)

    def owned(self, name: str, data: bytes) -> Path:
        """Write a file that only the daemons may read."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        os.chown(path, NOBODY, NOBODY)
        return path

    def configure(self, role: str, **keys: Any) -> Path:
        path = self.folder / f"{role}.yaml"
        if not path.exists():
            base = {"role": role if role in ADDRESS else "client", "remote_port": PORT, "tun_name": TUN}
            base |= {"tun_cidr": f"{ADDRESS[role]}/30"} if role in ADDRESS else {}
            base |= {"log_level": "debug", "multi_conn_enabled": role == "server"}
            path.write_text(yaml.safe_dump(base))
            (self.folder / role).mkdir()
            os.chown(self.folder / role, NOBODY, NOBODY)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))
        return path

    def configured(self, role: str) -> dict[str, Any]:
        """Return what an end's file says."""
        found: dict[str, Any] = yaml.safe_load((self.folder / f"{role}.yaml").read_text())
        return found

    def ip(self, role: str, command: str) -> None:
        sh(f"ip -n {self.ns[role]} {command}")

    # --- daemons ----------------------------------------------------------------------------------------------------

    def start(self, role: str) -> None:
        """Start a daemon as nobody."""
        self.processes[role] = self.start_beside(role)

    def start_beside(self, role: str) -> subprocess.Popen[bytes]:
        drop = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
        for kind in ("bounding-set", "inh-caps", "ambient-caps"):
            drop += f" --{kind}=-all,+{',+'.join(self.capabilities)}"
        config = self.folder / f"{role}.yaml"
        command = f"{sys.executable} {self.program[role]} run --config {config} --control {self.control(role)}"
        mounts = [(self.folder / "tun", Path("/dev/net/tun")), *self.mounts[role]]
        script = "".join(f"mount --bind {here} {there} && " for here, there in mounts)
        script += f"exec {drop} --no-new-privs {command}"
        with (self.folder / f"{role}.log").open("ab") as log:
            return subprocess.Popen(["ip", "netns", "exec", self.ns[role], "sh", "-c", script], stdout=log, stderr=log)

    def stop(self, role: str, number: int = signal.SIGTERM) -> int:
        process = self.processes.pop(role)
        process.send_signal(number)
        return process.wait(10)

    def reload(self, role: str) -> None:
        """Let a daemon read its file anew, and wait until it has."""
        done = self.log(role).count("reloaded identity=")
        self.processes[role].send_signal(signal.SIGHUP)
        until(
            lambda: self.log(role).count("reloaded identity=") > done,
            5,
            lambda: f"{role} reloaded, log: {self.log(role)[-800:]}",
        )

    def control(self, role: str) -> Path:
        return self.folder / role / "control.sock"

    def status(self, role: str) -> dict[str, Any]:
        try:
            return ask(self.control(role), "status")
        except OSError:
            return {"state": "down", "reason": "", "drops": {}, "session": None}

    def log(self, role: str) -> str:
        return (self.folder / f"{role}.log").read_text()

    def wait_started(self, role: str) -> None:
        """Wait until a daemon answers: a busy machine takes long to start Python, which is not what tests measure."""
        until(lambda: self.status(role)["state"] != "down", 60, lambda: f"{role} started, log: {self.log(role)[-800:]}")

    def wait_state(self, role: str, state: str, seconds: float = 10) -> float:
        """Return how long it took from when the daemon answered."""
        self.wait_started(role)
        return until(
            lambda: self.status(role)["state"] == state,
            seconds,
            lambda: f"{role} {state}, log: {self.log(role)[-800:]}",
        )

    def bring_up(self) -> None:
        self.start("server")
        self.start("client")
        for role in ADDRESS:
            self.wait_state(role, "up")

    def ping(self, role: str, extra: str = "-c 1 -W 1") -> bool:
        command = f"ip netns exec {self.ns[role]} ping -q {extra} {ADDRESS[OTHER[role]]}"
        return sh(command, check=False).returncode == 0

    def transfer(self, source: str, data: bytes) -> str:
        """Send ``data`` over TCP through the tunnel; return the SHA-256 of what arrived."""
        (self.folder / "data").write_bytes(data)
        serve = "import socket,sys;s=socket.create_server((sys.argv[2],8000));print('ready',flush=True);c,_=s.accept();"
        serve += "c.sendall(open(sys.argv[1],'rb').read());c.close()"
        fetch = "import socket,hashlib,sys;c=socket.create_connection((sys.argv[1],8000),5);h=hashlib.sha256()\n"
        fetch += "while b:=c.recv(65536): h.update(b)\nprint(h.hexdigest())"
        place = ADDRESS[source]
        line = ["ip", "netns", "exec", self.ns[source], sys.executable, "-c", serve, str(self.folder / "data"), place]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            line = ["ip", "netns", "exec", self.ns[OTHER[source]], sys.executable, "-c", fetch, place]
            try:
                done = subprocess.run(line, capture_output=True, text=True, timeout=30, check=True)
            finally:
                server.kill()
        return done.stdout.strip()

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        for name in self.ns.values():
            sh(f"ip netns del {name}", check=False)
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def made(world: _World) -> Iterator[_World]:
    """Make a world, and close it at the end however much of it was made."""
    with contextlib.closing(world):
        world.make()
        yield world


def command(*arguments: object) -> tuple[int, Any]:
    """Run ``mpquic ... --json``."""
    line = [sys.executable, "-m", "mpquic", *map(str, arguments), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, json.loads(done.stdout)
