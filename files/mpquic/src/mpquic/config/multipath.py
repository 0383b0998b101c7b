# SPDX-License-Identifier: GPL-3.0-or-later
"""One tunnel over several WANs, as its file describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mpquic.config.base import Remembering
from mpquic.config.dataplane import NAME, Dataplane, LabelField, Scheduling
from mpquic.config.fields import Bind, BindField, HostField, RateField

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Connections of all paths together: each has a number of eight bits on the wire, and 0 is none of them.
MAX_PATHS = 255

_RATE = "a rate from 32kbit to 100gbit such as 20mbit"


class MultipathPath(Remembering):
    """One WAN of a tunnel, with an end of its own at the server's."""

    name: Annotated[LabelField, Field(description=NAME)]
    """What classes, logs and counters call it."""
    bind_ip: Annotated[BindField, Field(description="an IP address or if:<interface>")]
    """Where its socket is bound."""
    remote_addr: Annotated[HostField, Field(description="an IP address or a host name")]
    """Where the server is."""
    remote_port: Annotated[int, Field(ge=1, le=65535, description="a UDP port from 1 to 65535")]
    """The server's UDP port, the same for all paths."""
    priority: Annotated[int, Field(ge=0, le=65535, description="a number from 0 to 65535")] = 0
    """The lower, the better."""
    weight: Annotated[int, Field(ge=1, le=1000, description="a number from 1 to 1000")] = 1
    """Its part among paths of equal standing."""
    connections: Annotated[int, Field(ge=1, le=8, description="a number from 1 to 8")] = 1
    """QUIC connections by this path, for links that hold every UDP flow to a rate."""
    # Seconds. Routers with NAT forget a flow after 30 without a packet, and so does QUIC here.
    ping_interval: Annotated[int, Field(ge=1, le=20, description="seconds from 1 to 20")] = 1
    """Seconds between the client's pings while it carries nothing."""
    # What this end sends by the path and what the server does, on the wire in bit/s, all connections together.
    rate: Annotated[RateField | None, Field(description=_RATE)] = None
    """What this end sends by the path, in bits per second on the wire, all connections together."""
    rate_down: Annotated[RateField | None, Field(description=_RATE)] = None
    """What the server sends by it."""

    @property
    def place(self) -> tuple[Bind, str, int]:
        """Where it goes: paths of one place are one WAN."""
        return self.bind_ip, self.remote_addr, self.remote_port


@dataclass(frozen=True, slots=True)
class Multipath:
    """What a client with ``multipath_enabled`` does: its paths, and how traffic shares them."""

    policy: Scheduling
    #: At least one, no two of a name.
    paths: tuple[MultipathPath, ...]
    dataplane: Dataplane

    def links(self) -> tuple[int, ...]:
        """Return for each path the number of its WAN, from 0."""
        return links(self.paths)


def links(paths: Sequence[MultipathPath]) -> tuple[int, ...]:
    """Return for each path the index of the first path with the same place: they are one WAN."""
    places = [path.place for path in paths]
    return tuple(map(places.index, places))
