# SPDX-License-Identifier: GPL-3.0-or-later
"""A UDP socket that moves batches: generic segmentation offload out, generic receive offload in, where there is any.

See udp(7) UDP_SEGMENT and UDP_GRO. Both fall back without anybody noticing: a kernel or driver that refuses gets one
datagram per call.
"""

from __future__ import annotations

import errno
import functools
import logging
import socket
import struct
from typing import TYPE_CHECKING, Protocol

from mpquic.core.types import Marked

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from mpquic.core.types import Address, Arrival, Datagram

_LOG = logging.getLogger(__name__)

_SOL_UDP = 17
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

#: Socket buffers wanted (bytes): 100 ms at 300 Mbit/s. The kernel grants up to net.core.rmem_max without privileges.
BUFFER = 4 * 1024 * 1024
#: Datagrams taken per wake-up, so that the TUN gets its turn.
BATCH = 64
#: UDP_MAX_SEGMENTS of kernels up to 6.5.
_MAX_SEGMENTS = 64
#: One UDP payload, segments and all, stays below 65 507 bytes.
_MAX_SUPER = 65000
_MAX_DATAGRAM = 65535
#: No path MTU probe is shorter (bytes).
_SHORTEST_PROBE = 1200
_GRO_SPACE = socket.CMSG_SPACE(struct.calcsize("i"))
_GSO_REFUSED = {errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT}
_FULL = {errno.EAGAIN, errno.ENOBUFS}
#: Errors that may answer an earlier datagram (ip(7), udp(7)), and what a datagram that they stop twice counts as.
_ANSWERS = {errno.ECONNREFUSED: "udp_refused", errno.EMSGSIZE: "udp_too_big"}


class TakeSocket(Protocol):
    """Makes a UdpSocket, or a twin of it; see there."""

    def __call__(self, sock: socket.socket, drops: Counter[str], *, connected: bool) -> UdpSocket:
        """Take over ``sock``."""


class UdpSocket:
    """A bound socket; connected to one peer on a client, to nobody on a server."""

    def __init__(self, sock: socket.socket, drops: Counter[str], *, connected: bool) -> None:
        """Take over ``sock``. Datagrams that the kernel refuses count in ``drops``."""
        self._sock = sock
        self._drops = drops
        self._connected = connected
        #: What its peers' addresses end with; see mpquic.core.types.Address.
        self._own: tuple[int, ...] = () if connected else (sock.getsockname()[1],)
        #: Level and type of the control message that says the TOS or traffic class of one datagram (ip(7), ipv6(7)).
        self._tos = _tos_option(sock)
        self._refused = False
        self._too_big = False
        self.gso = _try_option(sock, _UDP_SEGMENT, 0)
        self.gro = _try_option(sock, _UDP_GRO, 1)
        self.last_error = ""

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._sock.fileno()

    @property
    def local(self) -> Address:
        """The address this socket is bound to."""
        address: Address = self._sock.getsockname()
        return address

    def set_dscp(self, dscp: int) -> None:
        """Give all datagrams that are not Marked this DSCP (0 to 63). Raises OSError."""
        self._sock.setsockopt(*self._tos, dscp << 2)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def take_refused(self) -> bool:
        """Tell whether an ICMP "port unreachable" came since the last call."""
        refused, self._refused = self._refused, False
        return refused

    def take_too_big(self) -> bool:
        """Tell whether EMSGSIZE came since the last call: the link is too small, or ICMP said that the path is."""
        too_big, self._too_big = self._too_big, False
        return too_big

    def receive(self) -> list[Arrival]:
        """Return what has arrived, up to about BATCH datagrams; nothing when nothing has."""
        received: list[Arrival] = []
        count = 0
        receive = self._sock.recvmsg
        while count < BATCH:
            try:
                data, ancillary, _flags, address = receive(_MAX_DATAGRAM, _GRO_SPACE)
            except BlockingIOError:
                break
            except OSError as error:
                self._note(error)
                break
            length = len(data)
            if not length:
                self._drops["udp_empty"] += 1
                count += 1
                continue
            size = _segment_size(ancillary) if ancillary else 0
            if not 0 < size < length:
                size = length
            received.append((data, size, address + self._own))
            count += -(-length // size)
        return received

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams in order, to addresses like those that receive() gives.

        What the kernel does not take is dropped and counted, never raised.
        """
        start, count = 0, len(datagrams)
        while start < count:
            end = self._run_end(datagrams, start) if self.gso else start + 1
            if end - start == 1 or not self._send_run(datagrams, start, end):
                for data, address in datagrams[start:end]:
                    self._send_one(data, address)
            start = end

    def _run_end(self, datagrams: Sequence[Datagram], start: int) -> int:
        """Return the end of the run that one call can segment: equal sizes, the last may be shorter, one peer.

        What does not fit a link is dropped as a whole: a path MTU probe must not go down with larger datagrams.
        """
        first, address = datagrams[start]
        size = total = len(first)
        end = start + 1
        limit = min(len(datagrams), start + _MAX_SEGMENTS)
        while end < limit:
            data, to = datagrams[end]
            length = len(data)
            total += length
            if length > size or total > _MAX_SUPER or to != address or _SHORTEST_PROBE <= length < size:
                break
            end += 1
            if length < size:
                break
        return end

    def _send_run(self, datagrams: Sequence[Datagram], start: int, end: int) -> bool:
        """Send datagrams[start:end] in one call; False when they must go one by one."""
        run = [data for data, _address in datagrams[start:end]]
        segment = [(_SOL_UDP, _UDP_SEGMENT, struct.pack("H", len(run[0])))]
        try:
            self._sendmsg(run, segment, datagrams[start][1])
        except OSError as error:
            return self._run_failed(error, datagrams, start, end)
        return True

    def _run_failed(self, error: OSError, datagrams: Sequence[Datagram], start: int, end: int) -> bool:
        """Do what an error of a run calls for; False when its datagrams must go one by one."""
        if error.errno == errno.ECONNREFUSED:
            self._refused = True
            return False
        if error.errno not in _GSO_REFUSED:
            self._note(error, end - start)
            return True
        taken = [self._send_one(data, address) for data, address in datagrams[start:end]]
        # EMSGSIZE is an ICMP answer to an earlier datagram, or the size itself is too much.
        if all(taken) and error.errno != errno.EMSGSIZE:
            # One by one it works: it is segmentation that this kernel or driver refuses.
            self.gso = False
            _LOG.info("udp segmentation offload refused (%s), sending datagrams one by one", error.strerror)
        return True

    def _send_one(self, data: bytes, address: Address, failed: OSError | None = None) -> bool:
        """Send one datagram; ``failed`` is what a first attempt met."""
        reason = ""
        for _attempt in range(2):
            if failed is None:
                try:
                    self._sendmsg([data], [], address)
                except OSError as error:
                    failed = error
                else:
                    return True
            if failed.errno not in _ANSWERS:
                self._note(failed, 1)
                return False
            # It may be the ICMP answer to an earlier datagram; reading it has cleared it.
            self._note(failed)
            reason, failed = _ANSWERS[failed.errno], None
        self._drops[reason] += 1
        return False

    def _sendmsg(self, buffers: list[bytes], ancillary: list[tuple[int, int, bytes]], address: Address) -> None:
        if isinstance(address, Marked):
            ancillary = [*ancillary, (*self._tos, struct.pack("i", address.tos))]
            address = address.address
        if self._connected:
            self._sock.sendmsg(buffers, ancillary)
        else:
            self._sock.sendmsg(buffers, ancillary, 0, address[:-1])

    def _note(self, error: OSError, count: int = 0) -> None:
        """Remember what an error says; ``count`` datagrams were lost by it."""
        if error.errno == errno.ECONNREFUSED:
            self._refused = True
        elif error.errno == errno.EMSGSIZE:
            self._too_big = True
        elif error.errno in _FULL:
            self._drops["udp_full"] += count
        else:
            self.last_error = error.strerror or str(error)
            self._drops["udp_error"] += count


def open_udp(  # noqa: PLR0913 - what there is to say about a socket
    address: str,
    port: int,
    *,
    device: str | None,
    remote: Address | None,
    drops: Counter[str],
    take: TakeSocket = UdpSocket,
) -> UdpSocket:
    """Open a socket bound to ``address`` and ``port`` (0 for any), and to ``device`` if given.

    With ``remote`` the socket is connected, so that ICMP errors come back. ``take`` makes what is returned of the open
    socket. Raises OSError with the step in its text.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        _grow(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
        _grow(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
        # Never fragment, and do not believe cached path MTUs (RFC 9000 section 14).
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        if device is not None:
            # Without privileges since Linux 5.7, as long as the socket is not bound to a device yet.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((address, port))
        if remote is not None:
            sock.connect(remote)
    except OSError:
        sock.close()
        raise
    return take(sock, drops, connected=remote is not None)


def adopt_udp(fd: int, drops: Counter[str], take: TakeSocket = UdpSocket) -> UdpSocket:
    """Take over a socket that another process has bound as ``fd``, and that is connected to nobody; see open_udp().

    Raises OSError.
    """
    sock = socket.socket(fileno=fd)
    sock.settimeout(0)
    if sock.type != socket.SOCK_DGRAM or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        sock.close()
        raise OSError(errno.EPROTOTYPE, "expected a UDP socket")
    return take(sock, drops, connected=False)


def _grow(sock: socket.socket, force: int, plain: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER)
    # The kernel doubles what it is told, for its own bookkeeping (socket(7)).
    granted = sock.getsockopt(socket.SOL_SOCKET, plain) // 2
    if granted < BUFFER // 2:
        _tell_small("rmem_max" if plain == socket.SO_RCVBUF else "wmem_max", granted)


@functools.lru_cache(maxsize=8)
def _tell_small(limit: str, granted: int) -> None:
    """Say it once, not for every socket."""
    _LOG.info(
        'udp buffer small bytes=%d wanted=%d note="bursts may be lost, raise net.core.%s"', granted, BUFFER, limit
    )


def _tos_option(sock: socket.socket) -> tuple[int, int]:
    if sock.family == socket.AF_INET6:
        return socket.IPPROTO_IPV6, socket.IPV6_TCLASS
    return socket.IPPROTO_IP, socket.IP_TOS


def _try_option(sock: socket.socket, option: int, value: int) -> bool:
    try:
        sock.setsockopt(_SOL_UDP, option, value)
    except OSError:
        return False
    return True


def _segment_size(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == _SOL_UDP and kind == _UDP_GRO:
            size: int = struct.unpack_from("i", value)[0]
            return size
    return 0
