# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of a dataplane name, and whether they make sense together and with the paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpquic.config import reach
from mpquic.config.dataplane import MAX_CLASSES, MAX_CLASSIFIERS, Dataplane, DataplaneClass
from mpquic.config.drafts import Item
from mpquic.config.errors import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpquic.config.dataplane import Classifier, Scheduling
    from mpquic.config.drafts import Draft, Place

#: What a class is called that no file names.
_DEFAULT = "default"

#: Names of paths as they are spelled, each with the number of its WAN.
Links = dict[str, int]


def finish(draft: Draft, scheduling: Scheduling, links: Links | None, place: Place) -> Dataplane | None:
    """Return the dataplane that a draft means, None when something is missing or wrong (which is reported).

    A class without a policy has ``scheduling``. ``links`` is None while not all names of paths are known. ``place``
    is where one would say what no file does.
    """
    classes = draft.classes
    default, said = draft.default or (_DEFAULT, None)
    if said is None and default not in classes:
        classes = {default: Item(place / f"classes.{default}.", model=DataplaneClass()), **classes}
    elif said is not None and default not in classes:
        said.error(f"found {default}, expected one of {listed(classes) or 'classes, where there is none'}")
    _numbers(classes, draft.classifiers, place)
    _uses(default, classes, draft.classifiers)
    made = {name: _class(item, scheduling, links) for name, item in classes.items()}
    rules = [item.model for item in draft.classifiers if item.model is not None]
    whole = {name: found for name, found in made.items() if found is not None}
    if default not in whole or len(whole) < len(made) or len(rules) < len(draft.classifiers):
        return None
    if len(rules) <= MAX_CLASSIFIERS:
        for index, why in reach.never(rules):
            draft.classifiers[index].place.warn(f"never matches: {why}")
    return Dataplane(default, whole, tuple(rules))


def _numbers(classes: Mapping[str, object], rules: list[Item[Classifier]], place: Place) -> None:
    for key, found, most in (("classes", len(classes), MAX_CLASSES), ("classifiers", len(rules), MAX_CLASSIFIERS)):
        if found > most:
            (place / key).error(f"found {found}, expected at most {most}")


def _uses(default: str, classes: Mapping[str, Item[DataplaneClass]], rules: list[Item[Classifier]]) -> None:
    """Report classifiers of a class that there is not, and classes that get no packet."""
    used = {default}
    for rule in rules:
        wanted = rule.valid.get("class_")
        if wanted is not None:
            used.add(wanted)
            if wanted not in classes:
                (rule.place / "class").error(f"found {wanted}, expected one of {listed(classes)}")
    for name, item in classes.items():
        if name not in used:
            item.place.warn("not used: it is not the default_class, and no classifier names it")


def _class(item: Item[DataplaneClass], scheduling: Scheduling, links: Links | None) -> DataplaneClass | None:
    """Return a class with a policy and with names of paths as they are spelled, None when it has faults."""
    if links is None:
        return item.model
    preferred, excluded = (_paths(item, key, links) for key in ("preferred_paths", "excluded_paths"))
    if preferred is None or excluded is None or item.model is None:
        return None
    found = item.model
    left = [name for name in links if name not in excluded]
    if not left:
        (item.place / "excluded_paths").error("found every path there is, expected one that is left")
        return None
    for name in preferred:
        if name in excluded:
            (item.place / "preferred_paths").warn(f"found {name}, which excluded_paths has too: it is not used")
    wans = len({links[name] for name in left})
    if found.duplicate and wans < 2:
        (item.place / "duplicate").error(f"found true with {wans} WAN for it, expected two at least: one for each copy")
        return None
    if found.duplicate and found.spray:
        (item.place / "spray").error("found true beside duplicate, expected one of the two: each packet has one path")
        return None
    if found.copies > wans:
        (item.place / "duplicate_copies").warn(f"found {found.copies} with {wans} WANs for it, so there are {wans}")
    found = found.model_copy(
        update={
            "scheduler_policy": found.scheduler_policy or scheduling,
            "preferred_paths": tuple(name for name in preferred if name not in excluded),
            "excluded_paths": excluded,
        }
    )
    if found.spray and found.scheduler_policy == "failover":
        (item.place / "spray").warn("not used: the policy is failover, by which all packets take one path")
    return found


def _paths(item: Item[DataplaneClass], key: str, links: Links) -> tuple[str, ...] | None:
    """Return the paths that a class names, once each, or None when there is not one of the name or the key is wrong."""
    spelled = {name.lower(): name for name in links}
    given = item.valid.get(key)
    if given is None:
        return () if item.model is not None else None
    known = True
    for index, name in enumerate(given):
        if name.lower() not in spelled:
            known = False
            (item.place / f"{key}[{index}]").error(f"found {name}, expected one of {listed(links)}")
    return tuple(dict.fromkeys(spelled[name.lower()] for name in given)) if known else None
