# SPDX-License-Identifier: GPL-3.0-or-later
"""What the giver, the process that runs an instance, and its heir say to each other.

    giver                                heir
    OFFER(protocol, what must stay)  -->  all of the release is loaded and tested by now
                                     <--  READY, or REFUSE(why, whether a restart would do)
    GIVE(TUN and sockets)            -->  a client connects, a server reads the sockets
                                     <--  TAKEN, or REFUSE
    GO                               -->  the heir is the instance now
                                     <--  DATAGRAM, PACKET: what belongs to connections of the giver

Either end hangs up when it is done. The two may be of different releases: bodies are JSON objects whose unknown keys
are ignored, but for DATAGRAM and PACKET.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpquic.core.types import Address, Arrival

OFFER, READY, REFUSE, GIVE, TAKEN, GO, DATAGRAM, PACKET = range(1, 9)

#: Of these messages.
PROTOCOL = 1
_MAX_TEXT = 500
#: Family (4 or 6), port, own port, scope, size of one datagram; then the address and the datagrams.
_HEAD = struct.Struct("!BHIIH")
_ADDRESS = {4: 4, 6: 16}


class MessageError(ValueError):
    """A message that is not what it should be; the text says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the giver has, and what its heir must be like."""

    version: str
    #: What only a restart changes: keys of the configuration, and their values as text.
    fixed: dict[str, str] = field(default_factory=dict)
    #: It carries packets: an heir that cannot is none.
    up: bool = True
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class Refuse:
    """Why the heir does not take the instance."""

    reason: str
    #: A restart would do.
    restart: bool = False


def pack(message: Offer | Refuse) -> bytes:
    """Return the body of a message."""
    return json.dumps(asdict(message)).encode()


def unpack_offer(body: bytes) -> Offer:
    """Return what OFFER says. Raises MessageError."""
    found = _object("OFFER", body)
    protocol = found.get("protocol")
    if isinstance(protocol, bool) or not isinstance(protocol, int):
        raise MessageError(f"OFFER: protocol: found {protocol!r}, expected a number")
    if protocol != PROTOCOL:
        # What it says otherwise is not known here.
        return Offer("", protocol=protocol)
    fixed = found.get("fixed")
    if not isinstance(fixed, dict) or not all(isinstance(value, str) for value in fixed.values()):
        raise MessageError("OFFER: fixed: expected an object of texts")
    up = found.get("up")
    if not isinstance(up, bool):
        raise MessageError(f"OFFER: up: found {up!r}, expected true or false")
    return Offer(_text("OFFER", found, "version"), fixed, up)


def unpack_refuse(body: bytes) -> Refuse:
    """Return what REFUSE says. Raises MessageError."""
    found = _object("REFUSE", body)
    return Refuse(_text("REFUSE", found, "reason"), found.get("restart") is True)


def pack_datagram(arrival: Arrival) -> bytes:
    """Return the body of DATAGRAM: what one receive call gave."""
    data, size, address = arrival
    host = ip_address(address[0].partition("%")[0])
    scope = address[3] if host.version == 6 else 0
    return _HEAD.pack(host.version, address[1], address[-1], scope, size) + host.packed + data


def unpack_datagram(body: bytes) -> Arrival:
    """Return what one receive call of the other process gave. Raises MessageError."""
    if len(body) < _HEAD.size:
        raise MessageError(f"DATAGRAM: found {len(body)} bytes, expected {_HEAD.size} or more")
    version, port, own, scope, size = _HEAD.unpack_from(body)
    if version not in _ADDRESS:
        raise MessageError(f"DATAGRAM: family: found {version}, expected 4 or 6")
    start = _HEAD.size + _ADDRESS[version]
    data = body[start:]
    if not data or not size:
        raise MessageError(f"DATAGRAM: found {len(data)} bytes of size {size}, expected some")
    host = str(ip_address(body[_HEAD.size : start]))
    address: Address = (host, port, own) if version == 4 else (host, port, 0, scope, own)
    return data, size, address


def _object(name: str, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise MessageError(f"{name}: expected a JSON object") from None
    if not isinstance(found, dict):
        raise MessageError(f"{name}: expected a JSON object")
    return found


def _text(name: str, found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str):
        raise MessageError(f"{name}: {key}: expected text")
    return "".join(char if char.isprintable() else "?" for char in value[:_MAX_TEXT])
