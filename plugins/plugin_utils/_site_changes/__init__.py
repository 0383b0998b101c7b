# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What a run would change on a host, in the operator's terms: the plan beside what the host has.

Pure: plain data in, plain data out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes import files as beside
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes import parts
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes.change import (
    ADDED,
    OTHER,
    RATE,
    REMOVED,
    UNREADABLE,
    WAN,
    change,
    step,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_changes.change import Change, Config

_PATHS = "multipath_paths"
#: Of a path; a path without a name of its own is named after its WAN.
_PLACE = {"bind_ip", "name"}
#: Keys of peers are not in the plan, which knows only who the peers are.
_KEYS = {"tls_server_pin", "pins"}
_PEERS = {"peers", "legacy_peers"}
#: What the inventory calls it.
_WORDS = {"remote_port": "port", "remote_addr": "address of the VPS", "multipath_policy": "policy"}


def site_changes(
    part: Mapping[str, Any],
    present: Mapping[str, Config],
    files: Mapping[str, Any] | None = None,
    native: str = "auto",
) -> list[Change]:
    """Return the changes of one host, each with ``tunnel``, ``kind`` and ``text``, tunnel by tunnel.

    Args:
        part: The host's part of a site plan.
        present: By id, the instance files that the host has.
        files: The contents of ``classes``, ``shaper`` and ``wans`` that it has; those left out are not compared.
        native: The host's ``mpquic_native``, which the plan does not know.

    """
    planned = {str(instance["id"]): _with_native(instance["config"], native) for instance in part["instances"]}
    names = sorted({*planned, *present}, key=_natural)
    found = [one for name in names for one in _tunnel(name, present.get(name), planned.get(name))]
    return [*found, *beside.changes(part, files or {})]


def _with_native(config: Config, native: str) -> Config:
    return {**config, "native": native} if native == "off" else config


def _change(name: str, kind: str, said: str) -> Change:
    return change(name, kind, f"tunnel {name}", said)


def _natural(name: str) -> tuple[int, str]:
    """Order 2 before 10, and numbers before names."""
    return (int(name) if name.isdigit() else 1 << 32, name)


def _tunnel(name: str, old: Config | None, new: Config | None) -> Iterator[Change]:
    if old is None:
        yield _change(name, ADDED, f"new, {_place(new or {})}")
    elif new is None:
        yield _change(name, REMOVED, f"removed, it was {_place(old)}")
    else:
        try:
            found = [*_differences(name, old, new)]
        except (AttributeError, KeyError, TypeError, ValueError):
            found = [_change(name, OTHER, UNREADABLE)]
        yield from found


def _place(config: Config) -> str:
    lan = config.get("lan_routing") or {}
    behind = [lan["interface"]] if "interface" in lan else lan.get("cidrs", [])
    led = f" for {', '.join(behind)}" if behind else ""
    return f"on {', '.join(_wans(config))}{led}"


def _wans(config: Config) -> list[str]:
    if config.get("role") == "server":
        return [f"port {config.get('remote_port')}"]
    return [_wan(end) for end in config.get(_PATHS) or [config]]


def _wan(end: Config) -> str:
    return str(end.get("bind_ip", "?")).removeprefix("if:")


def _differences(name: str, old: Config, new: Config) -> Iterator[Change]:
    for key in dict.fromkeys([*new, *old]):
        before, after = _known(old.get(key)), _known(new.get(key))
        if before == after or key in _KEYS:
            continue
        if key == "bind_ip" and "server" not in {old.get("role"), new.get("role")}:
            # Of several paths it is the first one's, which is told below.
            if _PATHS not in new:
                yield _change(name, WAN, f"{_wan(old)} -> {_wan(new)}")
        elif key == _PATHS and before and after:
            yield from _path_differences(name, before, after)
        elif key in _PEERS:
            yield from (_change(name, kind, said) for kind, said in parts.peers(before, after))
        elif key == "lan_routing":
            yield from (_change(name, OTHER, said) for said in parts.lan(before, after))
        elif key == "dataplane":
            yield from (_change(name, OTHER, said) for said in parts.dataplane(before, after))
        elif key == "also" and after is None:
            yield _change(name, OTHER, f"serves no longer what it had before: {text(before)}")
        else:
            yield _change(name, RATE if key in parts.RATES else OTHER, step(_WORDS.get(key, key), before, after))


def _known(value: Any) -> Any:
    """Return a value without the keys of peers."""
    if not isinstance(value, list):
        return value
    return [{k: v for k, v in item.items() if k not in _KEYS} if isinstance(item, dict) else item for item in value]


def _path_differences(name: str, old: Sequence[Config], new: Sequence[Config]) -> Iterator[Change]:
    before, after = ({str(path["name"]): path for path in paths} for paths in (old, new))
    gone, come = ([n for n in one if n not in other] for one, other in ((before, after), (after, before)))
    pairs = [(n, n) for n in before if n in after] + list(zip(gone, come, strict=False))
    for was, is_ in pairs:
        if _wan(before[was]) != _wan(after[is_]):
            yield _change(name, WAN, f"path {was}: {_wan(before[was])} -> {_wan(after[is_])}")
        for key in dict.fromkeys([*after[is_], *before[was]]):
            values = before[was].get(key), after[is_].get(key)
            if key not in _PLACE and values[0] != values[1]:
                kind = RATE if key in parts.RATES else OTHER
                yield _change(name, kind, f"path {is_}: {step(key, *values)}")
    for path in gone[len(come) :]:
        yield _change(name, OTHER, f"path {path} removed")
    for path in come[len(gone) :]:
        yield _change(name, OTHER, f"path {path} new, on {_wan(after[path])}")
