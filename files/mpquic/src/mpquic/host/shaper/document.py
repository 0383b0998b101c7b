# SPDX-License-Identifier: GPL-3.0-or-later
"""The file /etc/mpquic/shaper.yaml: which links are shaped, and which classes they have.

A field's description is what its error message says was expected.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mpquic import config
from mpquic.config import document
from mpquic.config.errors import key_name, quoted
from mpquic.config.fields import Bind, bind
from mpquic.host.errors import ConfigError
from mpquic.host.shaper.state import classid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

REST = 0xFF
"""Minor number of the class of what is not classified, counted from the link's."""

_Key = TypeVar("_Key", str, int)
_MAX_LINES = 100
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}")


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError
    return value


def _place(value: object) -> Bind:
    found = bind(value)
    if found.address in {"0.0.0.0", "::"}:  # noqa: S104 - refused, not bound
        raise ValueError("no interface has it")
    return found


_Name = Annotated[str, BeforeValidator(_name), Field(description="1 to 32 of A-Z a-z 0-9 . _ -")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class Entry(_Model):
    """One class: its share (percent of the link's rate) is guaranteed, what others leave it may take too."""

    name: _Name
    minor: Annotated[
        int, Field(ge=0x101, le=0x6CFF, description="a minor number of the link, inner + 1 to inner + 255")
    ]
    priority: Annotated[int, Field(ge=0, le=7, description="a priority from 0 (first) to 7")]
    share: Annotated[int, Field(ge=1, le=100, description="percent from 1 to 100")]


class Link(_Model):
    """One link: a rate (bits per second) that its classes share on the interface `on` or on that of the address."""

    name: _Name
    on: Annotated[
        Bind, BeforeValidator(_place), Field(description="if: and an interface name, or an address that this host has")
    ]
    # As what the daemon can be held to.
    rate: Annotated[int, Field(ge=32_000, le=100_000_000_000, description="bits per second from 32000 to 100000000000")]
    # A leaf's qdisc has the number of its class, so ours (0x6d71) is out of reach.
    inner: Annotated[
        int, Field(ge=0x100, le=0x6C00, multiple_of=0x100, description="a multiple of 0x100 from 0x100 to 0x6c00")
    ]
    default: Annotated[bool, Field(description="true or false")] = False
    classes: Annotated[tuple[Entry, ...], Field(strict=False, min_length=1, description="a list of classes")]

    @property
    def rest(self) -> int:
        """Return the minor number of the class of what is not classified."""
        return self.inner + REST

    @model_validator(mode="before")
    @classmethod
    def _bare_on(cls, value: object) -> object:
        """Take the key ``on`` without quotes, which YAML 1.1 (PyYAML) reads as true and YAML 1.2 as text."""
        if isinstance(value, dict) and True in value and "on" not in value:
            return {"on" if key is True else key: item for key, item in value.items()}
        return value


class _Document(_Model):
    links: Annotated[tuple[Link, ...], Field(strict=False, description="a list of links")] = ()


_BELOW: dict[type[_Model], dict[str, type[_Model]]] = {_Document: {"links": Link}, Link: {"classes": Entry}}


def load(path: Path) -> tuple[Link, ...]:
    """Return the links of the file, none when there is no file.

    Raises:
        ConfigError: the file cannot be read or is wrong; one line for every fault.

    """
    if not path.exists():
        return ()
    try:
        content = document.mapping(document.read(path), path)
    except config.ConfigError as error:
        raise ConfigError(str(error)) from error
    try:
        links = _Document.model_validate(content).links
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _lines(error))) from None
    faults = [f"{path}: {line}" for line in _across(links)]
    if faults:
        raise ConfigError("\n".join(faults))
    return links


def _lines(error: ValidationError) -> Iterator[str]:
    items = error.errors(include_url=False, include_context=True)
    for item in items[:_MAX_LINES]:
        yield _line(item)
    if len(items) > _MAX_LINES:
        yield f"found {len(items) - _MAX_LINES} more faults"


def _line(item: ErrorDetails) -> str:
    """Return one error as: key, what was found, what was expected."""
    model: type[_Model] = _Document
    name, expected = "", "a mapping"
    for part in item["loc"]:
        if isinstance(part, int):
            name += f"[{part}]"
            expected = "a mapping"
            continue
        name = f"{name}.{key_name(part)}" if name else key_name(part)
        field = model.model_fields.get(part)
        if field is None:
            close = difflib.get_close_matches(part, model.model_fields, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(model.model_fields)}"
            return f"{name}: unknown key, {hint}"
        expected = field.description or ""
        model = _BELOW.get(model, {}).get(part, model)
    if item["type"] == "missing":
        return f"{name}: missing, expected {expected}"
    why = str(item.get("ctx", {}).get("error", "")) if item["type"] == "value_error" else ""
    found = quoted(item["input"]) + (f" ({why})" if why else "")
    return f"{name}: found {found}, expected {expected}"


def _across(links: Sequence[Link]) -> Iterator[str]:
    """Yield what contradicts each other. Names are for messages only, and those give the numbers as well."""
    minors: dict[int, str] = {}
    defaults: dict[str, str] = {}
    for number, link in enumerate(links):
        place = f"links[{number}]"
        yield from _once(minors, link.inner, f"{place}.inner", hex(link.inner))
        if link.default:
            yield from _once(defaults, link.on.text, f"{place}.default", f"true for {link.on}")
        yield from _within(link, place)


def _within(link: Link, place: str) -> Iterator[str]:
    minors: dict[int, str] = {}
    for number, entry in enumerate(link.classes):
        own = f"{place}.classes[{number}]"
        yield from _once(minors, entry.minor, f"{own}.minor", hex(entry.minor))
        if not link.inner < entry.minor <= link.rest:
            yield f"{own}.minor: found {hex(entry.minor)}, expected {hex(link.inner + 1)} to {hex(link.rest)}"
    total = sum(entry.share for entry in link.classes)
    if total > 100:
        yield f"{place}.classes: found shares of {total} percent together, expected at most 100"
    if link.default and link.rest not in minors:
        yield f"{place}.default: found no class {classid(link.rest)}, expected one for what is not classified"


def _once(seen: dict[_Key, str], key: _Key, place: str, found: str) -> Iterator[str]:
    if key in seen:
        yield f"{place}: found {found} as in {seen[key]}, expected it once"
    seen.setdefault(key, place)
