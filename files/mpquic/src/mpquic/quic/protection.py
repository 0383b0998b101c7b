# SPDX-License-Identifier: GPL-3.0-or-later
"""What seals and opens the packets of connections: pure Python, which is the reference, or its native twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.quic.opening import Opener
from mpquic.quic.seal import Sealer

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection

    from mpquic.quic.keyphase import KeyPhases
    from mpquic.quic.opening import Slow
    from mpquic.quic.window import ReceiveWindow


class Protection:
    """Makes what seals and opens for one connection; see mpquic.quic.native for the twin."""

    def sealer(self, connection: QuicConnection) -> Sealer:
        """Return what seals for a connection whose handshake is confirmed."""
        del connection
        return Sealer()

    def opener(self, connection: QuicConnection, phases: KeyPhases, window: ReceiveWindow, slow: Slow) -> Opener:
        """Return what opens for a connection whose handshake is confirmed; see Opener."""
        return Opener(connection, phases, window, slow)


#: Pure Python.
PURE = Protection()
