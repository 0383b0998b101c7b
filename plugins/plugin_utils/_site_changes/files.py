# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Changes of the files beside the instances: classes, shaper, metered WANs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._match_text import match_text
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes.change import (
    OTHER,
    RATE,
    UNREADABLE,
    WAN,
    change,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes.change import Change, Config

#: Of a class link; the rest of it is in its instances as well.
_OF_LINK, _OF_CLASS = ("lans", "default"), ("nat", "matches")
_UNITS = (("gbit", 10**9), ("mbit", 10**6), ("kbit", 10**3))
_VOLUMES = (("T", 10**12), ("G", 10**9), ("M", 10**6))


def changes(part: Mapping[str, Any], files: Mapping[str, Any]) -> Iterator[Change]:
    """Yield the changes of a host's files; ``files`` has what the host has, by name."""
    for name, compare in {"classes": _classes, "shaper": _shaper, "wans": _wans}.items():
        if name in files and (files[name] or {}) != (part.get(name) or {}):
            try:
                found = [*compare(files[name] or {}, part.get(name) or {})]
            except (AttributeError, KeyError, TypeError, ValueError):
                found = [change(name, OTHER, name, UNREADABLE)]
            yield from found


def _classes(old: Config, new: Config) -> Iterator[Change]:
    before, after = _links(old), _links(new)
    for name in dict.fromkeys([*before, *after]):
        if name not in before or name not in after:
            known, word = (before, "removed") if name in before else (after, "new")
            yield change("classes", OTHER, f"classes of {name}", f"{word}: {', '.join(_names(known[name]))}")
            continue
        for key in _OF_LINK:
            was, is_ = before[name].get(key), after[name].get(key)
            if was != is_:
                told = [[_lan(lan) for lan in lans] if key == "lans" else lans for lans in (was or [], is_ or [])]
                yield change("classes", OTHER, f"classes of {name}", step(key, *told))
        classes = [{one["name"]: one for one in link["classes"]} for link in (before[name], after[name])]
        for one in [known for known in classes[0] if known in classes[1]]:
            for key in _OF_CLASS:
                was, is_ = classes[0][one].get(key), classes[1][one].get(key)
                if was != is_:
                    said = step("takes", _matches(was), _matches(is_)) if key == "matches" else step(key, was, is_)
                    yield change("classes", OTHER, f"class {one}", said)
        if [*classes[0]] != [*classes[1]] and sorted(classes[0]) == sorted(classes[1]):
            yield change("classes", OTHER, f"classes of {name}", f"matched in the order {', '.join(classes[1])}")


def _names(link: Config) -> list[str]:
    return [str(one["name"]) for one in link["classes"]]


def _links(found: Config) -> dict[str, Config]:
    return {str(link["name"]): link for link in found.get("links", [])}


def _lan(lan: Config) -> str:
    return f"{lan['interface']} ({', '.join([*lan.get('cidrs4', []), *lan.get('cidrs6', [])])})"


def _matches(found: Any) -> str:
    return "; or ".join(map(match_text, found)) or "what no other class takes"


def _shaper(old: Config, new: Config) -> Iterator[Change]:
    before, after = _links(old), _links(new)
    for name in dict.fromkeys([*before, *after]):
        was, is_ = before.get(name), after.get(name)
        if was is None and is_ is not None:
            yield change("shaper", RATE, f"shaper of {_place(is_)}", f"new, rate {_rate(is_)}")
        elif was is not None and is_ is None:
            yield change("shaper", RATE, f"shaper of {_place(was)}", f"removed, its rate was {_rate(was)}")
        elif was is not None and is_ is not None:
            yield from _shaped(was, is_)


def _shaped(was: Config, is_: Config) -> Iterator[Change]:
    where = f"shaper of {_place(is_)}"
    if was.get("on") != is_.get("on"):
        yield change("shaper", WAN, f"shaper of {is_['name']}", f"{_place(was)} -> {_place(is_)}")
    if was.get("rate") != is_.get("rate"):
        yield change("shaper", RATE, where, f"rate {_rate(was)} -> {_rate(is_)}")
    before, after = ({one["name"]: one for one in link["classes"]} for link in (was, is_))
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield change("shaper", OTHER, where, f"class {name} removed")
        elif name not in before:
            yield change("shaper", OTHER, where, f"class {name} new, share {after[name]['share']}")
        else:
            for key in ("priority", "share", "minor"):
                values = before[name].get(key), after[name].get(key)
                if values[0] != values[1]:
                    yield change("shaper", OTHER, where, f"class {name}: {step(key, *values)}")


def _place(link: Config) -> str:
    return str(link["on"]).removeprefix("if:")


def _rate(link: Config) -> str:
    return _scaled(link["rate"], _UNITS, "bit")


def _wans(old: Config, new: Config) -> Iterator[Change]:
    before, after = old.get("wans", {}), new.get("wans", {})
    for name in dict.fromkeys([*before, *after]):
        was, is_ = before.get(name), after.get(name)
        if is_ is None:
            yield change("wans", OTHER, f"WAN {name}", "no longer counted")
        else:
            for key in dict.fromkeys([*is_, *(was or {})]):
                values = [(found or {}).get(key) for found in (was, is_)]
                if values[0] != values[1]:
                    told = [v if v is None or key != "quota" else _scaled(v, _VOLUMES, "") for v in values]
                    yield change("wans", OTHER, f"WAN {name}", step(key, *told))


def _scaled(value: int, units: tuple[tuple[str, int], ...], least: str) -> str:
    """Return a whole number in the largest unit in which it is one."""
    return next((f"{value // size}{unit}" for unit, size in units if value and value % size == 0), f"{value}{least}")
