# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that the native library does on this machine what the reference does: at start-up, and by the role.

``python -m mpquic.daemon.nativetest`` ends with 0 when it does, and with 1 and a line on stderr when not.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from mpquic.core.gate import OPEN
from mpquic.core.offload import VnetCodec
from mpquic.io.native_codec import NativeCodec
from mpquic.native import NativeError, load
from mpquic.quic import nativetest

if TYPE_CHECKING:
    from mpquic.native import Library

_V4 = bytes.fromhex("450000000001400040060000 0a000001 0a000002".replace(" ", ""))
_V6 = bytes.fromhex("6000000000000640" + "fd" + 14 * "00" + "01" + "fd" + 14 * "00" + "02")
_TCP = bytes.fromhex("9c4001bb00000001000000635018 01f5 0000 0000".replace(" ", ""))
#: What the kernel would hand over: 3000 bytes of TCP with PSH in segments of 1000 (see mpquic.core.offload.vnet).
_BODY = 3000
_STEP = 1000


def run(library: Library) -> None:
    """Compare a few packets of every kind (a few ms). Raises NativeError naming what differs."""
    nativetest.run(library)
    pure, native = VnetCodec(udp=True), NativeCodec(library, udp=True)
    for name, read in (("TSO4", _read_v4()), ("TSO6", _read_v6())):
        reads = [read, read[:20], bytes(10) + read[10:]]
        expected, found = Counter[str](), Counter[str]()
        payloads = pure.ingress(reads, expected)
        if native.ingress(reads, found) != payloads or found != expected or not payloads:
            raise NativeError(f"self-test failed: cutting {name}")
        frames, *counts = pure.egress(payloads, expected, OPEN)
        twins, *twin_counts = native.egress(payloads, found, OPEN)
        if list(map(b"".join, twins)) != list(map(b"".join, frames)) or twin_counts != counts:
            raise NativeError(f"self-test failed: merging {name}")


def _read_v4() -> bytes:
    header = bytearray(_V4)
    header[2:4] = (len(_V4) + len(_TCP) + _BODY).to_bytes(2)
    return _vnet(1, len(_V4)) + bytes(header) + _TCP + bytes(_BODY)


def _read_v6() -> bytes:
    header = bytearray(_V6)
    header[4:6] = (len(_TCP) + _BODY).to_bytes(2)
    return _vnet(4, len(_V6)) + bytes(header) + _TCP + bytes(_BODY)


def _vnet(kind: int, transport: int) -> bytes:
    sizes = (transport + len(_TCP), _STEP, transport, 16)
    # With no flag that says otherwise, the checksum is made from the addresses, and what was cut merges again.
    return bytes([0, kind]) + b"".join(size.to_bytes(2, "little") for size in sizes)


def main() -> int:
    """Test the library of this environment. Returns an exit code."""
    try:
        run(load())
    except NativeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
