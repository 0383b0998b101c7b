# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. Figures as people read them; what is not known is a dash."""

from __future__ import annotations

from datetime import UTC, datetime

NONE = "–"  # noqa: RUF001 - a dash


def duration(seconds: float | None) -> str:
    """Return a time given in seconds, in its two largest units."""
    if seconds is None:
        return NONE
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def rate(bits: float | None) -> str:
    """Return bits per second."""
    return NONE if bits is None else _scaled(bits, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))


def volume(count: float | None) -> str:
    """Return a number of bytes, as quotas are sold."""
    return NONE if count is None else _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def milliseconds(value: float | None) -> str:
    """Return a time given in milliseconds."""
    return NONE if value is None else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def share(value: float | None) -> str:
    """Return a share, 0 to 1, in percent."""
    if value is None:
        return NONE
    return "0 %" if value <= 0 else f"{value:.1%}".replace("%", " %")


def moment(seconds: float | None) -> str:
    """Return Unix seconds as a date and time of UTC."""
    return NONE if seconds is None else f"{_utc(seconds):%Y-%m-%d %H:%M}"


def clock(seconds: float) -> str:
    """Return the time of day, of UTC."""
    return f"{_utc(seconds):%H:%M}"


def listed(words: list[str]) -> str:
    """Return words as an enumeration."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def counted(number: int, word: str, words: str = "") -> str:
    """Return a number of things, with the plural where it belongs."""
    return f"{number} {word if number == 1 else words or word + 's'}"


def _scaled(amount: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if amount < 999.95:
            return f"{amount:.0f} {unit}" if unit == units[0] or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} {units[-1]}"


def _utc(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)
