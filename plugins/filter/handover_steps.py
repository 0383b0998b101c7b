# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``mpquic.tunnel.handover_steps``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._handover_steps import handover_steps

if TYPE_CHECKING:
    from collections.abc import Callable


class FilterModule:
    """What this file offers to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"handover_steps": handover_steps}
