# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``mpquic.tunnel.site_plan``: thin face of the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    CLIENTS,
    MONITORS,
    SERVERS,
    site_plan,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.addresses import MISSING
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.inventory import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable


def _site_plan(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plan of the site."""
    if MISSING is not None:
        message = "mpquic.tunnel.site_plan needs the Python package netaddr on the controller"
        raise AnsibleFilterError(message) from MISSING
    hosts = dict.fromkeys(host for group in (CLIENTS, SERVERS, MONITORS) for host in groups.get(group, []))
    return site_plan(groups, {host: _variables(hostvars[host]) for host in hosts})


def _variables(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a host that are ours as plain data, and the names of those that look like ours.

    Ansible collects the variables of a host, and templates them, each time that it is asked for one: at hundreds of
    hosts that takes longer than all the planning.
    """
    names = [name for name in found if name.startswith("mpquic_")]
    return {name: _plain(found[name]) if name in VARIABLES else None for name in names}


def _plain(value: Any) -> Any:
    """Return data without the marks that Ansible gives to every text and number, which make work with them slow."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(entry) for entry in value]
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) and not isinstance(value, bool) else value


class FilterModule:
    """What this file offers to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter."""
        return {"site_plan": _site_plan}
