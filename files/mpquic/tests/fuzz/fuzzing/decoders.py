# SPDX-License-Identifier: GPL-3.0-or-later
"""All of them, the slow ones first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzzing.control_stream import ControlStream, Joined, Joins
from fuzzing.handing import HandoverMessages
from fuzzing.inner import Headers, Payloads, Reads
from fuzzing.outer import QuicHeaders
from fuzzing.page import PageRequests
from fuzzing.several import PathStatus, Policies, Sequenced
from fuzzing.texts import Config, ControlSocket, Keeper
from fuzzing.tunnels import ClientDatagrams, Frames, ServerDatagrams

if TYPE_CHECKING:
    from fuzzing.decoder import Decoder

DECODERS: dict[str, type[Decoder]] = {
    kind.name: kind
    for kind in (
        Config,
        Frames,
        ServerDatagrams,
        ClientDatagrams,
        Payloads,
        Reads,
        Sequenced,
        Policies,
        PathStatus,
        ControlStream,
        Joins,
        Joined,
        Headers,
        QuicHeaders,
        ControlSocket,
        Keeper,
        HandoverMessages,
        PageRequests,
    )
}
