# SPDX-License-Identifier: GPL-3.0-or-later
"""The paths and classes of a tunnel over several WANs, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.cli._table import milliseconds, plain, size, spare_table, table

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATH_COLUMNS = (
    "path",
    "state",
    "since",
    "priority",
    "weight",
    "rtt",
    "loss",
    "tx",
    "rx",
    "errors",
    "fails",
    "local",
    "reason",
)
_CLASS_COLUMNS = ("class", "policy", "tx", "packets", "errors", "copies", "rx packets", "duplicates")


def path_table(paths: Sequence[dict[str, Any]]) -> str:
    """Return one line for each path, in the order of the configuration."""
    return spare_table([_PATH_COLUMNS, *map(_path_row, paths)])


def class_table(classes: Sequence[dict[str, Any]]) -> str:
    """Return one line for each class."""
    return table([_CLASS_COLUMNS, *map(_class_row, classes)])


def _path_row(path: dict[str, Any]) -> tuple[str, ...]:
    return (
        path["name"],
        path["state"],
        f"{path['since_s']:.0f}s",
        str(path["priority"]),
        str(path["weight"]),
        milliseconds(path["rtt_ms"]),
        # Of either direction, the worse.
        f"{max(path['loss'], path['peer_loss']):.1%}",
        size(path["tx_bytes"]),
        size(path["rx_bytes"]),
        str(path["tx_err"] + path["rx_err"]),
        str(path["consecutive_fails"]),
        plain(path, "local"),
        "-" if path["state"] == "up" else plain(path, "reason"),
    )


def _class_row(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        found["name"],
        found["policy"],
        size(found["tx_bytes"]),
        str(found["tx_packets"]),
        str(found["tx_err"]),
        str(found["tx_dups"]),
        str(found["rx_packets"]),
        str(found["rx_dups"]),
    )
