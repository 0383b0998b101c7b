# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy as bytes: what a client tells its server in JOIN and POLICY (docs/protocol.md)."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from mpquic.core import fields
from mpquic.core.capsules import ProtocolError, encode_varint
from mpquic.core.fields import Reader, counted
from mpquic.core.messages import MAX_PATH, MAX_POLICY
from mpquic.core.multipath.policy import PathSpec, Policy, Rule, TrafficClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpquic.core.multipath.policy import Scheduling
    from mpquic.core.types import Network

#: Classes and rules of a policy; bytes of a name.
MAX_CLASSES: Final = 16
MAX_RULES: Final = 256
MAX_NAME: Final = 80
#: Paths times classes: each class has an opinion on each path, and forms it anew whenever a path changes.
MAX_PAIRS: Final = 1024
#: Priorities and weights end here, rates (bits per second) there.
MAX_NUMBER: Final = (1 << 31) - 1
MAX_RATE: Final = (1 << 40) - 1
MAX_COPIES: Final = 3

_SCHEDULING: Final[tuple[Scheduling, ...]] = ("priority", "failover", "balanced")
_SPRAY = 1
# Names get into logs and tables.
_NAME = re.compile(rb"[A-Za-z0-9._/-]+")


def encode(policy: Policy) -> bytes:
    """Return a policy as bytes. Raises ValueError for one that is too large."""
    if len(policy.paths) * len(policy.classes) > MAX_PAIRS:
        found = f"{len(policy.paths)} paths and {len(policy.classes)} classes"
        raise ValueError(f"found {found}, expected a product of at most {MAX_PAIRS}")
    data = b"".join(
        [
            encode_varint(policy.generation),
            counted([_encode_path(path) for path in policy.paths]),
            bytes([len(policy.classes), policy.default]),
            *[_encode_class(each) for each in policy.classes],
            counted([_encode_rule(rule) for rule in policy.rules]),
        ]
    )
    if len(data) > MAX_POLICY:
        raise ValueError(f"classes and rules: found {len(data)} bytes as a message, expected at most {MAX_POLICY}")
    return data


def decode(data: bytes) -> Policy:
    """Return the policy that these bytes say; what stands behind it is ignored. Raises ProtocolError."""
    reader = Reader("policy", data)
    if len(data) > MAX_POLICY:
        raise reader.error("length", str(len(data)), f"at most {MAX_POLICY}")
    number = reader.varint("generation")
    paths = tuple([_path(reader, index) for index in range(reader.varint("number of paths", 1, MAX_PATH))])
    numbers = [path.number for path in paths]
    _distinct(numbers, "numbers of paths")
    _distinct([path.name for path in paths], "names of paths")
    reader.where = "policy"
    count = reader.byte("number of classes", 1, MAX_CLASSES)
    if len(paths) * count > MAX_PAIRS:
        raise reader.error("paths and classes", f"{len(paths)} and {count}", f"a product of at most {MAX_PAIRS}")
    default = reader.byte("default class", 0, count - 1)
    classes = tuple([_class(reader, index, numbers) for index in range(count)])
    _distinct([each.name for each in classes], "names of classes")
    reader.where = "policy"
    rules = tuple([_rule(reader, index, count) for index in range(reader.varint("number of rules", 0, MAX_RULES))])
    return Policy(number, paths, classes, default, rules)


def generation(data: bytes) -> int:
    """Return the generation of the policy that these bytes say, whatever else they say. Raises ProtocolError."""
    return Reader("policy", data).varint("generation")


def _encode_path(path: PathSpec) -> bytes:
    numbers = [encode_varint(number) for number in (path.priority, path.weight, path.rate_down or 0)]
    return bytes([path.number, path.link]) + b"".join(numbers) + _encode_name(path.name)


def _encode_class(each: TrafficClass) -> bytes:
    head = bytes([_SCHEDULING.index(each.scheduling), _SPRAY if each.spray else 0, each.copies])
    return _encode_name(each.name) + head + _bytes(each.preferred) + _bytes(each.excluded)


def _encode_rule(rule: Rule) -> bytes:
    return b"".join(
        [
            bytes([rule.target]),
            _bytes(sorted(rule.protocols)),
            _encode_prefixes(rule.sources),
            _encode_prefixes(rule.destinations),
            _encode_ranges(rule.source_ports),
            _encode_ranges(rule.destination_ports),
            _bytes(sorted(rule.dscps)),
        ]
    )


def _encode_name(name: str) -> bytes:
    return bytes([len(name)]) + name.encode("ascii")


def _encode_prefixes(networks: Sequence[Network]) -> bytes:
    return bytes([len(networks)]) + fields.prefixes(networks)


def _encode_ranges(ranges: Sequence[tuple[int, int]]) -> bytes:
    return bytes([len(ranges)]) + b"".join([struct.pack("!HH", low, high) for low, high in ranges])


def _bytes(numbers: Sequence[int]) -> bytes:
    return bytes([len(numbers), *numbers])


def _path(reader: Reader, index: int) -> PathSpec:
    reader.where = f"policy: path {index}"
    number, link = reader.byte("number", 1, MAX_PATH), reader.byte("link")
    priority = reader.varint("priority", 0, MAX_NUMBER)
    weight = reader.varint("weight", 1, MAX_NUMBER)
    rate_down = reader.varint("rate", 0, MAX_RATE)
    return PathSpec(number, _name(reader), link, priority, weight, rate_down or None)


def _class(reader: Reader, index: int, paths: Sequence[int]) -> TrafficClass:
    reader.where = f"policy: class {index}"
    name = _name(reader)
    scheduling = _SCHEDULING[reader.byte("policy", 0, len(_SCHEDULING) - 1)]
    flags, copies = reader.byte("flags"), reader.byte("copies", 1, MAX_COPIES)
    preferred, excluded = _known(reader, "preferred", paths), _known(reader, "excluded", paths)
    return TrafficClass(name, scheduling, preferred, excluded, copies, bool(flags & _SPRAY))


def _rule(reader: Reader, index: int, classes: int) -> Rule:
    reader.where = f"policy: rule {index}"
    return Rule(
        reader.byte("class", 0, classes - 1),
        frozenset(_list(reader, "protocols")),
        tuple([reader.prefix() for _index in range(reader.byte("number of sources"))]),
        tuple([reader.prefix() for _index in range(reader.byte("number of destinations"))]),
        _ranges(reader, "source ports"),
        _ranges(reader, "destination ports"),
        frozenset(_list(reader, "DSCPs", 63)),
    )


def _name(reader: Reader) -> str:
    name = reader.take(reader.byte("length of the name", 1, MAX_NAME), "name")
    if not _NAME.fullmatch(name):
        raise reader.error("name", ascii(name.decode(errors="replace")), "letters, digits and . _ - /")
    return name.decode("ascii")


def _list(reader: Reader, what: str, most: int = 255) -> list[int]:
    return [reader.byte(what, 0, most) for _index in range(reader.byte(f"number of {what}"))]


def _known(reader: Reader, what: str, paths: Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(_list(reader, what))
    for number in numbers:
        if number not in paths:
            raise reader.error(what, str(number), "the number of a path of this policy")
    _distinct(numbers, f"{reader.where}: {what}")
    return numbers


def _ranges(reader: Reader, what: str) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for _index in range(reader.byte(f"number of {what}")):
        low, high = struct.unpack("!HH", reader.take(4, what))
        if low > high:
            raise reader.error(what, f"{low} to {high}", "the lower one first")
        ranges.append((low, high))
    return tuple(ranges)


def _distinct(found: Iterable[int] | Iterable[str], what: str) -> None:
    seen = list(found)
    for each in seen:
        if seen.count(each) > 1:
            raise ProtocolError(f"policy: {what}: found {each} twice, expected each once")
