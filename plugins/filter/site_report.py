# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``mpquic.tunnel.site_report``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import site_report

if TYPE_CHECKING:
    from collections.abc import Callable


class FilterModule:
    """What this file offers to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"site_report": site_report}
