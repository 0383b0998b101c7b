# SPDX-License-Identifier: GPL-3.0-or-later
"""The native data plane's C library (files/mpquic/native) as Python calls it: bytes in, bytes out, no decisions.

What uses it has the same interface as its twin in pure Python, which is the reference: mpquic.quic.native,
mpquic.io.native_codec, mpquic.io.native_udp, mpquic.io.native_tun. mpquic.daemon.dataplane chooses between them.
"""

from mpquic.native.library import Library, NativeError, load

__all__ = ["Library", "NativeError", "load"]
