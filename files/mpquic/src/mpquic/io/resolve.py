# SPDX-License-Identifier: GPL-3.0-or-later
"""Names to addresses, looked up anew for every attempt because either may have changed."""

from __future__ import annotations

import socket
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


def remote_address(host: str, port: int, like: str) -> Address:
    """Return the socket address of ``host`` in the family of the address ``like``; may block while DNS answers.

    Raises OSError (socket.gaierror) when there is none.
    """
    family = socket.AF_INET6 if ":" in like else socket.AF_INET
    found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)
    # QUIC compares addresses as tuples: keep the very form the socket will report.
    address: Address = found[0][4]
    return address
