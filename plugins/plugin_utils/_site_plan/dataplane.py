# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Reads the classes of a multipath tunnel's traffic, and by what packets belong to them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import keys, matches, shadows, values
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.class_model import Lan, Match
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import (
    Classifier,
    Dataplane,
    DataplaneClass,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import one_line

if TYPE_CHECKING:
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.multipath_model import MultipathTunnel
    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan.problems import Problems

POLICIES = ("priority", "failover", "balanced")
#: Protocols that the daemon knows by name.
PROTOCOLS = ("icmp", "tcp", "udp", "icmpv6")
KEYS = ("default_class", "classes", "classifiers")
CLASS_KEYS = ("scheduler_policy", "preferred_paths", "excluded_paths", "duplicate", "duplicate_copies", "spray")
#: The keys of a classifier by the field of a match.
HEADERS = {
    "protocols": "protocol",
    "src": "src_cidrs",
    "dst": "dst_cidrs",
    "sports": "src_ports",
    "dports": "dst_ports",
    "dscp": "dscp",
}
CLASSIFIER_KEYS = ("name", "class", *HEADERS.values())
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COPIES = range(2, 4)
_COPIES_DEFAULT = _COPIES[0]
# What one byte of the policy that the client tells its VPS can count, and what the daemon takes.
_MOST_CLASSES = 16
_MOST_CLASSIFIERS = 256
# Connections times classes: each change of a path is one for each class.
_MOST_PAIRS = 1024


def read(value: object, where: str, paths: Sequence[str] | None, problems: Problems) -> Dataplane | None:
    """Read the dataplane of a tunnel with these names of paths; None when anything of it is wrong.

    ``paths`` is None when the paths have no names: then nobody can say which of those it names there are.
    """
    if not isinstance(value, Mapping) or not value.get("classes"):
        expected = "a mapping with classes such as {default_class: all, classes: {all: {scheduler_policy: balanced}}}"
        problems.unexpected(where, value, expected)
        return None
    errors_before = len(problems.errors)
    keys.refuse_unknown(value, where, KEYS, problems)
    classes = _classes(value["classes"], f"{where}: classes", paths, problems)
    known = [item.name for item in classes]
    default = None
    if "default_class" in value:
        default = _of_these(value["default_class"], f"{where}: default_class", known, problems)
    elif len(known) == 1:
        default = known[0]
    else:
        problems.missing(f"{where}: default_class", f"the class of what no classifier takes ({', '.join(known)})")
    classifiers = _classifiers(value.get("classifiers", []), f"{where}: classifiers", known, problems)
    if len(problems.errors) != errors_before:
        return None
    return Dataplane(default, classes, classifiers)


def compare(tunnel: MultipathTunnel, problems: Problems) -> None:
    """Compare the classifiers with each other and the LAN, and the classes with the paths."""
    if tunnel.dataplane is None:
        return
    inside = (*tunnel.lan_cidrs, tunnel.tun_cidr, *([tunnel.tun_cidr6] if tunnel.tun_cidr6 else []))
    lans = [Lan("lan_cidrs", tunnel.lan, inside, own=True)]
    shadows.of_matches([item.match for item in tunnel.dataplane.classifiers], lans, problems)
    connections = sum(path.connections for path in tunnel.paths)
    if connections * len(tunnel.dataplane.classes) > _MOST_PAIRS:
        problems.errors.append(
            f"{tunnel.where}: dataplane: classes: found {len(tunnel.dataplane.classes)} for {connections} connections,"
            f" expected a product of at most {_MOST_PAIRS}"
        )
    taken = {tunnel.dataplane.default, *(item.target for item in tunnel.dataplane.classifiers)}
    for item in tunnel.dataplane.classes:
        if item.name not in taken:
            problems.warn(item.where, "no classifier has this class")
        if item.duplicate:
            _copies_have_wans(item, tunnel, problems)
        elif item.copies:
            problems.warn(f"{item.where}: duplicate_copies", "not used without duplicate: true")


def _copies_have_wans(item: DataplaneClass, tunnel: MultipathTunnel, problems: Problems) -> None:
    wans = {path.wan for path in tunnel.paths if path.name not in item.excluded}
    copies = item.copies or _COPIES_DEFAULT
    where = f"{item.where}: duplicate"
    if len(wans) < _COPIES_DEFAULT:
        problems.unexpected(
            where, item.duplicate, f"at least two WANs for it; the paths that are not excluded leave by {len(wans)}"
        )
    elif len(wans) < copies:
        problems.warn(
            where, f"the paths that are not excluded leave by {len(wans)} WANs, so there are no {copies} copies"
        )


def _classes(value: object, where: str, paths: Sequence[str] | None, problems: Problems) -> tuple[DataplaneClass, ...]:
    """Read all classes, those with faults as well: what names a class is checked against them."""
    if not isinstance(value, Mapping) or not 1 <= len(value) <= _MOST_CLASSES:
        problems.unexpected(where, value, f"a mapping of 1 to {_MOST_CLASSES} classes such as {{bulk: {{}}}}")
        return ()
    first: dict[str, str] = {}
    found = []
    for name, entry in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            problems.unexpected(where, name, "a name of 1 to 64 letters, digits, . _ -")
            continue
        other = first.setdefault(name.lower(), name)
        if other != name:
            problems.clash(where, name, f"already used by {other}, which differs in case only")
        found.append(_class(str(name), {} if entry is None else entry, f"{where}.{name}", paths, problems))
    return tuple(found)


def _class(name: str, entry: object, where: str, paths: Sequence[str] | None, problems: Problems) -> DataplaneClass:
    fields: dict[str, Any] = {"policy": None, "preferred": (), "excluded": (), **dict.fromkeys(("duplicate", "spray"))}
    fields["copies"] = None
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, f"a mapping with some of the keys {', '.join(CLASS_KEYS)}")
        return DataplaneClass(where, name, **fields)
    keys.refuse_unknown(entry, where, CLASS_KEYS, problems)
    if "scheduler_policy" in entry:
        fields["policy"] = values.choice(entry["scheduler_policy"], f"{where}: scheduler_policy", POLICIES, problems)
    for key, field in (("preferred_paths", "preferred"), ("excluded_paths", "excluded")):
        if key in entry:
            fields[field] = _paths(entry[key], f"{where}: {key}", paths, problems)
    for key in ("duplicate", "spray"):
        if key in entry:
            fields[key] = values.boolean(entry[key], f"{where}: {key}", problems)
    if "duplicate_copies" in entry:
        fields["copies"] = values.integer(entry["duplicate_copies"], f"{where}: duplicate_copies", _COPIES, problems)
    if fields["spray"] and fields["duplicate"]:
        problems.unexpected(
            f"{where}: spray", fields["spray"], "false beside duplicate: true, since what is sprayed is sent once"
        )
    _some_are_left(fields["preferred"], fields["excluded"], paths, f"{where}: excluded_paths", problems)
    return DataplaneClass(where, name, **fields)


def _some_are_left(
    preferred: Sequence[str], excluded: Sequence[str], paths: Sequence[str] | None, where: str, problems: Problems
) -> None:
    both = [path for path in preferred if path in excluded]
    if both:
        problems.unexpected(where, both[0], "none of its preferred_paths")
    if paths and set(paths) <= set(excluded):
        problems.errors.append(f"{where}: found all paths, expected at least one that is left")


def _paths(value: object, where: str, paths: Sequence[str] | None, problems: Problems) -> tuple[str, ...]:
    known = "the name of a path" if paths is None else f"one of its paths ({', '.join(paths)})"
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.unexpected(where, value, f"a list of names, each {known}")
        return ()
    found = []
    for index, name in enumerate(value):
        if not isinstance(name, str) or (paths is not None and name not in paths):
            problems.unexpected(f"{where}[{index}]", name, known)
        elif name in found:
            problems.clash(f"{where}[{index}]", name, "already in the list")
        else:
            found.append(str(name))
    return tuple(found)


def _classifiers(value: object, where: str, classes: Sequence[str], problems: Problems) -> tuple[Classifier, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > _MOST_CLASSIFIERS:
        expected = f"a list of at most {_MOST_CLASSIFIERS} classifiers such as {{class: calls, dst_ports: [5060]}}"
        problems.unexpected(where, value, expected)
        return ()
    found: list[Classifier] = []
    for index, entry in enumerate(value):
        item = _classifier(entry, f"{where}[{index}]", f"classifiers[{index}]", classes, problems)
        other = next((other for other in found if item and item.name and other.name == item.name), None)
        if item and other:
            problems.clash(f"{item.where}: name", item.name, f"already used by {other.match.place}")
        elif item:
            found.append(item)
    return tuple(found)


def _classifier(entry: object, where: str, place: str, classes: Sequence[str], problems: Problems) -> Classifier | None:
    if not isinstance(entry, Mapping):
        problems.unexpected(where, entry, f"a mapping with some of the keys {', '.join(CLASSIFIER_KEYS)}")
        return None
    errors_before = len(problems.errors)
    keys.refuse_unknown(entry, where, CLASSIFIER_KEYS, problems)
    name = entry.get("name")
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        problems.unexpected(f"{where}: name", name, "1 to 64 letters, digits, . _ -")
    elif name is not None:
        where, place = f"{where} ({one_line(name)})", f"{place} ({one_line(name)})"
    target = None
    if "class" in entry:
        target = _of_these(entry["class"], f"{where}: class", classes, problems)
    else:
        problems.missing(f"{where}: class", f"one of {', '.join(classes)}")
    match = Match(where, place, **matches.headers(entry, where, HEADERS, problems))
    if len(problems.errors) == errors_before:
        matches.check(match, HEADERS, problems)
    if target is None or len(problems.errors) != errors_before:
        return None
    return Classifier(where, None if name is None else str(name), target, match)


def _of_these(value: object, where: str, classes: Sequence[str], problems: Problems) -> str | None:
    """Read the name of a class, whose case does not matter; return it as its class has it."""
    found = next((name for name in classes if isinstance(value, str) and name.lower() == value.lower()), None)
    if found is None:
        problems.unexpected(where, value, f"one of its classes ({', '.join(classes)})")
    return found
