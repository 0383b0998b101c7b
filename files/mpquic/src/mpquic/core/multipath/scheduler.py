# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths a class may use, in which order, and which of them a flow gets.

The paths of a class are put into tiers: all of one tier are equally good, and the first tier is the one that is used.
Within a tier flows are shared out by weighted rendezvous hashing (Thaler and Ravishankar 1998; the logarithmic weights
of Schindelhauer and Schomaker 2005): each flow draws a number for each link, and takes the link with the best. So a
link that goes only moves its own flows, and one that comes takes its part of everybody's. Chance alone would give some
path a tenth too many of 500 flows, and of ten flows anything: a new flow passes over a path that is ahead of its part.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import cycle
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from mpquic.core.multipath.health import RANK_PROBATION, UNUSABLE
from mpquic.core.multipath.way import Way

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mpquic.core.multipath.policy import PathSpec, Policy, TrafficClass
    from mpquic.core.path import Path

#: Ranks up to this are good.
GOOD = RANK_PROBATION
#: Bytes per turn of the heaviest path of a sprayed class: four full packets.
_QUANTUM = 6000
_MASK = (1 << 64) - 1
#: Multipliers of splitmix64 (Steele, Lea and Flood 2014).
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_LINKS, _PATHS = 1 << 32, 2 << 32
#: New flows that a path may be ahead of its part, and over how many flows that is looked at.
_AHEAD = 1
_REMEMBERED = 512
#: Ways of a plan that are known at once. With copies there may be one for every few of its paths: 255 of them make 16
#: million.
WAYS = 1024


def rank(path: Path) -> int:
    """Return how good a path is now: 0 best, UNUSABLE not at all."""
    return UNUSABLE if path.health is None else path.health.rank


def standing(path: Path, spec: PathSpec) -> tuple[int, ...]:
    """Return a key by which paths are sorted: the one that stands for the tunnel comes first."""
    return rank(path), spec.priority, -spec.weight, spec.number


@lru_cache(maxsize=512)
def _multiplier(value: int) -> int:
    """Return an odd number of 64 bits that has nothing in common with those of other values."""
    value = (value ^ value >> 30) * _MIX_1 & _MASK
    value = (value ^ value >> 27) * _MIX_2 & _MASK
    return (value ^ value >> 31) | 1


class _Choice(NamedTuple):
    """One of several that share by weight."""

    multiplier: int
    weight: float
    number: int


class Tier:
    """Paths that are equally good."""

    __slots__ = ("_choices", "_given", "_links", "_members", "_total", "weights")

    def __init__(self, members: Iterable[tuple[Path, float]]) -> None:
        """Take paths with their effective weights. Those of one link share the largest of theirs."""
        self._members: dict[int, tuple[list[_Choice], dict[int, Path]]] = {}
        self._links: list[_Choice] = []
        #: What each path's part is by.
        self.weights: dict[Path, float] = {}
        by_link: dict[int, list[tuple[Path, float]]] = {}
        for path, weight in members:
            by_link.setdefault(path.link, []).append((path, weight))
        for link, paths in by_link.items():
            heaviest, total = max(weight for _path, weight in paths), sum(weight for _path, weight in paths)
            self._links.append(_choice(_LINKS, link, heaviest))
            choices = [_choice(_PATHS, path.number, weight) for path, weight in paths]
            self._members[link] = choices, {path.number: path for path, _weight in paths}
            for path, weight in paths:
                self.weights[path] = heaviest * weight / total
        self._total = sum(self.weights.values())
        self._choices = {path.number: _choice(_PATHS, path.number, weight) for path, weight in self.weights.items()}
        #: New flows per path, of late.
        self._given = dict.fromkeys(self.weights, 0.0)

    def inherit(self, before: Tier) -> None:
        """Go on after another tier, if it had the same paths and weights."""
        if before.weights == self.weights:
            self._given = before._given

    def assign(self, value: int, choice: Path) -> Path:
        """Return the path of a new flow with this hash: what choose() gave, unless that is ahead of its part."""
        if len(self.weights) == 1:
            return choice
        given = self._given
        count = sum(given.values())
        if count >= _REMEMBERED:
            for each in given:
                given[each] /= 2
            count /= 2
        part = (count + 1) / self._total
        if given[choice] > self.weights[choice] * part + _AHEAD:
            behind = {each.number: each for each, weight in self.weights.items() if given[each] <= weight * part}
            choice = behind[_best([self._choices[number] for number in behind], value)]
        given[choice] += 1
        return choice

    def choose(self, value: int, without: Collection[int] = ()) -> Path | None:
        """Return the path of a flow with this hash, on none of the links ``without``; None when there is none left."""
        links = [link for link in self._links if link.number not in without] if without else self._links
        if not links:
            return None
        choices, paths = self._members[_best(links, value)]
        return paths[_best(choices, value)]


def _choice(kind: int, number: int, weight: float) -> _Choice:
    return _Choice(_multiplier(kind | number), weight, number)


def _best(choices: Sequence[_Choice], value: int) -> int:
    """Return the number of the choice whose draw is best: the least -ln(u) / weight with u in (0, 1).

    u is the upper part of the hash times a constant of the choice (multiply-shift hashing, Dietzfelbinger 1997).
    """
    least, found = math.inf, choices[0].number
    if len(choices) > 1:
        for multiplier, weight, number in choices:
            cost = -math.log(((value * multiplier & _MASK) | 1) * 2**-64) / weight
            if cost < least:
                least, found = cost, number
    return found


class Plan:
    """What the state of the paths means for one class."""

    __slots__ = ("_groups", "_tiers", "_ways", "copies", "dealer", "spray", "weights")

    def __init__(
        self,
        policy: Policy,
        one: TrafficClass,
        paths: Mapping[int, Path],
        before: Plan | None = None,
        *,
        avoided: Collection[Path] = (),
    ) -> None:
        """Sort the paths (by number) as they are now; ``before`` is the plan of that class until now.

        Those to be ``avoided`` are passed over while the class may use another.
        """
        self.copies = 1 if one.spray else one.copies
        self.spray = one.spray
        self._groups = _groups(policy, one, paths, avoided)
        #: As many tiers as were needed so far.
        self._tiers = [Tier(group) for group in self._groups[:1]]
        #: The paths that are used now, and what the part of each is by.
        self.weights: Mapping[Path, float] = self._tiers[0].weights if self._tiers else {}
        if self._tiers and before is not None and before._tiers:  # noqa: SLF001 - of the same class
            self._tiers[0].inherit(before._tiers[0])  # noqa: SLF001
        #: Deals the packets of a sprayed class out, None while there is no path.
        self.dealer = Dealer(self.weights) if one.spray and self._tiers else None
        self._ways: dict[tuple[int, tuple[Path, ...], bool], Way] = {}

    def choose(self, value: int) -> Path | None:
        """Return the path of a flow with this hash, None when there is none at all."""
        return self._tiers[0].choose(value) if self._tiers else None

    def assign(self, value: int, choice: Path) -> Path:
        """Return the path of a new flow with this hash, for which choose() gave ``choice``."""
        return self._tiers[0].assign(value, choice)

    def with_copies(self, value: int, path: Path) -> tuple[Path, ...]:
        """Return ``path`` and those that carry copies, one per link, the best first."""
        found, links = [path], {path.link}
        for place, group in enumerate(self._groups):
            if len(found) == self.copies:
                break
            if place == len(self._tiers):
                self._tiers.append(Tier(group))
            while len(found) < self.copies and (other := self._tiers[place].choose(value, links)) is not None:
                found.append(other)
                links.add(other.link)
        return tuple(found)

    def way(self, class_index: int, paths: tuple[Path, ...], *, ordered: bool) -> Way:
        """Return what says that flows of this plan go by these paths: the same again, unless there are very many."""
        way = self._ways.get((class_index, paths, ordered))
        if way is None:
            if len(self._ways) >= WAYS:
                # Flows that have one keep it; they are only not handled together with new ones.
                self._ways.clear()
            way = self._ways[class_index, paths, ordered] = Way(class_index, paths, self.dealer, ordered=ordered)
        return way


class Dealer:
    """Deals packets out by weight: deficit round robin (Shreedhar and Varghese 1995) whose turns may overdraw."""

    __slots__ = ("_credit", "_path", "_turns")

    def __init__(self, weights: Mapping[Path, float]) -> None:
        """Take one path or more."""
        heaviest = max(weights.values())
        self._turns = cycle([(path, _QUANTUM * weight / heaviest) for path, weight in weights.items()])
        self._credit = dict.fromkeys(weights, 0.0)
        self._path = next(iter(weights))

    def deal(self, sizes: Sequence[int]) -> list[Path]:
        """Return the path of each packet by its size (bytes)."""
        saved, path, dealt = self._credit, self._path, []
        credit = saved[path]
        for size in sizes:
            while credit <= 0:
                saved[path] = credit
                path, quantum = next(self._turns)
                credit = saved[path] + quantum
            credit -= size
            dealt.append(path)
        saved[path] = credit
        self._path = path
        return dealt


class _Entry(NamedTuple):
    """A usable path of a class; those of equal standing are one tier, unless the class wants one link at a time."""

    standing: tuple[int, ...]
    #: Among equals; the last is the number of the path.
    order: tuple[int, ...]
    path: Path
    weight: float


def _groups(
    policy: Policy, one: TrafficClass, paths: Mapping[int, Path], avoided: Collection[Path]
) -> list[list[tuple[Path, float]]]:
    """Return the usable paths of a class and their effective weights, tier by tier, the best first."""
    usable = [
        _entry(one, spec, path, place)
        for spec in policy.paths
        if spec.number not in one.excluded
        and (path := paths.get(spec.number)) is not None
        and (place := rank(path)) < UNUSABLE
    ]
    usable = [each for each in usable if each.path not in avoided] or usable
    usable.sort(key=itemgetter(0, 1))
    found: dict[tuple[tuple[int, ...], int], list[tuple[Path, float]]] = {}
    for standing, _order, path, weight in usable:
        found.setdefault((standing, path.link if one.scheduling == "failover" else -1), []).append((path, weight))
    return list(found.values())


def _entry(one: TrafficClass, spec: PathSpec, path: Path, place: int) -> _Entry:
    """Say how good a path of this rank is for a class."""
    fails = 0 if path.health is None else path.health.fails
    preferred = 0 if spec.number in one.preferred else 1
    # Being preferred counts more than the rank of a good path, and less than that of another.
    standing = (0, preferred, place) if place <= GOOD else (1, place, preferred)
    priority = () if one.scheduling == "balanced" else (spec.priority,)
    order = (fails, -spec.weight) if one.scheduling == "failover" else ()
    return _Entry((*standing, *priority), (*order, spec.number), path, spec.weight / (1 + fails))
