# SPDX-License-Identifier: GPL-3.0-or-later
"""The tunnels under test, in the order of the tables."""

from __future__ import annotations

from tests.bench.peers.base import MTU, Peer, Tunnel
from tests.bench.peers.mpquic import Mpquic, MpquicPaths, MpquicPython
from tests.bench.peers.openvpn import OpenVpn
from tests.bench.peers.plain import Plain
from tests.bench.peers.wireguard import WireguardGo, WireguardGo13

OURS = Mpquic.name
PATHS = MpquicPaths.name
PYTHON = MpquicPython.name
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (Mpquic(), MpquicPython(), MpquicPaths(), WireguardGo13(), WireguardGo(), OpenVpn(), Plain())
}

__all__ = ["MTU", "OURS", "PATHS", "PEERS", "PYTHON", "Mpquic", "Peer", "Tunnel"]
