# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of two endpoints that talk, and of the flows between them."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from mpquic.core.multipath.way import NOWHERE

if TYPE_CHECKING:
    from mpquic.core.multipath.fields import Fields
    from mpquic.core.multipath.way import Way
    from mpquic.core.path import Path

#: Octets of a packet that are the same throughout a flow.
Key = tuple[Any, ...]


class Flow:
    """Packets of one DSCP between two endpoints, in the direction that this end sends."""

    __slots__ = (
        "bucket",
        "chosen",
        "class_index",
        "classified",
        "conversation",
        "fields",
        "hash",
        "home",
        "last",
        "moves",
        "octets",
        "ordered_until",
        "path",
        "pinned",
        "placed",
        "rate",
        "settled",
        "shadow",
        "until",
        "used",
        "way",
        "windows",
    )

    def __init__(self, conversation: Conversation, packet: Fields) -> None:
        """Begin without a class and without a path."""
        self.conversation = conversation
        self.fields = packet
        #: Of the endpoints, the same for both directions and at both ends (64 bits).
        self.hash = conversation.hash
        #: Sequence numbers are given per bucket (0 to 255).
        self.bucket = conversation.hash & 0xFF
        #: Index in the policy's classes, and the version of the policy by which it was found.
        self.class_index = 0
        self.classified = -1
        #: Where it goes now, None for nowhere; all there is to say of that; and of which state of the paths it comes.
        self.path: Path | None = None
        self.way: Way = NOWHERE
        self.placed = -1
        #: The path it was assigned to, and the one that its hash alone chose then.
        self.home: Path | None = None
        self.chosen: Path | None = None
        #: Its path was chosen for its rate, and no longer by its hash.
        self.pinned = False
        #: The suspected path it left, which gets copies for a moment.
        self.shadow: Path | None = None
        #: Until when the receiver is to wait for what was numbered before, and when to look at all this again.
        self.ordered_until = -math.inf
        self.until = math.inf
        #: When it was sent last, and how many conversations there had been when it was marked as used.
        self.last = -math.inf
        self.used = 0
        #: Bytes read from the TUN since rates were measured last.
        self.octets = 0
        #: Bits per second, smoothed, while it is an elephant; and for how many measurements it has been one.
        self.rate = 0.0
        self.windows = 0
        #: It may be moved for its rate from then on, and has been so often.
        self.settled = -math.inf
        self.moves = 0


class Conversation:
    """What two endpoints send each other."""

    __slots__ = ("came_by", "classes", "ears", "flows", "hash", "key", "keys", "other", "other_since", "said")

    def __init__(self, key: bytes) -> None:
        """Begin without a flow."""
        self.key = key
        self.hash = int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
        self.flows: list[Flow] = []
        #: By which its packets are known, those that are sent and those that are heard.
        self.keys: list[Key] = []
        self.ears: list[Key] = []
        #: The path by which the peer sends its part; another one by which it came of late, and since when.
        self.came_by: Path | None = None
        self.other: Path | None = None
        self.other_since = 0.0
        #: The classes that the peer sends it in: by DSCP, and the newest.
        self.classes: dict[int, int] = {}
        self.said: int | None = None


class Ear:
    """What is known of packets that the peer sends."""

    __slots__ = ("class_index", "conversation", "used")

    def __init__(self, conversation: Conversation, class_index: int, used: int) -> None:
        """Take the class they came in; ``used`` is as that of Flow."""
        self.conversation = conversation
        self.class_index = class_index
        self.used = used
