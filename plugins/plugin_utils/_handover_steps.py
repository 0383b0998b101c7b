# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The order in which the instances of a site go over to another release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def handover_steps(
    hosts: Mapping[str, Mapping[str, Any]], behind: Mapping[str, Sequence[str]]
) -> list[dict[str, list[str]]]:
    """Return the steps, each with the ids of the instances that go over together, by host.

    Tunnel by tunnel: both ends of one, the VPS first, before the next; clients side by side. So a client with several
    tunnels never has all of them in motion at once.

    Args:
        hosts: The ``hosts`` of a site plan.
        behind: By host, the ids of the instances that run another release; hosts and ids that the plan does not know
            go with the first step of their host's kind.

    """
    turns = dict(_client_turns(hosts, behind))
    server_turns = {(name, id_): turn for name in behind for id_, turn in _server_turns(name, hosts, turns)}
    rounds = max((turn for turn in [*turns.values(), *server_turns.values()]), default=0) + 1
    steps: list[dict[str, list[str]]] = [{} for _ in range(2 * rounds)]
    for name in sorted(behind):
        client = hosts.get(name, {}).get("role") == "client"
        for id_ in behind[name]:
            turn = (turns if client else server_turns).get((name, id_), 0)
            steps[2 * turn + client].setdefault(name, []).append(id_)
    return [step for step in steps if step]


def _client_turns(
    hosts: Mapping[str, Mapping[str, Any]], behind: Mapping[str, Sequence[str]]
) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield the turn of each instance of each client: its place in the plan among those that are behind."""
    for name, part in hosts.items():
        if part["role"] == "client":
            waiting = [id_ for id_ in _ids(part) if id_ in behind.get(name, ())]
            yield from (((name, id_), turn) for turn, id_ in enumerate(waiting))


def _server_turns(
    name: str, hosts: Mapping[str, Mapping[str, Any]], turns: Mapping[tuple[str, str], int]
) -> Iterator[tuple[str, int]]:
    """Yield the turn of each instance of a VPS: that of the first instance that dials its port."""
    part = hosts.get(name, {})
    if part.get("role") != "server":
        return
    first: dict[int, int] = {}
    for (client, id_), turn in turns.items():
        if hosts[client].get("server") == name:
            for port in _ports(_config(hosts[client], id_)):
                first[port] = min(turn, first.get(port, turn))
    for instance in part["instances"]:
        yield str(instance["id"]), first.get(instance["config"]["remote_port"], 0)


def _ids(part: Mapping[str, Any]) -> list[str]:
    return [str(instance["id"]) for instance in part["instances"]]


def _config(part: Mapping[str, Any], id_: str) -> Mapping[str, Any]:
    config: Mapping[str, Any] = next(i["config"] for i in part["instances"] if str(i["id"]) == id_)
    return config


def _ports(config: Mapping[str, Any]) -> set[int]:
    ends = [config, *config.get("multipath_paths", [])]
    return {end["remote_port"] for end in ends if "remote_port" in end}
