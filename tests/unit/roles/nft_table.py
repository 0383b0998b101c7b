# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft table of the daemon role, rendered as Ansible renders it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = Path(__file__).resolve().parents[3] / "roles" / "daemon" / "templates" / "mpquic.nft.j2"


def sh(command: str, stdin: str | None = None) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command.split(), input=stdin, check=True, capture_output=True, text=True, timeout=20).stdout


def _flat(value: Any) -> Iterator[Any]:
    for item in value:
        yield from _flat(item) if isinstance(item, list | tuple) else [item]


def render(nft: dict[str, Any]) -> str:
    """Return the file of a host whose plan has this under ``nft``."""
    environment = jinja2.Environment(
        trim_blocks=True, keep_trailing_newline=True, autoescape=False, undefined=jinja2.ChainableUndefined
    )
    environment.filters["to_json"] = json.dumps
    environment.filters["flatten"] = lambda value: list(_flat(value))
    environment.tests["search"] = lambda value, pattern: re.search(pattern, value) is not None
    return environment.from_string(TEMPLATE.read_text()).render(daemon_nft=nft)
