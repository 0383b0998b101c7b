# SPDX-License-Identifier: GPL-3.0-or-later
"""What one end of a connection hears on the control stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.core import messages
from mpquic.core.capsules import CapsuleReader
from mpquic.core.connection import Closed, ControlData

if TYPE_CHECKING:
    from mpquic.core.messages import Message
    from mpquic.quic.link import Link


class Listener:
    """Hears what the peer says, and how the connection ends."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.heard: list[Message] = []
        self.closed: Closed | None = None
        self._reader = CapsuleReader()

    def listen(self) -> None:
        """Note what the datagrams so far have brought."""
        for event in self.link.events():
            if isinstance(event, ControlData):
                found = [messages.decode(kind, value) for kind, value in self._reader.feed(event.data)]
                self.heard += [message for message in found if message is not None]
            elif isinstance(event, Closed):
                self.closed = event
