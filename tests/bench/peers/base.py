# SPDX-License-Identifier: GPL-3.0-or-later
"""What every tunnel under test has in common."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.shell import Process, inside, last_line, run, started, succeeds, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.bench.wires import Ends

#: Bytes of the largest packet inside every tunnel.
MTU = 1300
#: Seconds in which a tunnel has to carry its first packet.
_START = 15.0


@dataclass
class Tunnel:
    """A tunnel that works, seen from inside."""

    ends: Ends
    client_inner: str
    server_inner: str
    processes: Sequence[Process] = field(default_factory=list)

    @property
    def pids(self) -> list[int]:
        """The processes of both ends."""
        return [process.pid for process in self.processes]

    def expect_alive(self) -> None:
        """Raise BenchError when one end has ended."""
        for process in self.processes:
            process.expect_alive()


class Peer(ABC):
    """A kind of tunnel."""

    #: Its name on the command line, in tables, and the Debian package that it comes from (empty: none).
    name: str
    label: str
    package: str = ""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Get what it needs. Raises UnavailableError when that cannot be had here."""

    def version(self) -> str:
        """Return which version is measured: dpkg's, unless the peer is of no package."""
        return run("dpkg-query", "-W", "-f", "${Version}", self.package)

    @abstractmethod
    def tunnel(
        self, ends: Ends, where: Path, number: int = 1, rate: str | None = None
    ) -> contextlib.AbstractContextManager[Tunnel]:
        """Bring tunnel ``number`` (from 1) up, with its files in ``where``, and take it down in the end.

        ``rate`` is what the path carries, for those who can make use of it. Raises BenchError when it does not come up.
        """


def inner(number: int) -> tuple[str, str]:
    """Return the addresses inside of tunnel ``number``: client, server."""
    return f"10.98.{number}.1", f"10.98.{number}.2"


@contextlib.contextmanager
def carried(tunnel: Tunnel, *makers: Callable[[], Process]) -> Iterator[Tunnel]:
    """Run the processes of a tunnel and wait until it carries packets."""
    with started(*makers) as running:
        tunnel.processes = [*tunnel.processes, *running]

        def works() -> bool:
            tunnel.expect_alive()
            return succeeds(*inside(tunnel.ends.client, "ping", "-c1", "-W1", tunnel.server_inner))

        def silence() -> str:
            last = "; ".join(f"{process.name}: {last_line(process.output()) or '-'}" for process in tunnel.processes)
            return f"no answer through the tunnel within {_START:.0f} s ({last})"

        wait_until(works, _START, silence)
        yield tunnel
