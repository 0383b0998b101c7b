# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of the host say, each of which may be missing or hold anything."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from mpquic.config import ConfigError, load
from mpquic.metrics.bounds import MAX_WANS, reasons

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of a file that are read.
_MOST = 1 << 20
#: Numbers from here on are none: JSON has those that no float can hold.
_LARGE = 1e300


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


@dataclass(frozen=True, slots=True)
class Wan:
    """What a WAN has carried in its billing period (bytes); None is what is not known, or not limited."""

    name: str
    sent: float
    received: float
    quota: float | None
    #: Highest warning level that is reached, 0..1.
    warned: float
    #: When the next period begins, and when this was counted (seconds since the epoch).
    until: float | None
    counted_at: float | None


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
    found = _mapping(run_dir / "watch.json")
    if found is None:
        return None
    remaining, repairs = found.get("remaining"), found.get("repairs")
    codes = Counter(str(entry.get("code")) for entry in _entries(remaining))
    times = [at for entry in _entries(repairs) if (at := _number(entry.get("at"))) is not None]
    return Watched(reasons(codes), max(times, default=None))


def resolver(run_dir: Path) -> float | None:
    """Return 1 where a resolver of this host answers the recorder, 0 where none does, None where nobody has asked."""
    found = _mapping(run_dir / "names.json")
    if found is None or "fault" not in found:
        return None
    return float(found["fault"] is None)


def wans(run_dir: Path) -> list[Wan]:
    """Return what WANs have carried, as ``wans.json`` has it that whoever counts for the bill writes; nothing without.

    It holds ``at`` and, for each of ``wans``: ``wan``, ``tx_bytes``, ``rx_bytes``, ``quota_bytes`` and ``warned``
    (percent), each of which may be null, and ``until``, the first day of the next period (YYYY-MM-DD, in the host's
    time zone).
    """
    found = _mapping(run_dir / "wans.json") or {}
    return [_wan(entry, _number(found.get("at"))) for entry in _entries(found.get("wans"))[:MAX_WANS]]


def _wan(entry: dict[str, object], counted_at: float | None) -> Wan:
    return Wan(
        str(entry.get("wan")),
        _number(entry.get("tx_bytes")) or 0.0,
        _number(entry.get("rx_bytes")) or 0.0,
        _number(entry.get("quota_bytes")),
        (_number(entry.get("warned")) or 0.0) / 100,
        _midnight(entry.get("until")),
        counted_at,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < _LARGE else None


def _midnight(day: object) -> float | None:
    try:
        return datetime.strptime(str(day), "%Y-%m-%d").timestamp()  # noqa: DTZ007 - the host's time zone
    except (ValueError, OverflowError):
        return None


def _mapping(path: Path) -> dict[str, object] | None:
    """Return what a JSON file holds, None where that is no mapping."""
    content = _content(path)
    try:
        found = json.loads(content) if content is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _entries(found: object) -> list[dict[str, object]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError:
        return None
