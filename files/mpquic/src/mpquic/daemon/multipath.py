# SPDX-License-Identifier: GPL-3.0-or-later
"""The paths and classes of a configuration as the core has them: names become numbers, connections become paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.config.multipath import MAX_PATHS
from mpquic.core.multipath.policy import PathSpec, Policy, Rule, TrafficClass
from mpquic.daemon.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mpquic.config import Classifier, DataplaneClass, Multipath


@dataclass(frozen=True, slots=True)
class Planned:
    """One connection of a path: a path of its own to the core."""

    spec: PathSpec
    #: The name of its path in the configuration, which its connections have in common.
    path: str
    target: Target
    #: What this end may send by it, on the wire (bit/s).
    rate: int | None


def plan_paths(multipath: Multipath, before: Sequence[Planned] = ()) -> tuple[Planned, ...]:
    """Return the paths in the order of the file: ``wan1``, and ``wan1/2`` for its second connection.

    A path has the number that it had ``before``, as long as its name and its target are the same.
    """
    named = {
        f"{path.name}/{index + 1}" if index else path.name: path
        for path in multipath.paths
        for index in range(path.connections)
    }
    targets = {name: Target(path.bind_ip, path.remote_addr, path.remote_port) for name, path in named.items()}
    numbers = _numbers(targets, before)
    firsts = [path.name for path in multipath.paths]
    links = {path.name: numbers[firsts[link]] for path, link in zip(multipath.paths, multipath.links(), strict=True)}
    return tuple(
        Planned(
            PathSpec(
                number=numbers[name],
                name=name,
                link=links[path.name],
                priority=path.priority,
                weight=path.weight,
                rate_down=_part(path.rate_down, path.connections),
                ping_interval=path.ping_interval,
            ),
            path.name,
            targets[name],
            _part(path.rate, path.connections),
        )
        for name, path in named.items()
    )


def _numbers(targets: Mapping[str, Target], before: Sequence[Planned]) -> dict[str, int]:
    """Return a number for each name: not one that was just given up, as long as there is another."""
    kept = {
        planned.spec.name: planned.spec.number for planned in before if targets.get(planned.spec.name) == planned.target
    }
    given_up = {planned.spec.number for planned in before} - set(kept.values())
    unused = set(range(1, MAX_PATHS + 1)) - given_up - set(kept.values())
    free = iter([*sorted(unused), *sorted(given_up)])
    return {name: kept[name] if name in kept else next(free) for name in targets}


def policy(multipath: Multipath, paths: Iterable[Planned], generation: int) -> Policy:
    """Return what both ends are to do with these paths."""
    numbers: dict[str, list[int]] = {}
    specs = []
    for planned in paths:
        specs.append(planned.spec)
        numbers.setdefault(planned.path, []).append(planned.spec.number)
    plane = multipath.dataplane
    names = list(plane.classes)

    def numbered(wanted: Iterable[str]) -> tuple[int, ...]:
        return tuple(number for name in wanted for number in numbers[name])

    def traffic_class(name: str, found: DataplaneClass) -> TrafficClass:
        return TrafficClass(
            name=name,
            scheduling=found.scheduler_policy or multipath.policy,
            preferred=numbered(found.preferred_paths),
            excluded=numbered(found.excluded_paths),
            copies=found.copies,
            spray=found.spray,
        )

    def rule(found: Classifier) -> Rule:
        return Rule(
            target=names.index(found.class_),
            protocols=frozenset(found.protocol),
            sources=found.src_cidrs,
            destinations=found.dst_cidrs,
            source_ports=found.src_ports,
            destination_ports=found.dst_ports,
            dscps=frozenset(found.dscp),
        )

    return Policy(
        generation=generation,
        paths=tuple(specs),
        classes=tuple(traffic_class(name, found) for name, found in plane.classes.items()),
        default=names.index(plane.default_class),
        rules=tuple(map(rule, plane.classifiers)),
    )


def _part(rate: int | None, connections: int) -> int | None:
    """Return what each connection has of a rate that is the whole path's."""
    return None if rate is None else rate // connections
