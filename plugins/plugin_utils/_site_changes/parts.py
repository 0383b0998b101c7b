# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Changes within the parts of an instance: its LAN, its peers, its classes of traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._match_text import match_text
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes.change import OTHER, RATE, step, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes.change import Config

#: Limits of a tunnel, and of the peers of a server.
RATES = {"rate", "rate_down", "budget_rate", "budget_packets"}
#: What the inventory calls the keys of lan_routing.
_LAN = {"interface": "lan", "cidrs": "lan_cidrs", "priority": "rule priority"}
_MATCH_LESS = {"class", "name"}


def lan(old: Config | None, new: Config | None) -> Iterator[str]:
    """Yield what changes about the LAN that is led into a tunnel."""
    before, after = old or {}, new or {}
    for key in dict.fromkeys([*after, *before]):
        was, is_ = before.get(key), after.get(key)
        if was == is_:
            continue
        if key == "standby":
            yield "stands by until it takes its LAN over" if is_ else "takes its LAN over"
        elif key == "cidrs":
            yield step(_LAN[key], was or [], is_ or [])
        elif key == "mark":
            yield step(key, *(value if value is None else hex(value) for value in (was, is_)))
        else:
            yield step(_LAN.get(key, key), was, is_)


def peers(old: Sequence[Config] | None, new: Sequence[Config] | None) -> Iterator[tuple[str, str]]:
    """Yield the kind and text of what changes about the clients of a server; their order says nothing."""
    before, after = ({str(peer["name"]): peer for peer in found or ()} for found in (old, new))
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            yield OTHER, f"client {name} removed"
        elif name not in before:
            yield OTHER, f"client {name} new, with {', '.join(map(text, after[name].get('allowed', [])))}"
        else:
            for key in dict.fromkeys([*after[name], *before[name]]):
                was, is_ = before[name].get(key), after[name].get(key)
                if was != is_:
                    yield RATE if key in RATES else OTHER, f"client {name}: {step(key, was, is_)}"


def dataplane(old: Config | None, new: Config | None) -> Iterator[str]:
    """Yield what changes about the classes of a multipath tunnel."""
    before, after = old or {}, new or {}
    if before.get("default_class") != after.get("default_class"):
        yield step("default_class", before.get("default_class"), after.get("default_class"))
    classes = before.get("classes", {}), after.get("classes", {})
    for name in dict.fromkeys([*classes[0], *classes[1]]):
        if name not in classes[1]:
            yield f"class {name} removed"
        elif name not in classes[0]:
            said = ", ".join(f"{key} {text(value)}" for key, value in classes[1][name].items())
            yield f"class {name} new{f', {said}' if said else ''}"
        else:
            was, is_ = classes[0][name], classes[1][name]
            keys = [key for key in dict.fromkeys([*is_, *was]) if was.get(key) != is_.get(key)]
            yield from (f"class {name}: {step(key, was.get(key), is_.get(key))}" for key in keys)
    yield from _classifiers(before.get("classifiers", []), after.get("classifiers", []))


def _classifiers(old: Sequence[Config], new: Sequence[Config]) -> Iterator[str]:
    was, is_ = [_classifier(one) for one in old], [_classifier(one) for one in new]
    yield from (f"no longer {one}" for one in was if one not in is_)
    yield from (f"now {one}" for one in is_ if one not in was)
    if was != is_ and sorted(was) == sorted(is_):
        yield "its classifiers are tried in another order"


def _classifier(one: Config) -> str:
    taken = match_text({key: value for key, value in one.items() if key not in _MATCH_LESS})
    return f"{taken} in class {one.get('class')}"
