# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's Ed25519 key and its certificate, and the key that is to replace it. Keys never leave the host."""

from mpquic.host.identity.certificates import Request
from mpquic.host.identity.keys import Identity, abandon, ensure, install, promote, request, stage

__all__ = ["Identity", "Request", "abandon", "ensure", "install", "promote", "request", "stage"]
