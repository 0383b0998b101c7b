# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a socket belongs on this host, and word from the kernel when links or addresses change (rtnetlink(7)).

Everything here is about the network namespace of this process; /sys may show the devices of another one.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mpquic.config import HostConditionError, interface_exists, interface_ipv4
from mpquic.io.resolve import local_address

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from mpquic.config import Bind

_LOG = logging.getLogger("mpquic")

# linux/sockios.h, net/if.h
_SIOCGIFFLAGS = 0x8913
_IFF_RUNNING = 0x40
_IFREQ = struct.Struct("16sH22x")

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
#: struct nlmsghdr and, of the same message, struct ifaddrmsg; struct rtattr.
_MESSAGE = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ANSWER = 65536

#: Seconds between two looks while changes keep coming, from how many on, and after how many without one it is anew.
#: A DHCP client adds an address and takes one away within milliseconds, and packets are lost until the second look.
QUIET, BURST, CALM = 0.02, 4, 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a socket belongs."""

    address: str
    #: The interface that the socket is bound to, 0 for none. One that came back under its name is another one.
    index: int = 0
    #: Without such an interface: the one that has the address, 0 where none is known, and whether it carries packets.
    owner: int = 0
    running: bool = True

    def holds(self, other: Place) -> bool:
        """Tell whether a socket that was opened at this place may stay when ``other`` is where it belongs now."""
        return self.address == other.address and self.index == other.index and not (self.owner and not other.owner)


def find(bind: Bind, opened: Place | None = None) -> Place:
    """Return where a socket for ``bind`` belongs now, or the one belongs that was ``opened`` before.

    That one stays with its interface when that was renamed, until there is another one of the name.

    Raises HostConditionError when its interface is missing, or lacks an address or a carrier. An address that is given
    need not belong to an interface, nor to the one that its packets leave by: whether it can be used, bind(2) tells.
    """
    if bind.interface is None:
        address = local_address(bind)
        owner = _owner(address)
        return Place(address, owner=owner, running=owner == 0 or _running(socket.if_indextoname(owner)))
    name = bind.interface if opened is None else _present_name(bind.interface, opened.index)
    address = interface_ipv4(name)
    try:
        index = socket.if_nametoindex(name)
    except OSError as error:
        raise HostConditionError(f"interface {name} does not exist") from error
    if not _running(name):
        raise HostConditionError(f"interface {name} has no carrier")
    return Place(address, index)


class LinkWatch:
    """Calls back when a link or an address changed, without saying which: who needs to know looks anew."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        """Call ``changed`` on ``loop``."""
        self._loop = loop
        self._changed = changed
        self._sock: socket.socket | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._told = 0.0
        self._looks = 0

    def start(self) -> None:
        """Begin. Where the kernel or the sandbox has no netlink, nothing is told: silence shows what is dead."""
        try:
            self._sock = _open(_GROUPS)
        except OSError as error:
            _LOG.info('links not watched reason="netlink: %s"', error.strerror or error)
        else:
            self._loop.add_reader(self._sock.fileno(), self._readable, self._sock)

    def stop(self) -> None:
        """Close the socket; nothing is told any more."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _readable(self, sock: socket.socket) -> None:
        try:
            # One byte of each: the rest of a message goes with it.
            while sock.recv(1, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            # ENOBUFS: there was more than fits, and what it was does not matter.
            if error.errno != errno.ENOBUFS:
                _LOG.info('links not watched reason="netlink: %s"', error.strerror or error)
                self.stop()
        if self._soon is None:
            now = self._loop.time()
            if now > self._told + CALM:
                self._looks = 0
            self._soon = self._loop.call_at(now if self._looks < BURST else self._told + QUIET, self._tell)

    def _tell(self) -> None:
        self._soon = None
        self._told = self._loop.time()
        self._looks += 1
        self._changed()


def _open(groups: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock


def _present_name(name: str, index: int) -> str:
    """Return what the interface of this name is called now, where there is none of the name: that with the index."""
    if interface_exists(name):
        return name
    try:
        return socket.if_indextoname(index)
    except OSError:
        return name


def _running(name: str) -> bool:
    """Tell whether an interface is up and has a carrier (netdevice(7), IFF_RUNNING: RFC 2863's operational state)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker.fileno(), _SIOCGIFFLAGS, _IFREQ.pack(name.encode(), 0))
        except OSError:
            return False
    flags: int = _IFREQ.unpack(answer)[1]
    return bool(flags & _IFF_RUNNING)


def _owner(address: str) -> int:
    """Return the index of the interface that has an address, 0 where none has or nobody can say."""
    wanted = ip_address(address).packed
    try:
        return next((index for index, found in _addresses() if found == wanted), 0)
    except OSError:
        return 0


def _addresses() -> Iterator[tuple[int, bytes]]:
    """Yield all addresses of this namespace, with the indices of their interfaces. Raises OSError."""
    with _open(0) as sock:
        sock.settimeout(1.0)
        sock.send(_MESSAGE.pack(_MESSAGE.size + _ADDRESS.size, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0) + bytes(8))
        while True:
            answer = sock.recv(_ANSWER)
            at = 0
            while at + _MESSAGE.size <= len(answer):
                length, kind, *_rest = _MESSAGE.unpack_from(answer, at)
                if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
                    return
                if kind == _RTM_NEWADDR:
                    yield _address(answer[at + _MESSAGE.size : at + length])
                at += _aligned(length)


def _address(message: bytes) -> tuple[int, bytes]:
    index: int = _ADDRESS.unpack_from(message)[4]
    attributes: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        attributes[kind] = message[at + _ATTRIBUTE.size : at + length]
        at += max(_aligned(length), _ATTRIBUTE.size)
    # Of a point-to-point link, IFA_ADDRESS is the other end's.
    return index, attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")


def _aligned(length: int) -> int:
    return max(length + 3 & ~3, 4)
