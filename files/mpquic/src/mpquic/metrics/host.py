# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of the host say, each of which may be missing or hold anything."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509

from mpquic.config import ConfigError, load
from mpquic.metrics.bounds import reasons

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of a file that are read.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files are."""

    run_dir: Path
    instances: Path
    identity: Path


@dataclass(frozen=True, slots=True)
class Watched:
    """What ``mpquic watch`` wrote down."""

    #: What is not as it should be, by code.
    findings: dict[str, int] = field(default_factory=dict)
    #: When it repaired something last (seconds since the epoch).
    repaired_at: float | None = None


def certificates(folder: Path) -> dict[str, tuple[float, float]]:
    """Return from when to when (seconds since the epoch) the certificates of this host are valid, by file name."""
    found: dict[str, tuple[float, float]] = {}
    for name in ("cert.pem", "next-cert.pem"):
        pem = _content(folder / name)
        try:
            certificate = x509.load_pem_x509_certificate(pem) if pem is not None else None
        except ValueError:
            continue
        if certificate is not None:
            dates = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            found[name] = dates[0].timestamp(), dates[1].timestamp()
    return found


def digest(instances: Path, name: str) -> str | None:
    """Return the SHA-256 of an instance's file as its daemon says it, None when it cannot be read."""
    path = instances / f"{name}.yaml"
    content = _content(path)
    if content is None:
        return None
    if b"dataplane_config_file" not in content:
        return hashlib.sha256(content).hexdigest()
    # What that file holds counts as well.
    try:
        return load(path)[0].digest
    except ConfigError:
        return None


def watched(run_dir: Path) -> Watched | None:
    """Return what the watch wrote down, None where there is none."""
    content = _content(run_dir / "watch.json")
    if content is None:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    remaining, repairs = found.get("remaining"), found.get("repairs")
    codes = Counter(str(entry.get("code")) for entry in _entries(remaining))
    times = [float(at) for entry in _entries(repairs) if isinstance(at := entry.get("at"), int | float)]
    return Watched(reasons(codes), max(times, default=None))


def _entries(found: object) -> list[dict[str, object]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError:
        return None
