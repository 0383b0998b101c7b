# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes of a tunnel's traffic and the rules that put packets into them, as the file describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mpquic.config.base import Remembering
from mpquic.config.prefixes import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

Scheduling = Literal["priority", "failover", "balanced"]
#: How many classes and rules there may be. The first is what docs/protocol.md allows, the second keeps a look at a new
#: flow short.
MAX_CLASSES = 16
MAX_CLASSIFIERS = 256

#: IANA protocol numbers of the names that the file may use.
PROTOCOLS: Mapping[str, int] = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
#: Protocols whose first four bytes are a source and a destination port: TCP, UDP, DCCP, SCTP, UDP-Lite.
WITH_PORTS = frozenset({6, 17, 33, 132, 136})

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_SCHEDULING: tuple[Scheduling, ...] = ("priority", "failover", "balanced")


def label(value: object) -> str:
    """Accept the name of a path as it is."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError
    return value


def class_name(value: object) -> str:
    """Accept the name of a class; answer in lower case."""
    return label(value).lower()


def scheduling(value: object) -> Scheduling:
    """Accept a scheduling policy in any case."""
    name = value.lower() if isinstance(value, str) else ""
    for known in _SCHEDULING:
        if name == known:
            return known
    raise ValueError


def ports(value: object) -> tuple[int, int]:
    """Accept a port, or a range of ports as ``first-last``."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _PORTS.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    low = int(match[1])
    high = int(match[2] or low)
    if not 1 <= low <= high <= 65535:
        raise ValueError("the first is after the last" if low > high else "")
    return low, high


def protocol(value: object) -> int:
    """Accept a name of PROTOCOLS in any case, or the number of a protocol."""
    if isinstance(value, str) and value.lower() in PROTOCOLS:
        return PROTOCOLS[value.lower()]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError
    return value


def one_or_more(value: object) -> object:
    """Make a list of what is none."""
    return value if isinstance(value, list) else [value]


SchedulingField = Annotated[Scheduling, BeforeValidator(scheduling)]
LabelField = Annotated[str, BeforeValidator(label)]
ClassNameField = Annotated[str, BeforeValidator(class_name)]
_PortsField = Annotated[tuple[int, int], BeforeValidator(ports)]
_ProtocolField = Annotated[int, BeforeValidator(protocol)]

SCHEDULING = "priority, failover or balanced"
NAME = "1 to 64 of A-Z a-z 0-9 . _ -"
_FLAG = "true or false"
#: Entries of one list of a rule (docs/protocol.md counts them in eight bits).
_MOST = 255


def _prefixes(example: str) -> Any:
    """Bound a list of prefixes; messages show the example."""
    return Field(
        strict=False,
        max_length=_MOST,
        title=f"a prefix such as {example}",
        description=f"a list of at most {_MOST} prefixes such as {example}",
    )


_PortRanges = Annotated[
    tuple[_PortsField, ...],
    Field(
        strict=False,
        max_length=_MOST,
        title="a port from 1 to 65535, or a range such as 10000-20000",
        description=f"a list of at most {_MOST} ports and ranges such as 10000-20000",
    ),
]
_PathNames = Annotated[
    tuple[LabelField, ...], Field(strict=False, title="the name of a path", description="a list of names of paths")
]


class DataplaneClass(Remembering):
    """How packets of one class share the paths; paths are named as in ``multipath_paths``."""

    scheduler_policy: Annotated[SchedulingField | None, Field(description=SCHEDULING)] = None
    """How packets of the class choose among its paths; as `multipath_policy` if it is left out."""
    preferred_paths: _PathNames = ()
    """Only these, while one of them works."""
    excluded_paths: _PathNames = ()
    """Never these."""
    duplicate: Annotated[bool, Field(description=_FLAG)] = False
    """Send every packet more than once, by different WANs."""
    duplicate_copies: Annotated[int, Field(ge=2, le=3, description="copies from 2 to 3")] = 2
    """How often."""
    spray: Annotated[bool, Field(description=_FLAG)] = False
    """Every packet by itself, not every flow, has a path; the far end puts them in order."""

    @property
    def copies(self) -> int:
        """How often each packet is sent: 1 to 3."""
        return self.duplicate_copies if self.duplicate else 1


class Classifier(Remembering):
    """A rule: packets that all of its fields match are of its class. An empty field matches everything."""

    name: Annotated[LabelField | None, Field(description=NAME)] = None
    """For people."""
    class_: Annotated[ClassNameField, Field(alias="class", description="the name of a class")]
    """The class of the packets that fit."""
    protocol: Annotated[
        tuple[_ProtocolField, ...],
        BeforeValidator(one_or_more),
        Field(
            strict=False,
            max_length=_MOST,
            title="udp, tcp, icmp, icmpv6 or a number from 0 to 255",
            description="udp, tcp, icmp, icmpv6, a number from 0 to 255, or a list of them",
        ),
    ] = ()
    """IANA numbers, or names."""
    src_cidrs: Annotated[tuple[Network, ...], _prefixes("172.16.4.0/30")] = ()
    """Where they come from, as the LAN sends them."""
    dst_cidrs: Annotated[tuple[Network, ...], _prefixes("198.51.100.0/24")] = ()
    """Where they go, as the LAN sends them."""
    src_ports: _PortRanges = ()
    """Inclusive ranges."""
    dst_ports: _PortRanges = ()
    """Inclusive ranges."""
    dscp: Annotated[
        tuple[Annotated[int, Field(ge=0, le=63)], ...],
        BeforeValidator(one_or_more),
        Field(
            strict=False,
            max_length=64,
            title="a DSCP from 0 to 63",
            description="a list of DSCPs from 0 to 63",
        ),
    ] = ()
    """DSCPs (RFC 2474)."""


@dataclass(frozen=True, slots=True)
class Dataplane:
    """The classes and rules of a tunnel, checked against its paths: every name in it is one that there is.

    A class without a policy of its own has the tunnel's. Names of paths are spelled as in ``multipath_paths``.
    """

    default_class: str
    #: In the order of the file.
    classes: dict[str, DataplaneClass]
    #: The first that matches decides.
    classifiers: tuple[Classifier, ...] = ()
