# SPDX-License-Identifier: GPL-3.0-or-later
"""The only part of the shaper that touches the kernel: reads qdiscs and classes into plain data, does single changes.

Structures as in linux/include/uapi/linux/pkt_sched.h. They are packed here: pyroute2 knows no bfifo, and computes
bursts from /proc/net/psched, which a sandbox may hide.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTM_DELQDISC,
    RTM_DELTCLASS,
    RTM_NEWQDISC,
    RTM_NEWTCLASS,
    TC_H_ROOT,
)

from mpquic.host.errors import HostError
from mpquic.host.shaper.sizes import FRAME
from mpquic.host.shaper.state import BFIFO, FQ_CODEL, MAJOR, HtbClass, Interface, Queue, TcState, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_HTB = "htb"
_HANDLE = MAJOR << 16
_DEFAULT_HANDLE = 0
_REQUEST = NLM_F_REQUEST | NLM_F_ACK
_CREATE = _REQUEST | NLM_F_CREATE | NLM_F_EXCL
_PUT = _REQUEST | NLM_F_CREATE | NLM_F_REPLACE
_ETHERNET = 1
_MAX_RATE = 0xFFFFFFFF
_HTB_PARMS, _HTB_INIT, _HTB_RATE64, _HTB_CEIL64 = 1, 2, 6, 7
_HTB_VERSION = 3
_RATE_TO_QUANTUM = 10
_CODEL_TARGET, _CODEL_INTERVAL, _CODEL_FLOWS, _CODEL_MEMORY = 1, 3, 5, 9
_LOOPBACK = "lo"


class _Request(nlmsg):  # type: ignore[misc]  # pyroute2 is untyped
    """A request (tcmsg in linux/include/uapi/linux/rtnetlink.h) whose options are packed already."""

    prefix = "TCA_"
    fields = (
        ("family", "B"),
        ("pad1", "B"),
        ("pad2", "H"),
        ("index", "i"),
        ("handle", "I"),
        ("parent", "I"),
        ("info", "I"),
    )
    nla_map = (("TCA_UNSPEC", "none"), ("TCA_KIND", "asciiz"), ("TCA_OPTIONS", "cdata"))


class TcKernel:
    """A netlink session; use as a context manager.

    Raises:
        HostError: from any method, when the kernel refuses.

    """

    def __init__(self) -> None:
        """Open the session in the caller's network namespace."""
        self._ipr = IPRoute(ext_ack=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self._ipr.close()

    def read(self) -> TcState:
        """Return the interfaces with what is at their roots, and who has which address."""
        with _refusals():
            names = {message["index"]: message.get("ifname") for message in self._ipr.get_links()}
            addresses: dict[str, str] = {}
            for message in self._ipr.get_addr():
                own = message.get("local") or message.get("address")
                if own and message["index"] in names:
                    addresses.setdefault(own, names[message["index"]])
            qdiscs: dict[int, list[Any]] = {}
            for message in self._ipr.get_qdiscs():
                qdiscs.setdefault(message["index"], []).append(message)
            interfaces = {
                name: self._interface(index, name, qdiscs.get(index, [])) for index, name in names.items() if name
            }
        return TcState(interfaces, addresses, self._has_fq_codel(interfaces))

    def _interface(self, index: int, name: str, qdiscs: list[Any]) -> Interface:
        root = next((found for found in qdiscs if found["parent"] == TC_H_ROOT), None)
        # The kernel gives its own defaults no handle.
        if root is None or root["handle"] == _DEFAULT_HANDLE:
            return Interface(index, name)
        kind = root.get("kind")
        if root["handle"] != _HANDLE or kind != _HTB:
            return Interface(index, name, foreign=f"{kind} {root['handle'] >> 16:x}:")
        classes = {
            found["handle"] & 0xFFFF: _class(found)
            for found in self._ipr.get_classes(index=index)
            if found["handle"] >> 16 == MAJOR
        }
        queues = {found["parent"] & 0xFFFF: _queue(found) for found in qdiscs if found["parent"] >> 16 == MAJOR}
        default = _attributes(_attributes(root)["TCA_OPTIONS"])["TCA_HTB_INIT"]["defcls"]
        return Interface(index, name, tree=Tree(default, classes, queues))

    def _has_fq_codel(self, interfaces: dict[str, Interface]) -> bool | None:
        """Ask for one with no flows, which every kernel that has it refuses: nothing is changed."""
        loopback = interfaces.get(_LOOPBACK)
        if loopback is None:
            return None
        try:
            options = _attribute(_CODEL_FLOWS, struct.pack("=I", 0))
            self._send(RTM_NEWQDISC, _CREATE, loopback.index, _HANDLE, TC_H_ROOT, FQ_CODEL, options)
        except NetlinkError as error:
            return {errno.EINVAL: True, errno.ENOENT: False}.get(error.code)
        return None

    def add_root(self, index: int, default: int) -> None:
        """Put our HTB at the root. Until it has classes everything passes."""
        options = _attribute(_HTB_INIT, struct.pack("=5I", _HTB_VERSION, _RATE_TO_QUANTUM, default, 0, 0))
        with _refusals():
            self._send(RTM_NEWQDISC, _CREATE, index, _HANDLE, TC_H_ROOT, _HTB, options)

    def delete_root(self, index: int) -> None:
        """Take our HTB away; the kernel puts its default there."""
        with _refusals():
            self._send(RTM_DELQDISC, _REQUEST, index, _HANDLE, TC_H_ROOT)

    def put_class(self, index: int, minor: int, wanted: HtbClass) -> None:
        """Add a class, or change it in place: what waits in it goes on waiting."""
        parent = _HANDLE | wanted.parent
        with _refusals():
            self._send(RTM_NEWTCLASS, _PUT, index, _HANDLE | minor, parent, _HTB, _class_options(wanted))

    def delete_class(self, index: int, minor: int) -> None:
        """Delete a class that has none below it, with its queue."""
        with _refusals():
            self._send(RTM_DELTCLASS, _REQUEST, index, _HANDLE | minor, 0)

    def put_queue(self, index: int, minor: int, wanted: Queue) -> None:
        """Give a class this qdisc, with the number of the class, or change the one of its kind in place."""
        with _refusals():
            handle = minor << 16
            self._send(RTM_NEWQDISC, _PUT, index, handle, _HANDLE | minor, wanted.kind, _queue_options(wanted))

    def delete_queue(self, index: int, minor: int) -> None:
        """Take the qdisc of a class away; the kernel puts its default there."""
        with _refusals():
            self._send(RTM_DELQDISC, _REQUEST, index, _DEFAULT_HANDLE, _HANDLE | minor)

    def _send(  # noqa: PLR0913, PLR0917 - the fields of one message
        self, kind: int, flags: int, index: int, handle: int, parent: int, qdisc: str = "", options: bytes = b""
    ) -> None:
        request = _Request()
        request["family"] = socket.AF_UNSPEC
        request["index"], request["handle"], request["parent"] = index, handle, parent
        if qdisc:
            request["attrs"] = [("TCA_KIND", qdisc), ("TCA_OPTIONS", options)]
        request["header"]["type"], request["header"]["flags"] = kind, flags
        self._ipr.nlm_request_batch([request])


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn pyroute2's error into ours; it has the kernel's own words, where there are any."""
    try:
        yield
    except NetlinkError as error:
        raise HostError(f"the kernel refused: {str(error.args[1]).rstrip('.')}") from error


def _attributes(message: Any) -> dict[str, Any]:
    return dict(message["attrs"])


def _attribute(kind: int, payload: bytes) -> bytes:
    """Pack one netlink attribute (RFC 3549 section 2.2's TLV: length, type, value, padding to 4 bytes)."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _class(message: Any) -> HtbClass:
    options = _attributes(_attributes(message)["TCA_OPTIONS"])
    found = options["TCA_HTB_PARMS"]
    inner = message["parent"] == TC_H_ROOT
    return HtbClass(
        parent=0 if inner else message["parent"] & 0xFFFF,
        rate=options.get("TCA_HTB_RATE64") or found["rate"],
        ceil=options.get("TCA_HTB_CEIL64") or found["ceil"],
        burst=found["buffer"],
        cburst=found["cbuffer"],
        quantum=0 if inner else found["quantum"],
        priority=0 if inner else found["prio"],
    )


def _class_options(wanted: HtbClass) -> bytes:
    # tc_ratespec twice, then buffer, cbuffer, quantum, level, prio. Where the link layer is told no rate table is
    # needed; without a quantum the kernel would compute one, and complain about it.
    rate = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, min(wanted.rate, _MAX_RATE))
    ceil = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, min(wanted.ceil, _MAX_RATE))
    numbers = struct.pack("=5I", wanted.burst, wanted.cburst, wanted.quantum or FRAME, 0, wanted.priority)
    options = _attribute(_HTB_PARMS, rate + ceil + numbers)
    if wanted.rate > _MAX_RATE:
        options += _attribute(_HTB_RATE64, struct.pack("=Q", wanted.rate))
    if wanted.ceil > _MAX_RATE:
        options += _attribute(_HTB_CEIL64, struct.pack("=Q", wanted.ceil))
    return options


def _queue(message: Any) -> Queue:
    kind = message.get("kind")
    options = _attributes(message).get("TCA_OPTIONS")
    if kind == BFIFO and options is not None:
        return Queue(BFIFO, limit=int.from_bytes(bytes.fromhex(options.replace(":", "")), "little"))
    if kind == FQ_CODEL and options is not None:
        found = _attributes(options)
        return Queue(
            FQ_CODEL,
            limit=found.get("TCA_FQ_CODEL_MEMORY_LIMIT", 0),
            target=_microseconds(found["TCA_FQ_CODEL_TARGET"]),
            interval=_microseconds(found["TCA_FQ_CODEL_INTERVAL"]),
        )
    return Queue(kind)


def _microseconds(found: int) -> int:
    """Undo what the kernel's units of 1.024 microseconds cut off."""
    return 10 * round(found / 10)


def _queue_options(wanted: Queue) -> bytes:
    if wanted.kind == BFIFO:
        return struct.pack("=I", wanted.limit)
    numbers = ((_CODEL_TARGET, wanted.target), (_CODEL_INTERVAL, wanted.interval), (_CODEL_MEMORY, wanted.limit))
    return b"".join(_attribute(kind, struct.pack("=I", number)) for kind, number in numbers)
