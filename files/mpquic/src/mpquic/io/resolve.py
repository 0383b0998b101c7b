# SPDX-License-Identifier: GPL-3.0-or-later
"""Names to addresses, looked up anew for every attempt because either may have changed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from mpquic.config import interface_ipv4

if TYPE_CHECKING:
    from mpquic.config import Bind
    from mpquic.core.types import Address


def local_address(bind: Bind) -> str:
    """Return the address to bind to. Raises HostConditionError when an interface or its address is missing."""
    if bind.address is not None:
        return bind.address
    return interface_ipv4(bind.interface or "")


async def remote_address(host: str, port: int, like: str) -> Address:
    """Return the socket address of ``host`` in the family of the address ``like``.

    Raises OSError (socket.gaierror) when there is none. DNS may take seconds: it is asked in a thread that nobody
    waits for when the daemon stops, unlike those of the loop's executor.
    """
    family = socket.AF_INET6 if ":" in like else socket.AF_INET
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Address] = loop.create_future()

    def settle(address: Address | None, error: OSError | None) -> None:
        if answer.done():
            return
        if address is not None:
            answer.set_result(address)
        else:
            answer.set_exception(error or OSError("no address"))

    def look_up() -> None:
        address, fault = None, None
        try:
            # QUIC compares addresses as tuples: keep the very form the socket will report.
            address = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0][4]
        except OSError as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, address, fault)

    threading.Thread(target=look_up, daemon=True).start()
    return await answer
