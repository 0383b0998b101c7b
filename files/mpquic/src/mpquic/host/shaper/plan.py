# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interface should have at its root, and the steps from what it has. Pure: no I/O.

At no moment does a packet wait for a class that does not come: what has no class of its own yet passes by the default
class, or unshaped where there is none. So a class is made before its queue, and what is stale goes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mpquic.host.routing import Problem
from mpquic.host.shaper import sizes, text
from mpquic.host.shaper.state import BFIFO, FQ_CODEL, Tree, classid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mpquic.host.shaper.document import Link
    from mpquic.host.shaper.netlink import TcKernel
    from mpquic.host.shaper.state import HtbClass, Interface, Queue, TcState


@dataclass(frozen=True, slots=True)
class Step:
    """One change: `text` says it to the operator, `problem` why it is needed (None: another step's problem says it)."""

    text: str
    problem: Problem | None
    do: Callable[[TcKernel], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where links go: an interface, or None with the problem that hides it. `name` is that of `on` or the interface."""

    name: str
    interface: Interface | None
    links: tuple[Link, ...]
    problems: tuple[Problem, ...] = ()


def places(links: Sequence[Link], state: TcState) -> list[Place]:
    """Return the places of all links, and the interfaces with a tree of ours that no link wants any more."""
    wanted: dict[str, list[Link]] = {}
    missing: list[Place] = []
    for link in links:
        name, problem = _resolve(link, state)
        if problem:
            missing.append(Place(name, None, (link,), (problem,)))
        else:
            wanted.setdefault(name, []).append(link)
    found = [_place(state.interfaces[name], here) for name, here in wanted.items()]
    stale = [
        Place(name, interface, ())
        for name, interface in state.interfaces.items()
        if interface.tree is not None and name not in wanted
    ]
    return [*found, *missing, *stale]


def _resolve(link: Link, state: TcState) -> tuple[str, Problem | None]:
    if link.on.interface is not None:
        name = link.on.interface
        if name not in state.interfaces:
            return name, Problem("interface_missing", f"interface {name} of link {link.name} does not exist")
        return name, None
    address = str(link.on.address)
    if address not in state.addresses:
        return address, Problem("address_missing", f"no interface has {address}, where link {link.name} should be")
    return state.addresses[address], None


def _place(interface: Interface, links: list[Link]) -> Place:
    problems = []
    if interface.foreign is not None:
        found = f"{interface.name} has {interface.foreign} at its root, which is not ours, so nothing is shaped there"
        hint = f"to have it shaped, take that away with 'tc qdisc del dev {interface.name} root'"
        problems.append(Problem("foreign_qdisc", f"{found}; {hint}"))
    names = [link.name for link in links if link.default]
    if len(names) > 1:
        found = f"{' and '.join(names)} are both default on {interface.name}"
        problems.append(Problem("two_defaults", f"{found}, so {names[0]} takes what is not classified"))
    return Place(interface.name, interface, tuple(links), tuple(problems))


def tree(links: Sequence[Link], kind: str) -> Tree | None:
    """Return what these links make of an interface, with queues of this kind; None when there is no link."""
    if not links:
        return None
    wanted = Tree(next((link.rest for link in links if link.default), 0))
    for link in links:
        wanted.classes[link.inner] = sizes.inner(link.rate)
        for entry in link.classes:
            wanted.classes[entry.minor] = sizes.leaf(link.rate, entry.share, entry.priority, link.inner)
            wanted.queues[entry.minor] = sizes.queue(kind, link.rate, entry.share)
    return wanted


def queue_kind(place: Place, state: TcState) -> str:
    """Return the kind of queue for a place; who may not ask the kernel takes the one that is there."""
    if state.fq_codel is None:
        found = place.interface.tree.queues.values() if place.interface and place.interface.tree else ()
        return BFIFO if any(queue.kind == BFIFO for queue in found) else FQ_CODEL
    return FQ_CODEL if state.fq_codel else BFIFO


def steps(place: Place, wanted: Tree | None) -> list[Step]:
    """Return what brings the interface of a place to the tree that is wanted there."""
    interface = place.interface
    if interface is None or interface.foreign is not None:
        return []
    return list(_Planner(interface, place.links).steps(interface.tree, wanted))


class _Planner:
    """Makes the steps of one interface."""

    def __init__(self, interface: Interface, links: Sequence[Link]) -> None:
        self._index, self._interface = interface.index, interface.name
        self._names = text.names(links)

    def steps(self, found: Tree | None, wanted: Tree | None) -> Iterator[Step]:
        if wanted is None:
            if found is not None:
                yield self._remove("stale_shaper", f"{self._interface} is shaped, but no link wants it")
            return
        if found is not None and (reason := _incompatible(found, wanted)):
            yield self._remove("shaper_wrong", f"{self._interface}: {reason}")
            yield from self._build(wanted, None)
        elif found is not None:
            yield from self._converge(found, wanted)
        else:
            yield from self._build(wanted, Problem("shaper_missing", f"{self._interface} is not shaped"))

    def _remove(self, code: str, why: str) -> Step:
        index = self._index
        return Step(
            f"{self._interface}: remove the shaper", Problem(code, why), lambda kernel: kernel.delete_root(index)
        )

    def _build(self, wanted: Tree, problem: Problem | None) -> Iterator[Step]:
        index, default = self._index, wanted.default
        what = f", unclassified to {text.named(default, self._names)}" if default else ""
        yield Step(f"{self._interface}: shape{what}", problem, lambda kernel: kernel.add_root(index, default))
        for minor, need in wanted.classes.items():
            yield self._class(minor, f"{self._named(minor)}: add with {text.described(need)}", need, None)
            if minor in wanted.queues:
                yield self._queue(minor, wanted.queues[minor], None)

    def _converge(self, found: Tree, wanted: Tree) -> Iterator[Step]:
        for minor, need in wanted.classes.items():
            have, name = found.classes.get(minor), self._named(minor)
            if have is None:
                problem = Problem("class_missing", f"{name} is missing")
                yield self._class(minor, f"{name}: add with {text.described(need)}", need, problem)
            elif have != need:
                problem = Problem("class_wrong", f"{name} has {text.described(have)}, expected {text.described(need)}")
                yield self._class(minor, f"{name}: {text.described(have)} -> {text.described(need)}", need, problem)
            if minor in wanted.queues:
                yield from self._converge_queue(minor, found.queues.get(minor), wanted.queues[minor], new=have is None)
        index = self._index
        # An inner class has a lower number than those below it.
        for minor in sorted(found.classes.keys() - wanted.classes.keys(), reverse=True):
            name = self._named(minor)
            problem = Problem("stale_class", f"{name} is not needed any more")
            yield Step(f"{name}: remove", problem, partial(_delete_class, index, minor))

    def _converge_queue(self, minor: int, have: Queue | None, need: Queue, *, new: bool) -> Iterator[Step]:
        if have == need:
            return
        name, index = self._named(minor), self._index
        was = text.queued(have) if have else "the kernel's default queue"
        problem = None if new else Problem("queue_wrong", f"{name} has {was}, expected {text.queued(need)}")
        if have is not None and have.kind != need.kind:
            yield Step(f"{name}: remove {was}", problem, lambda kernel: kernel.delete_queue(index, minor))
            problem = None
        yield self._queue(minor, need, problem)

    def _class(self, minor: int, what: str, need: HtbClass, problem: Problem | None) -> Step:
        index = self._index
        return Step(what, problem, lambda kernel: kernel.put_class(index, minor, need))

    def _queue(self, minor: int, need: Queue, problem: Problem | None) -> Step:
        index, what = self._index, f"{self._named(minor)}: queue {text.queued(need)}"
        return Step(what, problem, lambda kernel: kernel.put_queue(index, minor, need))

    def _named(self, minor: int) -> str:
        return f"{self._interface}: {text.named(minor, self._names)}"


def _delete_class(index: int, minor: int, kernel: TcKernel) -> None:
    kernel.delete_class(index, minor)


def _incompatible(found: Tree, wanted: Tree) -> str | None:
    """Tell why a tree cannot become another one in place: HTB cannot change its default, nor a class its parent."""
    if found.default != wanted.default:
        return f"unclassified goes to {classid(found.default)}, expected {classid(wanted.default)}"
    for minor, need in wanted.classes.items():
        have = found.classes.get(minor)
        if have is not None and have.parent != need.parent:
            return f"{classid(minor)} is below {classid(have.parent)}, expected {classid(need.parent)}"
    return None


def again(place: Place, state: TcState) -> Place:
    """Return a place as it is now; its interface may be gone."""
    if place.interface is None:
        return place
    name = place.interface.name
    if name in state.interfaces:
        return _place(state.interfaces[name], list(place.links))
    return Place(name, None, place.links, (Problem("interface_missing", f"interface {name} is gone"),))
