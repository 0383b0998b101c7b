# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where it is chosen what carries packets: the native library, or pure Python where that cannot be used.

Both do the same, byte for byte. The environment variable MPQUIC_NATIVE=off overrides the configuration, for tests.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal

from mpquic.daemon import nativetest
from mpquic.io.native_tun import NativeTunDevice
from mpquic.io.native_udp import NativeUdpSocket
from mpquic.io.tun import take_device
from mpquic.io.udp import UdpSocket
from mpquic.native import NativeError, load
from mpquic.quic.native import NativeProtection
from mpquic.quic.protection import PURE, Protection

if TYPE_CHECKING:
    from mpquic.io.tun import TakeDevice
    from mpquic.io.udp import TakeSocket

_LOG = logging.getLogger("mpquic")

#: The library where it can be used, or never.
Native = Literal["auto", "off"]


@dataclass(frozen=True)
class DataPlane:
    """What carries packets."""

    #: ``native`` or ``python``.
    name: str
    #: Why it is ``python``, empty otherwise.
    reason: str
    protection: Protection
    take_socket: TakeSocket
    take_device: TakeDevice


@lru_cache(maxsize=2)
def choose(wanted: Native) -> DataPlane:
    """Return what carries packets in this process; the log says once why it is not the library."""
    if wanted == "off" or os.environ.get("MPQUIC_NATIVE") == "off":
        return _python("switched off")
    try:
        library = load()
        nativetest.run(library)
    except NativeError as error:
        _LOG.warning('native data plane not used reason="%s" note="pure Python carries packets, slower"', error)
        return _python(str(error))
    return DataPlane(
        "native",
        "",
        NativeProtection(library),
        partial(NativeUdpSocket, library),
        partial(NativeTunDevice, library),
    )


def _python(reason: str) -> DataPlane:
    return DataPlane("python", reason, PURE, UdpSocket, take_device)
