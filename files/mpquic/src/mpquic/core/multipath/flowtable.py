# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows of a tunnel: which packets belong together, and what was decided for them.

A packet of a known flow costs one look into a dictionary and no parsing: the octets of its headers that do not change
from packet to packet are the key. The first packet with other ones is parsed; both the DF bit and ECN may vary within
a flow, and the upper bits of an IPv6 flow label, so a flow has a few such keys. Where the octets behind the IP header
are no ports (ICMP, fragments, IPv4 options, IPv6 extension headers), every packet is parsed.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mpquic.core.multipath.conversation import Conversation, Flow
from mpquic.core.multipath.fields import Fields, fields

if TYPE_CHECKING:
    from mpquic.core.multipath.conversation import Ear, Key

#: Conversations that are remembered, about 1.5 kB each. The least recently used make room.
CONVERSATIONS = 4096
#: DSCPs and directions within one conversation; keys of its packets. Whoever sends more starts it anew.
_MAX_FLOWS = 8
_MAX_KEYS = 32
#: Version and header length, TOS, DF and fragmentation, protocol, addresses and what is behind them.
_KEY_4 = struct.Struct(">BB4xHxB2x12s").unpack_from
#: Version, traffic class and four bits of the flow label, next header, addresses and what is behind them.
_KEY_6 = struct.Struct(">H4xBx36s").unpack_from
#: TCP, UDP, DCCP, ESP, SCTP, UDP-Lite: what is behind the addresses is the same for all packets of a flow.
_CONSTANT = frozenset({6, 17, 33, 50, 132, 136})
_PLAIN_IPV4 = 0x45
_FRAGMENTED = 0x3FFF
_NOTHING = Fields(0, 0, b"", b"", b"")


class FlowTable:
    """Finds the flow of a packet."""

    def __init__(self, size: int = CONVERSATIONS) -> None:
        """Remember ``size`` conversations."""
        self._size = size
        #: After so many new conversations one in use must be remembered again.
        self.patience = size // 4
        self._conversations: OrderedDict[bytes, Conversation] = OrderedDict()
        #: How many conversations there have been.
        self.made = 0
        #: By key, for those who find the key themselves: of packets that are sent, and of those that are heard.
        self.known: dict[Key, Flow] = {}
        self.ears: dict[Key, Ear] = {}

    def __len__(self) -> int:
        """Return how many conversations are remembered."""
        return len(self._conversations)

    def flow(self, data: bytes, at: int) -> Flow:
        """Return the flow of the packet at ``data[at:]``, whose key is not known. What is no IP packet is one flow."""
        packet = fields(data, at) or _NOTHING
        conversation = self.conversation(packet)
        for flow in conversation.flows:
            if flow.fields == packet:
                break
        else:
            if len(conversation.flows) >= _MAX_FLOWS:
                self._drop(conversation)
                conversation = self.conversation(packet)
            flow = Flow(conversation, packet)
            flow.used = self.made
            conversation.flows.append(flow)
        found = key(data, at)
        if found is not None:
            _bounded(conversation.keys, self.known)
            conversation.keys.append(found)
            self.known[found] = flow
        return flow

    def listen(self, data: bytes, at: int, ear: Ear) -> None:
        """Know the packets that are heard and have the key of the one at ``data[at:]``, if it has any."""
        found = key(data, at)
        if found is None:
            return
        if found not in self.ears:
            _bounded(ear.conversation.ears, self.ears)
            ear.conversation.ears.append(found)
        self.ears[found] = ear

    def deafen(self) -> None:
        """Forget what was heard."""
        self.ears.clear()
        for conversation in self._conversations.values():
            conversation.ears.clear()
            conversation.classes.clear()
            conversation.said = conversation.came_by = conversation.other = None

    def conversation(self, packet: Fields) -> Conversation:
        """Return the conversation of a packet of either direction, which is then the one used last."""
        _dscp, protocol, source, destination, ports = packet
        near, far = source + ports[:2], destination + ports[2:]
        name = bytes((protocol,)) + (near + far if near <= far else far + near)
        conversation = self._conversations.get(name)
        if conversation is not None:
            self._conversations.move_to_end(name)
            return conversation
        while len(self._conversations) >= self._size:
            self._drop(next(iter(self._conversations.values())))
        conversation = self._conversations[name] = Conversation(name)
        self.made += 1
        return conversation

    def remember(self, user: Flow | Ear) -> None:
        """Note that a flow is in use, in one of its directions."""
        user.used = self.made
        conversation = user.conversation
        if self._conversations.get(conversation.key) is conversation:
            self._conversations.move_to_end(conversation.key)

    def _drop(self, conversation: Conversation) -> None:
        del self._conversations[conversation.key]
        for each in conversation.keys:
            del self.known[each]
        for each in conversation.ears:
            del self.ears[each]
        # They know each other; this way nothing waits for the garbage collector.
        conversation.flows.clear()


def _bounded(keys: list[Key], table: dict[Key, Any]) -> None:
    """Make room for one more of a conversation's keys in the table."""
    if len(keys) >= _MAX_KEYS:
        for each in keys:
            del table[each]
        keys.clear()


def quick_key(data: bytes | bytearray | memoryview, at: int) -> Key:
    """Return the octets by which the packet at ``data[at:]`` may be known.

    Raises IndexError or struct.error when it is too short to be known by any.
    """
    return _KEY_4(data, at) if data[at] < 0x60 else _KEY_6(data, at)


def key(data: bytes, at: int) -> Key | None:
    """Return the octets that all such packets of the same flow share, None when there are none."""
    try:
        found = quick_key(data, at)
    except (IndexError, struct.error):
        return None
    if len(found) == 5:
        first, _tos, fragment, protocol, _rest = found
        return found if first == _PLAIN_IPV4 and not fragment & _FRAGMENTED and protocol in _CONSTANT else None
    return found if found[0] >> 12 == 6 and found[1] in _CONSTANT else None
