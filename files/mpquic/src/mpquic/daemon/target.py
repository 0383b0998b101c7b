# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a socket of a client goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.config import Bind


@dataclass(frozen=True, slots=True)
class Target:
    """Where the socket of a port is bound, and where it leads."""

    bind: Bind
    host: str
    port: int

    def __str__(self) -> str:
        """Return both, for the reason of a failure."""
        return f"{self.bind} to {self.host} port {self.port}"
