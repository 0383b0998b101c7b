# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters by which roles change over from what runs to what is planned: thin faces of ``_change_over``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.client import guarded, switch
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.running import running_instances
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.server import serve, union

if TYPE_CHECKING:
    from collections.abc import Callable


class FilterModule:
    """What this file offers to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters."""
        return {
            "running_instances": running_instances,
            "serve_beside": serve,
            "serve_beside_nft": union,
            "switch_over": switch,
            "switch_over_nft": guarded,
        }
