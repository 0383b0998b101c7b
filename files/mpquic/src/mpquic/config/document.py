# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading one YAML file as one mapping, with duplicate keys refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from mpquic.config.errors import ConfigError, quoted

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

#: An instance file is a page of text; more than this is some other file (bytes).
MAX_FILE_SIZE = 256 * 1024


class _Loader(yaml.SafeLoader):
    """SafeLoader that remembers keys given twice: YAML 1.2 section 3.2.1.3 forbids them, PyYAML keeps the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[str, int]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key_node, _value_node in node.value:
            key = str(getattr(key_node, "value", ""))
            if key in seen:
                self.duplicates.append((key, key_node.start_mark.line + 1))
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_mapping(path: Path) -> tuple[dict[str, Any], str]:
    """Return the mapping in the YAML file at ``path``, and the SHA-256 of the file in hex.

    Raises ConfigError when the file cannot be read, is not UTF-8 YAML, is not one mapping with text keys, or names a
    key twice.
    """
    raw, text = _read(path)
    try:
        loader = _Loader(text)
        data = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: {_yaml_problem(error)}"]) from error
    if loader.duplicates:
        raise ConfigError(
            f"{path}: {key}: found a second time in line {line}, expected once" for key, line in loader.duplicates
        )
    if not isinstance(data, dict):
        found = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ConfigError([f"{path}: found {found}, expected a YAML mapping of instance keys"])
    strange = [key for key in data if not isinstance(key, str)]
    if strange:
        raise ConfigError(
            f"{path}: {quoted(key)}: found a key that is not text, expected a key name" for key in strange
        )
    return data, hashlib.sha256(raw).hexdigest()


def _read(path: Path) -> tuple[bytes, str]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}, expected a readable YAML file"]) from error
    if len(raw) > MAX_FILE_SIZE:
        raise ConfigError([f"{path}: found more than {MAX_FILE_SIZE} bytes, expected an instance file"])
    try:
        return raw, raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: found bytes that are not UTF-8 at {error.start}, expected YAML text"]) from error


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0]
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{where}not valid YAML ({problem}), expected a complete mapping"
