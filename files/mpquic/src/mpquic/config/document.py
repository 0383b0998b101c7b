# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading one YAML file as one mapping: duplicate keys refused, time and memory bounded whatever the file holds."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any

import yaml

from mpquic.config.errors import ConfigError, key_name, quoted

if TYPE_CHECKING:
    from pathlib import Path

#: An instance file is some pages of text; more than this is some other file (bytes).
MAX_FILE_SIZE = 1024 * 1024
#: Values in one file, where an alias counts as much as what it stands for: a few aliases could mean billions.
MAX_VALUES = 50_000
#: Lists and mappings in each other.
MAX_DEPTH = 32
#: Characters of one value, as many as a path has (PATH_MAX): long numbers take quadratic time to read.
MAX_SCALAR = 4096
#: Escapes can make these, and then nothing can write them (RFC 3629 section 3).
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """SafeLoader with limits, without tags, and with a memory for keys given twice.

    YAML 1.2 section 3.2.1.3 forbids such keys, PyYAML keeps the last. A tag makes PyYAML read a value as a type that it
    may not look like, and some of its constructors trip over that.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[str, int]] = []
        self._values = 0
        self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            assert node is not None
            # An anchor whose node is not complete has no size yet.
            if node not in self._sizes:
                raise _fault(event, f"the alias {quoted(event.anchor)} inside what it stands for", "an end")
            self._values += self._sizes[node]
        else:
            tag = getattr(event, "tag", None)
            if tag is not None:
                raise _fault(event, f"the tag {quoted(tag)}", "plain values")
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _fault(event, f"more than {MAX_DEPTH} lists and mappings in each other", "an instance file")
            node = super().compose_node(parent, index)
            self._depth -= 1
            if isinstance(node, yaml.ScalarNode):
                _check_scalar(event, node.value)
            self._values += 1
            if node is not None and getattr(event, "anchor", None) is not None:
                self._sizes[node] = self._values - before
        if self._values > MAX_VALUES:
            raise _fault(event, f"more than {MAX_VALUES} values", "an instance file")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key_node, _value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    self.duplicates.append((key_node.value, key_node.start_mark.line + 1))
                seen.add(key_node.value)
        return node


class _LimitError(Exception):
    """The text may be YAML, but not of an instance file."""


def read(path: Path, *, regular: bool = False) -> bytes:
    """Return what the file holds. Raises ConfigError when it cannot be read or is too large.

    ``regular``: a pipe or a device, which another file could name, is refused without waiting for what it has to say.
    """
    try:
        with open(path, "rb", opener=_at_once if regular else None) as file:
            if regular and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError([f"{path}: found something that is not a file, expected a readable YAML file"])
            raw = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}, expected a readable YAML file"]) from error
    if len(raw) > MAX_FILE_SIZE:
        raise ConfigError([f"{path}: found more than {MAX_FILE_SIZE} bytes, expected an instance file"])
    return raw


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK)


def mapping(raw: bytes, path: Path) -> dict[str, Any]:
    """Return the mapping that the bytes ``raw`` of the file ``path`` are in YAML.

    Raises ConfigError when they are not UTF-8 YAML, are not one mapping with text keys, name a key twice, or pass a
    limit of this module.
    """
    try:
        loader = _Loader(raw.decode("utf-8"))
        data = loader.get_single_data()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: found bytes that are not UTF-8 at {error.start}, expected YAML text"]) from error
    except _LimitError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    # ArithmeticError: a float or a date out of range.
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        raise ConfigError([f"{path}: {_yaml_problem(error)}"]) from error
    if loader.duplicates:
        raise ConfigError(
            f"{path}: {key_name(key)}: found a second time in line {line}, expected once"
            for key, line in loader.duplicates
        )
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ConfigError([f"{path}: found {found}, expected a YAML mapping of instance keys"])
    strange = [key for key in data if not isinstance(key, str)]
    if strange:
        raise ConfigError(
            f"{path}: {key_name(key)}: found a key that is not text, expected a key name" for key in strange
        )
    return data


def _check_scalar(event: yaml.Event, text: str) -> None:
    if len(text) > MAX_SCALAR:
        raise _fault(event, f"a value of {len(text)} characters", f"at most {MAX_SCALAR}")
    if _SURROGATE.search(text):
        raise _fault(event, f"half a surrogate pair in {quoted(text)}", "characters")


def _fault(event: yaml.Event, found: str, expected: str) -> _LimitError:
    assert event.start_mark is not None
    return _LimitError(f"line {event.start_mark.line + 1}: found {found}, expected {expected}")


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    # The first line, and not all of a name of a million letters.
    problem = str(getattr(error, "problem", None) or error).partition("\n")[0][:120]
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{where}not valid YAML ({problem}), expected a complete mapping"
