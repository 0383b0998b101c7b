# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads which hosts have a status page, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import exporters, trust, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

_ENABLED = "mpquic_page"
_ADDRESS = "mpquic_page_address"
_PORT = "mpquic_page_port"
_FROM = "mpquic_page_from"
_PASSWORD = "mpquic_page_password"  # noqa: S105 - the name of a variable
VARIABLES = (_ENABLED, _ADDRESS, _PORT, _FROM, _PASSWORD)

#: Nobody but this host, the first if nothing is said.
_HERE = ("127.0.0.1", "::1")
_DEFAULT_PORT = 45901
_PORTS = range(1024, 65536)
_SHORTEST, _LONGEST = 12, 256
#: What is said of a password in its place.
_HIDDEN = "something else"


def read(
    hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], problems: Problems
) -> dict[str, dict[str, Any]]:
    """Return the page of each of ``hosts``, those with the Go implementation left out; passwords are not in it."""
    ours = [host for host in hosts if not set(trust.LEGACY) & hostvars[host].keys()]
    return {host: _page(host, hostvars[host], problems) for host in ours}


def _page(host: str, variables: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return whether a host has a page, where it is offered, and who may try to log in (empty for everybody)."""
    enabled = values.boolean(variables.get(_ENABLED, False), f"{host}: {_ENABLED}", problems)
    port = values.integer(variables.get(_PORT, _DEFAULT_PORT), f"{host}: {_PORT}", _PORTS, problems)
    address: object = variables.get(_ADDRESS, _HERE[0])
    if address not in _HERE:
        address = values.any_address(address, f"{host}: {_ADDRESS}", problems)
    allowed = exporters.allowed(variables[_FROM], f"{host}: {_FROM}", problems) if _FROM in variables else []
    if enabled:
        _password(variables.get(_PASSWORD), f"{host}: {_PASSWORD}", problems)
    return {"enabled": enabled, "address": str(address), "port": port, "from": allowed}


def _password(value: object, where: str, problems: Problems) -> None:
    """Look at a password without repeating it."""
    expected = f"{_SHORTEST} to {_LONGEST} printable characters, best from a vault"
    if value is None:
        problems.missing(where, expected)
    elif not isinstance(value, str) or not _SHORTEST <= len(value) <= _LONGEST or not value.isprintable():
        problems.unexpected(where, _HIDDEN, expected)
