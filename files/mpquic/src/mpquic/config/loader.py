# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file to a checked configuration, or to all its faults."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from mpquic.config import checks, legacy
from mpquic.config.document import read_mapping
from mpquic.config.errors import ConfigError, quoted
from mpquic.config.model import InstanceConfig, LanRouting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails


def load(path: Path) -> tuple[InstanceConfig, list[str]]:
    """Return the configuration in ``path`` and its warnings (one line each, with the file's name).

    Raises ConfigError with every fault found. Reads the key, certificate and CA files that the configuration names.
    """
    raw, digest = read_mapping(path)
    rest, warnings, errors = legacy.take(raw)
    if rest.get("congestion_algorithm") == "bbr":
        warnings.append("congestion_algorithm: found bbr, which is not there, using tunnel")
        rest["congestion_algorithm"] = "tunnel"
    valid: dict[str, Any] = {}
    config = None
    try:
        config = InstanceConfig.model_validate(rest, context=valid)
    except ValidationError as error:
        errors += dict.fromkeys(_explain(item) for item in error.errors(include_url=False, include_context=True))
    errors += checks.across_keys(valid, rest)
    if errors or config is None:
        raise ConfigError(f"{path}: {line}" for line in errors)
    if config.role == "server":
        warnings += _unused_on_server(config)
    # The loader completes the frozen model.
    config._instance_id, config._digest = path.stem, digest  # noqa: SLF001
    return config, [f"{path}: {line}" for line in warnings]


def _unused_on_server(config: InstanceConfig) -> Iterator[str]:
    for key in ("remote_addr", "tls_server_pin", "tls_ca_file"):
        if getattr(config, key) is not None:
            yield f"{key}: not used on a server"


def _explain(item: ErrorDetails) -> str:
    """Turn one pydantic error into one line: key, what was found, what was expected."""
    keys = [str(part) for part in item["loc"] if isinstance(part, str) and "[" not in part]
    model: type[BaseModel] = InstanceConfig
    if keys[0] == "lan_routing" and len(keys) > 1:
        model = LanRouting
        keys = keys[:2]
    else:
        keys = keys[:1]
    name = ".".join(keys)
    field = model.model_fields.get(keys[-1])
    if item["type"] == "extra_forbidden" or field is None:
        close = difflib.get_close_matches(keys[-1], model.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(model.model_fields)}"
        return f"{name}: unknown key, {hint}"
    if item["type"] == "missing":
        return f"{name}: missing, expected {field.description}"
    why = str(item.get("ctx", {}).get("error", "")) if item["type"] == "value_error" else ""
    found = quoted(item["input"]) + (f" ({why})" if why else "")
    return f"{name}: found {found}, expected {field.description}"
