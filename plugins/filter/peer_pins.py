# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``mpquic.tunnel.peer_pins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._peer_pins import peer_pins

if TYPE_CHECKING:
    from collections.abc import Callable


class FilterModule:
    """What this file offers to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"peer_pins": peer_pins}
