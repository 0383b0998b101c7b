# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a test makes carries packets as a daemon on this machine would: by the native library where it is built.

``MPQUIC_NATIVE=off`` runs the same tests in pure Python.
"""

from __future__ import annotations

from mpquic.core import offload
from mpquic.daemon import dataplane
from mpquic.io import tun, udp
from mpquic.io.native_codec import NativeCodec
from mpquic.native import load
from mpquic.quic import endpoint


def _use(plane: dataplane.DataPlane) -> None:
    """Make a data plane the default of what needs one."""
    if plane.name == "python":
        return

    library = load()

    class Codec(NativeCodec):
        """Made as its twin is."""

        def __init__(self, *, udp: bool) -> None:
            super().__init__(library, udp=udp)

    offload.VnetCodec = Codec  # type: ignore[misc]
    endpoint.PURE = plane.protection
    tun.open_tun.__defaults__ = (plane.take_device,)
    udp.open_udp.__kwdefaults__["take"] = plane.take_socket


_use(dataplane.choose("auto"))
