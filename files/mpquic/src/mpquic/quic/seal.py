# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealing a batch: DATAGRAM payloads become protected 1-RTT packets (RFC 9001 section 5), a few operations each."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.quic.private import SendState

#: Bytes of a packet number: four million packets may be in flight (RFC 9000 section 17.1).
_NUMBER = 3
_NUMBER_MASK = (1 << 8 * _NUMBER) - 1
#: Header form 0, fixed bit 1, packet number length (RFC 9000 section 17.3).
FIRST = 0x40 | (_NUMBER - 1)
_TAG = 16
#: DATAGRAM frames without and with a length (RFC 9221 section 4).
_DATAGRAM = b"\x30"
_DATAGRAM_WITH_LENGTH = b"\x31"
#: Bytes of a DATAGRAM frame with a length beside its payload.
_FRAME = 3
#: Header protection: the sample starts four bytes after the start of the packet number.
_SAMPLE = slice(4 - _NUMBER, 20 - _NUMBER)


def overhead(cid_length: int) -> int:
    """Return the bytes of a sealed packet beside its frames."""
    return 1 + cid_length + _NUMBER + _TAG


def plaintexts(payloads: Sequence[bytes], room: int) -> list[bytes]:
    """Return packet contents of at most ``room`` bytes that hold the payloads in order; small ones share a packet."""
    if 2 * min(map(len, payloads)) + 2 * _FRAME > room:
        return [_DATAGRAM + payload for payload in payloads]
    packets: list[bytes] = []
    frames: list[bytes] = []
    used = 0
    for payload in payloads:
        size = _FRAME + len(payload)
        if used + size > room and frames:
            packets.append(_packet(frames))
            frames, used = [], 0
        frames += (_frame_header(len(payload)), payload)
        used += size
    packets.append(_packet(frames))
    return packets


def padded_ping(size: int) -> bytes:
    """Return the content of a packet that only asks for an acknowledgement (RFC 9000 sections 19.1 and 19.2)."""
    return b"\x01" + bytes(size - 1)


def _packet(frames: list[bytes]) -> bytes:
    return b"".join(frames) if len(frames) > 2 else _DATAGRAM + frames[1]


@lru_cache(maxsize=2048)
def _frame_header(length: int) -> bytes:
    # A variable-length integer of two bytes (RFC 9000 section 16).
    return _DATAGRAM_WITH_LENGTH + (0x4000 | length).to_bytes(2, "big")


def seal(plains: Sequence[bytes], state: SendState) -> list[bytes]:
    """Return protected packets, numbered from ``state.packet_number`` on."""
    encrypt, iv = state.encrypt, state.iv
    size = 1 + len(state.cid) + _NUMBER
    first = FIRST | state.spin << 5 | state.phase << 2
    base = int.from_bytes(bytes((first,)) + state.cid + bytes(_NUMBER), "big")
    start = state.packet_number
    headers = [base | number & _NUMBER_MASK for number in range(start, start + len(plains))]
    sealed = [
        encrypt((iv ^ number).to_bytes(12, "big"), plain, header.to_bytes(size, "big"))
        for number, plain, header in zip(range(start, start + len(plains)), plains, headers, strict=True)
    ]
    masks = state.masks([packet[_SAMPLE] for packet in sealed])
    # The first byte of a mask covers the low bits of the first byte, the next ones the packet number.
    shift = 8 * (size - 1)
    return [
        (header ^ (mask >> 24 & 0x1F) << shift ^ mask & _NUMBER_MASK).to_bytes(size, "big") + packet
        for header, mask, packet in zip(headers, _words(masks), sealed, strict=True)
    ]


class Sealer:
    """Seals what one connection sends."""

    def seal(self, payloads: Sequence[bytes], room: int, state: SendState) -> list[bytes]:
        """Return packets of at most ``room`` bytes of frames each, numbered from ``state.packet_number`` on."""
        return seal(plaintexts(payloads, room), state)


def _words(masks: bytes) -> tuple[int, ...]:
    """Return the first four bytes of each mask."""
    return _layout(len(masks) // 16).unpack(masks)


@lru_cache(maxsize=512)
def _layout(count: int) -> struct.Struct:
    return struct.Struct(">" + "I12x" * count)
