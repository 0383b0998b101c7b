# SPDX-License-Identifier: GPL-3.0-or-later
"""Retry tokens: proof that a client receives what is sent to its address, without a word of memory at the server.

A token is 8 bytes of nonce and an AEAD over the time and the first Initial's destination. The client's address and the
connection id that it must use from now on are authenticated with it and not in it.

RFC 9000 section 8.1.4 asks for the address and the port of a Retry token: the client comes back at once, from the same
socket, and a port that changed would be somebody else behind the same NAT.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from mpquic.core.types import Address

#: Seconds. A client answers a Retry at once; its Initials before may have been on the way for a while.
LIFETIME = 10.0
_NONCE = 8
_TIME = struct.Struct(">d")
#: Bytes of a token around the connection id in it, which has 8 to 20 (RFC 9000 sections 7.2 and 17.2).
_OVERHEAD = _NONCE + _TIME.size + 16
_LENGTHS = range(_OVERHEAD + 8, _OVERHEAD + 21)


class RetryTokens:
    """Tokens under one random key."""

    def __init__(self) -> None:
        """Make the key."""
        self._aead = AESGCM(AESGCM.generate_key(bit_length=128))
        # Counted, as no nonce may come twice under a key.
        self._numbers = itertools.count()

    def issue(self, original: bytes, source: bytes, address: Address, now: float) -> bytes:
        """Return the token of a Retry from the connection id ``source`` that answers an Initial to ``original``."""
        nonce = next(self._numbers).to_bytes(_NONCE, "big")
        return nonce + self._aead.encrypt(bytes(4) + nonce, _TIME.pack(now) + original, _bound(source, address))

    def redeem(self, token: bytes, source: bytes, address: Address, now: float) -> bytes | None:
        """Return the ``original`` of a token that came back to ``source`` from the same address within LIFETIME."""
        if len(token) not in _LENGTHS:
            return None
        try:
            plain = self._aead.decrypt(bytes(4) + token[:_NONCE], token[_NONCE:], _bound(source, address))
        except InvalidTag:
            return None
        (issued,) = _TIME.unpack_from(plain)
        return plain[_TIME.size :] if 0.0 <= now - issued <= LIFETIME else None


#: Those of this process: a new endpoint, after a reload, honours what the one before has issued.
TOKENS = RetryTokens()


def _bound(source: bytes, address: Address) -> bytes:
    return b"%d %b %b" % (address[1], str(address[0]).encode(), source)
