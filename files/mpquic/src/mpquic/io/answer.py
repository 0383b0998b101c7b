# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon says of itself, read by root: the daemon has a user of its own, so nothing of it is taken on trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.io.control import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Reader = Callable[[str, object], object]

#: Characters of one text; bound of a number, either side of 0.
_MAX_TEXT = 500
_MAX_NUMBER = 1 << 64


def read_status(path: Path, instance_id: str) -> dict[str, Any]:
    """Ask the daemon behind ``path`` for the status of ``instance_id``, the name under which the answer is returned.

    Unknown fields are left out, characters that do not print are replaced. Raises OSError when nobody answers in
    time, ValueError when the answer is not a status.
    """
    answer = ask(path, "status")
    if "error" in answer:
        raise ValueError(f"refused: {_text('error', answer['error'])}")
    return {"id": instance_id, **_fields("", answer, _INSTANCE, ("state",))}


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected text")  # noqa: TRY004 - one kind of error for the caller
    return "".join(char if char.isprintable() else "?" for char in value[:_MAX_TEXT])


def _number(where: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX_NUMBER < value < _MAX_NUMBER:
        raise ValueError(f"{where}: expected a number")
    return value


def _count(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_NUMBER:
        raise ValueError(f"{where}: expected a count")
    return value


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where}: expected true or false")  # noqa: TRY004
    return value


def _counts(where: str, value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object")  # noqa: TRY004
    return {_text(where, key): _count(where, count) for key, count in value.items()}


def _list_of_counts(where: str, value: object) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list")  # noqa: TRY004
    return [_count(f"{where}[{at}]", item) for at, item in enumerate(value)]


def _texts(where: str, value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list")  # noqa: TRY004
    return [_text(f"{where}[{at}]", item) for at, item in enumerate(value)]


def _entries(readers: Mapping[str, Reader], optional: tuple[str, ...] = ()) -> Reader:
    """Return what reads a list of objects that have all of these fields but the optional ones."""
    required = tuple(name for name in readers if name not in optional)

    def read(where: str, value: object) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list")  # noqa: TRY004
        return [_fields(f"{where}[{at}]: ", entry, readers, required) for at, entry in enumerate(value)]

    return read


def _or_null(read: Reader) -> Reader:
    return lambda where, value: None if value is None else read(where, value)


def _fields(where: str, found: object, readers: Mapping[str, Reader], required: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{where}expected an object")  # noqa: TRY004
    for name in required:
        if name not in found:
            raise ValueError(f"{where}{name} is missing")
    return {name: read(where + name, found[name]) for name, read in readers.items() if name in found}


def _object(readers: Mapping[str, Reader]) -> Reader:
    """Return what reads an object that has all of these fields."""
    return lambda where, value: _fields(f"{where}: ", value, readers, tuple(readers))


#: Of one path since the daemon started, see mpquic.daemon.figures.
_FIGURES: dict[str, Reader] = {
    "rtt_counts": _list_of_counts,
    "rtt_total_s": _number,
    "acknowledged": _count,
    "judged": _count,
    "queue_packets": _count,
    "queue_bytes": _count,
    "queue_age_s": _number,
    "key_updates": _count,
}
_SHARE: dict[str, Reader] = {
    "path": _text,
    "number": _count,
    "tx_packets": _count,
    "tx_bytes": _count,
    "rx_packets": _count,
    "rx_bytes": _count,
}
_FAULT: Reader = _or_null(_object({"reason": _text, "ago_s": _number}))
#: Of the last seconds, see mpquic.daemon.meter; of a class and of several paths together only the rates.
_RATES: dict[str, Reader] = {"tx_bps": _or_null(_count), "rx_bps": _or_null(_count)}
_RECENT: dict[str, Reader] = {
    **_RATES,
    "loss": _or_null(_number),
    "judged": _count,
    "rtt_ms": _or_null(_number),
    "rtt_best_ms": _or_null(_number),
    "datagram_best": _or_null(_count),
}


def _recent(where: str, value: object) -> dict[str, Any] | None:
    return None if value is None else _fields(f"{where}: ", value, _RECENT, tuple(_RATES))


#: What a daemon of an earlier release, which runs until it is restarted, does not say.
_NEWER = ("outage_s", "falls", "figures", "reorder", "last_fault", "recent", "mtu", "datagram")
_SHARED: dict[str, Reader] = {
    "state": _text,
    "reason": _text,
    "since_s": _number,
    "session": _or_null(_text),
    "connects": _count,
    "outage_s": _number,
    "falls": _count,
    "last_fault": _FAULT,
    "recent": _recent,
    "remote": _or_null(_text),
    "rtt_ms": _or_null(_number),
    "tx_packets": _count,
    "rx_packets": _count,
    "tx_bytes": _count,
    "rx_bytes": _count,
    "drops": _counts,
}
_PATH: dict[str, Reader] = {
    "name": _text,
    "number": _count,
    "state": _text,
    "reason": _text,
    "since_s": _number,
    "priority": _count,
    "weight": _count,
    "bind": _or_null(_text),
    "local": _or_null(_text),
    "remote": _or_null(_text),
    "session": _or_null(_text),
    "rtt_ms": _or_null(_number),
    "loss": _number,
    "peer_state": _or_null(_text),
    "peer_loss": _number,
    "tx_packets": _count,
    "rx_packets": _count,
    "tx_bytes": _count,
    "rx_bytes": _count,
    "tx_err": _count,
    "rx_err": _count,
    "consecutive_fails": _count,
    "switches": _count,
    "outage_s": _number,
    "last_fault": _FAULT,
    "recent": _recent,
    "last_up": _or_null(_text),
    "last_down": _or_null(_text),
    "datagram": _or_null(_count),
    "mtu": _or_null(_count),
    "rate_bps": _or_null(_count),
    "held_to_bps": _or_null(_count),
    "drops": _counts,
    "figures": _object(_FIGURES),
}
_CLASS: dict[str, Reader] = {
    "name": _text,
    "policy": _text,
    "tx_packets": _count,
    "tx_bytes": _count,
    "tx_err": _count,
    "tx_dups": _count,
    "rx_packets": _count,
    "rx_dups": _count,
    "paths": _entries(_SHARE),
    "recent": _or_null(_object(_RATES)),
}
#: Of a tunnel over several paths only.
_SEVERAL: dict[str, Reader] = {
    "paths": _entries(_PATH, optional=_NEWER),
    "classes": _entries(_CLASS, optional=("paths", "recent")),
    "reorder": _counts,
}
_PEER: dict[str, Reader] = {
    "name": _text,
    "address": _text,
    "allowed": _texts,
    "shared": _texts,
    "outer_dscp": lambda where, value: _text(where, value) if isinstance(value, str) else _count(where, value),
    **_SHARED,
    "datagram": _or_null(_count),
    "mtu": _or_null(_count),
    "key": _or_null(_text),
    "legacy": _flag,
    "figures": _object(_FIGURES),
    **_SEVERAL,
}
_INSTANCE: dict[str, Reader] = {
    "role": _text,
    **_SHARED,
    "tun": _text,
    "mtu": _or_null(_count),
    "dataplane": _text,
    "dataplane_reason": _or_null(_text),
    "datagram": _or_null(_count),
    "bind": _or_null(_text),
    "local": _or_null(_text),
    "rate_bps": _or_null(_count),
    "held_to_bps": _or_null(_count),
    "key_updates": _or_null(_count),
    "pid": _count,
    "identity": _or_null(_text),
    "config": _text,
    "config_refused": _or_null(_text),
    "version": _text,
    "handshakes": _count,
    "refusals": _counts,
    "last_refused": _FAULT,
    "started_at": _number,
    "reloads": _counts,
    "figures": _object(_FIGURES),
    **_SEVERAL,
    "peers": _entries(_PEER, optional=(*_NEWER, *_SEVERAL)),
}
