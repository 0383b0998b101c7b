# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``mpquic.tunnel.site_plan``: thin face of the planner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _site_plan(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan of the site."""
    if MISSING is not None:
        message = "mpquic.tunnel.site_plan needs the Python package netaddr on the controller"
        raise AnsibleFilterError(message) from MISSING
    return site_plan(groups, hostvars)


class FilterModule:
    """What this file offers to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"site_plan": _site_plan}
