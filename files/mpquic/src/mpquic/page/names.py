# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of what is in the picture, the same in all that is said of it."""

from __future__ import annotations


def node(kind: str, *names: str) -> str:
    """Return the id of a LAN, class, tunnel, path, WAN or VPS; names that are empty do not count."""
    # Names may hold anything: a colon of theirs must not make two things one.
    return ":".join([kind, *(name.replace("%", "%25").replace(":", "%3a") for name in names if name)])
