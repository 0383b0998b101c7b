# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server learns from what its client sends: answers belong to the same class, and go the same way.

The client may classify by marks that answers do not carry, and may have moved a flow for reasons only it knows.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mpquic.core.multipath.conversation import Ear
from mpquic.core.multipath.fields import fields
from mpquic.core.multipath.flowtable import quick_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpquic.core.multipath.conversation import Conversation
    from mpquic.core.multipath.flowtable import FlowTable
    from mpquic.core.path import Path
    from mpquic.core.types import Frame

#: Seconds without a packet by the old path until a conversation counts as moved: late ones come in between.
STEADY = 0.1


class Hearing:
    """Notes in the table of flows what the peer does."""

    def __init__(self, table: FlowTable) -> None:
        """Begin with nothing heard."""
        self._table = table

    def heard(self, frames: Iterable[Frame], at: int, class_index: int, path: Path, now: float) -> None:
        """See Spreader.heard()."""
        table, known = self._table, self._table.ears.get
        used_up = table.made - table.patience
        for frame in frames:
            # All headers of a packet are in one buffer: with the vnet header in front of them, or behind it.
            data, start = frame[0], at
            if len(data) <= at:
                data, start = frame[1], at - len(data)
            try:
                ear = known(quick_key(data, start))
            except (IndexError, struct.error):
                ear = None
            if ear is None or ear.class_index != class_index:
                self._other(bytes(data), start, class_index, path, now)
                continue
            conversation = ear.conversation
            if conversation.came_by is path:
                conversation.other = None
            else:
                _comes(conversation, path, now)
            if ear.used < used_up:
                table.remember(ear)

    def _other(self, data: bytes, at: int, class_index: int, path: Path, now: float) -> None:
        """Take note of a packet that is not known, or is known to come in another class."""
        packet = fields(data, at)
        if packet is None:
            return
        conversation = self._table.conversation(packet)
        _comes(conversation, path, now)
        if conversation.said != class_index or conversation.classes.get(packet.dscp) != class_index:
            conversation.classes[packet.dscp] = conversation.said = class_index
            for flow in conversation.flows:
                flow.classified = flow.placed = -1
        self._table.listen(data, at, Ear(conversation, class_index, self._table.made))


def _comes(conversation: Conversation, path: Path, now: float) -> None:
    """Note by which path a packet came."""
    if conversation.came_by is path:
        conversation.other = None
        return
    if conversation.came_by is not None:
        if conversation.other is not path:
            conversation.other, conversation.other_since = path, now
            return
        if now - conversation.other_since < STEADY:
            return
    conversation.came_by, conversation.other = path, None
    for flow in conversation.flows:
        flow.placed = -1
