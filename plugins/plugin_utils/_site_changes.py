# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What a run would change on a host, in the operator's terms: the plan beside what the host has.

Pure: plain data in, plain data out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Config = Mapping[str, Any]

#: Kinds of changes. A remap is `WAN` alone, with the rates that follow from it.
ADDED, REMOVED, WAN, RATE, OTHER = "added", "removed", "wan", "rate", "other"

_RATES = {"rate", "rate_down", "budget_rate", "budget_packets"}
_PATHS = "multipath_paths"
#: Of a path; a path without a name of its own is named after its WAN.
_PLACE = {"bind_ip", "name"}
#: Keys of peers are not in the plan, which knows only who the peers are.
_KEYS = {"tls_server_pin", "pins"}


def site_changes(
    part: Mapping[str, Any], present: Mapping[str, Config], files: Mapping[str, Any] | None = None
) -> list[dict[str, str]]:
    """Return the changes of one host, each with ``tunnel``, ``kind`` and ``text``, tunnel by tunnel.

    Args:
        part: The host's part of a site plan.
        present: By id, the instance files that the host has.
        files: The contents of ``classes`` and ``shaper`` that it has; None leaves them out of the comparison.

    """
    planned = {str(instance["id"]): instance["config"] for instance in part["instances"]}
    names = sorted({*planned, *present}, key=_natural)
    found = [change for name in names for change in _tunnel(name, present.get(name), planned.get(name))]
    if files is not None:
        for name, kind in (("classes", OTHER), ("shaper", RATE)):
            if (files.get(name) or {}) != (part.get(name) or {}):
                found.append(_change(name, kind, "changes"))
    return found


def _change(name: str, kind: str, text: str) -> dict[str, str]:
    where = name if name in {"classes", "shaper"} else f"tunnel {name}"
    return {"tunnel": name, "kind": kind, "text": f"{where}: {text}"}


def _natural(name: str) -> tuple[int, str]:
    """Order 2 before 10, and numbers before names."""
    return (int(name) if name.isdigit() else 1 << 32, name)


def _tunnel(name: str, old: Config | None, new: Config | None) -> Iterator[dict[str, str]]:
    if old is None:
        yield _change(name, ADDED, f"new, {_place(new or {})}")
    elif new is None:
        yield _change(name, REMOVED, f"removed, it was {_place(old)}")
    else:
        yield from _differences(name, old, new)


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


def _differences(name: str, old: Config, new: Config) -> Iterator[dict[str, str]]:
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
        elif key == "peers" and _without(before, _RATES) == _without(after, _RATES):
            yield _change(name, RATE, "other limits for its clients")
        else:
            yield _change(name, RATE if key in _RATES else OTHER, f"{key} {_text(before)} -> {_text(after)}")


def _known(value: Any) -> Any:
    """Return a value without the keys of peers."""
    return _without(value, _KEYS) if isinstance(value, list) else value


def _without(value: Any, keys: set[str]) -> Any:
    if not isinstance(value, list):
        return value
    return [{k: v for k, v in item.items() if k not in keys} if isinstance(item, dict) else item for item in value]


def _path_differences(name: str, old: Sequence[Config], new: Sequence[Config]) -> Iterator[dict[str, str]]:
    before, after = ({str(path["name"]): path for path in paths} for paths in (old, new))
    gone, come = ([n for n in one if n not in other] for one, other in ((before, after), (after, before)))
    pairs = [(n, n) for n in before if n in after] + list(zip(gone, come, strict=False))
    for was, is_ in pairs:
        if _wan(before[was]) != _wan(after[is_]):
            yield _change(name, WAN, f"path {was}: {_wan(before[was])} -> {_wan(after[is_])}")
        for key in dict.fromkeys([*after[is_], *before[was]]):
            values = before[was].get(key), after[is_].get(key)
            if key not in _PLACE and values[0] != values[1]:
                kind = RATE if key in _RATES else OTHER
                yield _change(name, kind, f"path {is_}: {key} {_text(values[0])} -> {_text(values[1])}")
    for path in gone[len(come) :]:
        yield _change(name, OTHER, f"path {path} removed")
    for path in come[len(gone) :]:
        yield _change(name, OTHER, f"path {path} new, on {_wan(after[path])}")


def _text(value: Any) -> str:
    if value is None:
        return "(default)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
