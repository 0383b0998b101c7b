# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the WANs under a tunnel can carry packets, and which of its paths do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mpquic.host.instances import Instance
    from mpquic.host.state import HostState

#: Problems of a WAN without which there is no tunnel.
CODES = frozenset({"wan_missing", "wan_down", "wan_no_carrier", "wan_no_ipv4"})
#: A path that is not used: never connected so far, or no more.
DOWN = frozenset({"connecting", "down"})


def told(instance: Instance, daemon: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return what the daemon of one tunnel over several paths says of them, nothing for other tunnels."""
    if daemon is None or instance.many:
        return []
    return [path for end in (daemon, *daemon.get("peers", ())) for path in end.get("paths", ())]


def reasons(instance: Instance, daemon: dict[str, Any] | None, state: HostState) -> list[Problem]:
    """Return why the WAN cannot carry packets, or which of several paths do not; a server listens on what it has."""
    paths = told(instance, daemon)
    if not instance.client:
        return list(_path_reasons(paths, {}))
    if not instance.paths:
        return list(_wan_reasons(instance.wan, instance.wan_address, state))
    faults = {path.name: list(_wan_reasons(path.wan, path.wan_address, state)) for path in instance.paths}
    if all(faults.values()):
        return [problem for found in faults.values() for problem in found]
    return list(_path_reasons(paths, {name: found[0].message for name, found in faults.items() if found}))


def _path_reasons(paths: Iterable[dict[str, Any]], faults: dict[str, str]) -> Iterator[Problem]:
    """Yield which paths are down: those whose WAN is at fault, and those of which the daemon says so."""
    down = {path["name"]: path["reason"] for path in paths if path["state"] in DOWN}
    # The second connection of a path bears the path's name, a slash and its number.
    down = {name: reason for name, reason in down.items() if name.partition("/")[0] not in faults}
    for name, reason in (faults | down).items():
        yield Problem("path_down", f"path {name} is down: {reason}")


def _wan_reasons(name: str | None, address: str | None, state: HostState) -> Iterator[Problem]:
    """Yield why an interface, or else the one with an address, cannot carry packets."""
    if address is not None:
        if not any(str(found.ip) == address for group in state.addresses.values() for found in group):
            yield Problem("wan_no_ipv4", f"no interface has the address {address}")
        return
    assert name is not None
    link = state.links.get(name)
    if link is None:
        yield Problem("wan_missing", f"WAN interface {name} does not exist")
    elif not link.up:
        yield Problem("wan_down", f"WAN interface {name} is down")
    elif not link.carrier:
        yield Problem("wan_no_carrier", f"WAN interface {name} has no carrier")
    elif all(found.version == 6 for found in state.addresses_of(name)):
        yield Problem("wan_no_ipv4", f"WAN interface {name} has no IPv4 address")
