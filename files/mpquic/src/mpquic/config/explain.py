# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation errors as lines: key, what was found, what was expected."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING

from mpquic.config.errors import key_name, quoted
from mpquic.config.model import Also, LanRouting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from mpquic.config.base import Model

#: Lines about one mapping. Whoever made more mistakes gave another file.
MAX_LINES = 100

_NESTED: dict[str, type[Model]] = {"also": Also, "lan_routing": LanRouting}


@lru_cache
def _fields(model: type[Model]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def keys(model: type[Model]) -> Iterator[str]:
    """Yield the keys of a mapping as the file spells them."""
    yield from _fields(model)


def lines(error: ValidationError, model: type[Model], place: str = "") -> Iterator[str]:
    """Yield one line for every error in a mapping; ``place`` is what the names of its keys begin with."""
    # Pydantic counts what is right in a list that must not be empty.
    found = error.errors(include_url=False, include_context=True)
    items = [item for item in found if item["type"] != "too_short" or not item["input"]]
    for item in items[:MAX_LINES]:
        yield place + _line(item, model)
    if len(items) > MAX_LINES:
        yield f"{place}found {len(items) - MAX_LINES} more faults"


def _line(item: ErrorDetails, model: type[Model]) -> str:
    first, *rest = item["loc"]
    name = key_name(first)
    if rest and first in _NESTED:
        model = _NESTED[str(first)]
        first, *rest = rest
        name = f"{name}.{key_name(first)}"
    fields = _fields(model)
    field = fields.get(str(first))
    # Below a field there are lists only: what else pydantic puts there names its own types.
    entry = "".join(f"[{part}]" for part in rest if isinstance(part, int))
    name += entry
    if field is None or item["type"] in {"extra_forbidden", "invalid_key"}:
        close = difflib.get_close_matches(str(first), fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(fields)}"
        return f"{name}: unknown key, {hint}"
    if item["type"] == "missing":
        return f"{name}: missing, expected {field.description}"
    why = str(item.get("ctx", {}).get("error", "")) if item["type"] == "value_error" else ""
    found = quoted(item["input"]) + (f" ({why})" if why else "")
    return f"{name}: found {found}, expected {field.title if entry else field.description}"
