# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file to a checked configuration, or to all its faults."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mpquic.config import assembly, checks, document, explain, legacy, peers
from mpquic.config.errors import ConfigError, Findings
from mpquic.config.model import InstanceConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def load(path: Path) -> tuple[InstanceConfig, list[str]]:
    """Return the configuration in ``path`` and its warnings (one line each, with the file's name).

    Raises ConfigError with every fault found, and nothing else whatever the file holds. Reads the key, certificate and
    CA files that the configuration names.
    """
    return parse(document.read(path), path)


def parse(raw: bytes, path: Path) -> tuple[InstanceConfig, list[str]]:
    """Return what `load` does for a file ``path`` with the content ``raw``."""
    rest, warnings, errors = legacy.take(document.mapping(raw, path))
    if rest.get("congestion_algorithm") == "bbr":
        warnings.append("congestion_algorithm: found bbr, which is not there, using tunnel")
        rest["congestion_algorithm"] = "tunnel"
    findings = Findings(errors, warnings)
    several = rest.get("multipath_enabled", False) is not False
    beside = assembly.take(rest, path, findings) if several else assembly.Beside()
    given = dict(rest)
    entries, faults = peers.take(rest)
    valid: dict[str, Any] = {}
    config = None
    try:
        config = InstanceConfig.model_validate(rest, context=valid)
    except ValidationError as error:
        errors += dict.fromkeys(explain.lines(error, InstanceConfig))
    errors += faults
    errors += checks.across_keys(valid, given)
    errors += peers.across(entries, valid, given)
    errors = _named(path, errors) + _named(beside.path, beside.findings.errors)
    if errors or config is None:
        raise ConfigError(errors)
    warnings += _remarks(config)
    # The loader completes the frozen model.
    config._instance_id, config._digest = path.stem, hashlib.sha256(raw + beside.raw).hexdigest()  # noqa: SLF001
    return config, _named(path, warnings) + _named(beside.path, beside.findings.warnings)


def _named(path: Path | None, lines: Iterable[str]) -> list[str]:
    return [f"{path}: {line}" for line in lines]


def _remarks(config: InstanceConfig) -> Iterator[str]:
    if config.role == "server":
        for key in ("remote_addr", "tls_server_pin"):
            if getattr(config, key) is not None:
                yield f"{key}: not used on a server"
        yield from peers.warnings(config)
    elif config.legacy_server:
        yield (
            "legacy_server: UNAUTHENTICATED: the server takes this client without a key, so others can take its place; "
            "move the server to mpq/1 and remove this key"
        )
    elif config.tls_cert_file is None:
        yield (
            "tls_cert_file: missing, so no server but one of the older implementation (legacy_server) takes this "
            "client; make its identity with mpquic identity ensure, and name it in tls_cert_file and tls_key_file"
        )
