# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic keeper`` on real devices, asked by several users."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from host_netns import Namespace, eventually
from mpquic.cli import main
from mpquic.host import keeper
from mpquic.host.netlink import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.host.state import Link

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NOBODY = 65534
OTHER = 1
ASK = {"command": "set-mtu", "name": "mine", "mtu": 1361}


@contextlib.contextmanager
def being(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


class Keeper:
    """A listening socket, as the service manager holds it, and the keeper behind it."""

    def __init__(self, netns: Namespace) -> None:
        self.netns = netns
        self.folder = Path(tempfile.mkdtemp(prefix="mpquic-keeper-"))
        self.folder.chmod(0o755)
        self.path = self.folder / "keeper.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        # Open to all: the keeper has to look by itself.
        self.path.chmod(0o666)
        self.listener.listen()
        self.process = 0

    def start(self, *, idle: float = 60.0, timeout: float = keeper.TIMEOUT) -> None:
        def work() -> int:
            os.dup2(self.listener.fileno(), 3)
            os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
            keeper.IDLE, keeper.TIMEOUT = idle, timeout
            return main(["keeper", "--user", "nobody"])

        self.process = self.netns.fork(work, err=self.folder / "log")

    def wait(self) -> int:
        process, self.process = self.process, 0
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def connect(self, uid: int = NOBODY) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        with being(uid):
            sock.connect(str(self.path))
        return sock

    def raw(self, data: bytes, uid: int = NOBODY) -> Any:
        with self.connect(uid) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            return answer(sock)

    def ask(self, uid: int = NOBODY, **changes: Any) -> Any:
        return self.raw(json.dumps(ASK | changes).encode() + b"\n", uid)

    def close(self) -> None:
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            self.wait()
        self.listener.close()
        shutil.rmtree(self.folder)


def answer(sock: socket.socket) -> Any:
    data = b""
    while not data.endswith(b"\n") and (part := sock.recv(4096)):
        data += part
    return json.loads(data)


@pytest.fixture
def kept(netns: Namespace) -> Iterator[Keeper]:
    """A keeper, and devices of several owners and kinds beside "mine"."""
    for name, kind in (
        ("mine", f"mode tun user {NOBODY}"),
        ("roots", "mode tun user 0"),
        ("others", f"mode tun user {OTHER}"),
        ("anyones", "mode tun"),
        ("groups", f"mode tun group {NOBODY}"),
        ("tap", f"mode tap user {NOBODY}"),
    ):
        netns.ip(f"tuntap add {name} {kind}")
    netns.ip("link add dummy type veth peer name peer")
    with contextlib.closing(Keeper(netns)) as found:
        yield found


def mtus(netns: Namespace) -> dict[str, int]:
    return {link["ifname"]: link["mtu"] for link in json.loads(netns.ip("-j link"))}


def test_the_owner_gets_what_it_asks_for(kept: Keeper) -> None:
    kept.start()
    before = mtus(kept.netns)
    assert kept.ask() == {"before": 1500, "mtu": 1361}
    assert kept.ask(mtu=576) == {"before": 1361, "mtu": 576}
    assert kept.ask(mtu=9000) == {"before": 576, "mtu": 9000}
    assert mtus(kept.netns) == before | {"mine": 9000}
    assert f"mtu set name=mine mtu=1361 before=1500 uid={NOBODY} pid={os.getpid()}\n" in kept.log()
    # What is so already is no change, and nothing to tell.
    lines = kept.log()
    assert kept.ask(mtu=9000) == {"before": 9000, "mtu": 9000}
    assert kept.log() == lines
    # Root is asked for its own, as others are.
    assert kept.ask(uid=0, name="roots") == {"before": 1500, "mtu": 1361}


def test_a_device_that_does_not_last_counts_as_well(kept: Keeper) -> None:
    def hold() -> int:
        with Path("/dev/net/tun").open("r+b", buffering=0) as device:
            fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"brief", 0x1001))
            fcntl.ioctl(device, 0x400454CC, NOBODY)
            signal.pause()
        return 0

    kept.netns.background(hold)
    kept.start()
    assert eventually(lambda: kept.ask(name="brief") == {"before": 1500, "mtu": 1361})


@pytest.mark.parametrize(
    ("uid", "changes", "error", "found"),
    [
        (NOBODY, {"name": "roots"}, "not-owned", "roots of uid 0"),
        (NOBODY, {"name": "others"}, "not-owned", f"others of uid {OTHER}"),
        (NOBODY, {"name": "anyones"}, "not-owned", "anyones of nobody"),
        (NOBODY, {"name": "groups"}, "not-owned", "groups of nobody"),
        (0, {}, "not-owned", f"mine of uid {NOBODY}"),
        (NOBODY, {"name": "tap"}, "not-a-tun", "tap, a TAP"),
        (NOBODY, {"name": "dummy"}, "not-a-tun", "dummy, a device of kind veth"),
        (NOBODY, {"name": "lo"}, "not-a-tun", "lo, a device of kind hardware"),
        (NOBODY, {"name": "none"}, "no-device", "no device none"),
        (NOBODY, {"mtu": 575}, "bad-mtu", "575"),
        (NOBODY, {"mtu": 9001}, "bad-mtu", "9001"),
        (NOBODY, {"name": "mine/../lo"}, "bad-name", "'mine/../lo'"),
        (NOBODY, {"command": "delete"}, "unknown-command", "'delete'"),
        (NOBODY, {"up": True}, "malformed", "'up'"),
        (OTHER, {}, "not-allowed", f"uid {OTHER}"),
        (OTHER, {"name": "others"}, "not-allowed", f"uid {OTHER}"),
    ],
)
def test_everything_else_is_refused(kept: Keeper, uid: int, changes: dict[str, Any], error: str, found: str) -> None:
    kept.start()
    before = mtus(kept.netns)
    said = kept.ask(uid, **changes)
    assert (said["error"], said["found"]) == (error, found)
    assert said["expected"]
    assert mtus(kept.netns) == before
    assert f'refused uid={uid} pid={os.getpid()} reason="{said["where"]}: found {found}, expected ' in kept.log()
    assert "mtu set" not in kept.log()
    assert kept.ask() == {"before": 1500, "mtu": 1361}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "malformed"),
        (b"\n", "malformed"),
        (b"\0" * 100 + b"\n", "malformed"),
        (json.dumps(ASK).encode(), "malformed"),
        (b"[" * keeper.MAX_REQUEST + b"\n", "malformed"),
        (b" " * keeper.MAX_REQUEST + b" \n", "too-long"),
        (b"x" * 1_000_000, "too-long"),
    ],
)
def test_garbage_is_answered_and_survived(kept: Keeper, data: bytes, error: str) -> None:
    kept.start()
    assert kept.raw(data)["error"] == error
    assert kept.ask() == {"before": 1500, "mtu": 1361}
    assert "Traceback" not in kept.log()


def test_a_device_that_takes_the_name_meanwhile_is_left_alone(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    really = Kernel.link

    def look_too_early(kernel: Kernel, name: str) -> Link | None:
        found = really(kernel, name)
        kept.netns.ip("tuntap del mine mode tun")
        kept.netns.ip("tuntap add mine mode tun user 0")
        return found

    monkeypatch.setattr(Kernel, "link", look_too_early)
    kept.start()
    said = kept.ask()
    assert (said["error"], said["found"]) == ("failed", "the kernel refused: No such device")
    assert mtus(kept.netns)["mine"] == 1500


def test_whoever_hesitates_is_sent_away(kept: Keeper) -> None:
    kept.start(timeout=0.3)
    with kept.connect() as silent, kept.connect() as slow, kept.connect():
        started = time.monotonic()
        assert answer(silent)["error"] == "timeout"
        assert time.monotonic() - started >= 0.25
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in json.dumps(ASK).encode() + b"\n":
                slow.send(bytes([byte]))
                time.sleep(0.02)
        assert answer(slow)["error"] == "timeout"
    # Somebody who has gone away without a word is nobody to wait for.
    assert kept.ask() == {"before": 1500, "mtu": 1361}


def test_it_ends_when_nobody_asks_and_the_next_request_waits_for_the_next_keeper(kept: Keeper) -> None:
    kept.start(idle=0.2)
    assert kept.ask() == {"before": 1500, "mtu": 1361}
    assert kept.wait() == 0
    with kept.connect() as sock:
        sock.sendall(json.dumps(ASK | {"mtu": 1300}).encode() + b"\n")
        kept.start()
        assert answer(sock) == {"before": 1361, "mtu": 1300}


def test_it_has_to_be_given_a_socket_and_a_user(netns: Namespace) -> None:
    done = netns.mpquic("keeper", "--user", "root")
    assert (done.rc, done.err) == (
        64,
        "mpquic: found no listening Unix socket, expected to be started by mpquic-keeper.socket\n",
    )
    assert netns.mpquic("keeper").rc == 64


def test_an_unknown_user(kept: Keeper) -> None:
    done = kept.netns.mpquic("keeper", "--user", "no-such-user")
    assert done.rc == 64
    assert "user no-such-user: there is no such user" in done.err
