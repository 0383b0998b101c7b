# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of its own for a test: a network namespace with an uplink, and the guard's engine running in it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import traceback
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Place:
    """A network namespace with an uplink ``up0`` and the routing of a host with several lines."""

    def __init__(self) -> None:
        self.name = f"guard-{uuid.uuid4().hex[:8]}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link set lo up")
        self.link("up0", "192.0.2.2/24", "2001:db8::2/64")

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    def link(self, name: str, *addresses: str) -> None:
        """Make an interface, its other end somewhere."""
        self.ip(f"link add {name} type veth peer name p-{name}")
        for end in (f"p-{name}", name):
            self.ip(f"link set {end} addrgenmode none")
            self.ip(f"link set {end} up")
        for address in addresses:
            self.ip(f"address add {address} dev {name}" + (" nodad" if ":" in address else ""))

    def ip(self, command: str) -> str:
        """Run ``ip COMMAND`` in the namespace."""
        done = subprocess.run(["ip", "-n", self.name, *command.split()], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"ip {command}: {done.stderr}"
        return done.stdout

    def nft(self, command: str, *options: str) -> str:
        """Run nft in the namespace."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, "nft", *options, command], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"nft {command}: {done.stderr}"
        return done.stdout

    def rules(self) -> list[str]:
        return [line for v in (4, 6) for line in self.ip(f"-{v} -d rule").splitlines()]

    def routes(self) -> list[str]:
        return [line for v in (4, 6) for line in self.ip(f"-{v} -d route show table all").splitlines()]

    def run(self, work: Callable[[], object]) -> None:
        """Run the engine in the namespace, in a process of its own; it must not fail."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with Path(f"/run/netns/{self.name}").open("rb") as file:
                    assert LIBC.setns(file.fileno(), CLONE_NEWNET) == 0
                work()
                code = 0
            except BaseException:  # noqa: BLE001 - the parent's part of pytest must not run here
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
