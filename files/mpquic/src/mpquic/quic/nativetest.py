# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof, at start-up, that the native library seals and opens on this machine as the reference does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioquic.quic.crypto import CryptoContext
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

from mpquic.core.wire import CID_LENGTH
from mpquic.native.buffers import batch as batch_of
from mpquic.native.library import STOP_ALL, NativeError
from mpquic.quic import private
from mpquic.quic.native import Keys, NativeProtection, NativeSealer
from mpquic.quic.opening import FORM
from mpquic.quic.seal import Sealer

if TYPE_CHECKING:
    from mpquic.native import Library

_CID = bytes(range(CID_LENGTH))
#: Close to the end of what a packet number's three bytes can say.
_FIRST = (1 << 24) - 2
#: Alone in their packets, and together in one.
_BATCHES = ([bytes([size & 255]) * size for size in (1300, 1201, 700)], [bytes([size]) * size for size in (1, 40, 65)])
_ROOM = 1310


def run(library: Library) -> None:
    """Compare every cipher. Raises NativeError naming what differs."""
    protection = NativeProtection(library)
    for number, suite in enumerate((CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256)):
        context = CryptoContext(key_phase=number)
        context.setup(cipher_suite=suite, secret=bytes(range(32)), version=QuicProtocolVersion.VERSION_1)
        keys, state = Keys(library, sealing=False), private.state_of(context, _CID, _FIRST)
        sealer = NativeSealer(protection, context)
        for payloads in _BATCHES:
            expected = Sealer().seal(payloads, _ROOM, state)
            if sealer.native(payloads, _ROOM, state) != expected:
                raise NativeError(f"self-test failed: sealing by {suite.name}")
            broken = bytes([*expected[-1][:-1], expected[-1][-1] ^ 1])
            handle = keys.of(context)
            if handle is None:
                raise NativeError(f"self-test failed: keys of {suite.name}")
            result = protection.open(handle, batch_of([*expected, broken]), 0, (_CID,), FORM | number << 2, _FIRST)
            if (
                result is None
                or (result.stop, result.forged, result.late) != (STOP_ALL, 1, 0)
                or protection.opened.items(result.payloads) != payloads
            ):
                raise NativeError(f"self-test failed: opening by {suite.name}")
