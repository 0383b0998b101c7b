# SPDX-License-Identifier: GPL-3.0-or-later
"""What two processes of one instance say to each other when it changes hands."""

from __future__ import annotations

from ipaddress import ip_address

from mpquic.daemon.handover import messages
from mpquic.daemon.handover.messages import MessageError

from fuzzing.decoder import Decoder, Input


class HandoverMessages(Decoder):
    """A message: its kind, and its body."""

    name = "handover"
    quick = 15_000
    tokens = tuple(
        b'"protocol" "version" "fixed" "up" "reason" "restart" { } : , true null 1 2 "role" "a" [] NaN'.split()
    )

    def feed(self, items: Input) -> bool:
        """Read what can be read, and write it again."""
        kind, body = items[0][:1], items[0][1:]
        try:
            if kind == bytes([messages.OFFER]):
                offer = messages.unpack_offer(body)
                assert offer.version.isprintable() or not offer.version
                if offer.protocol == messages.PROTOCOL:
                    assert messages.unpack_offer(messages.pack(offer)) == offer
            elif kind == bytes([messages.REFUSE]):
                refusal = messages.unpack_refuse(body)
                assert len(refusal.reason) <= 500
                assert messages.unpack_refuse(messages.pack(refusal)) == refusal
            else:
                data, size, address = arrival = messages.unpack_datagram(body)
                assert data
                assert 0 < size < 1 << 16
                assert 0 <= address[1] < 1 << 16
                # The own port is at the end.
                assert len(address) == (5 if ip_address(address[0]).version == 6 else 3)
                assert messages.unpack_datagram(messages.pack_datagram(arrival)) == arrival
        except MessageError:
            return False
        return True
