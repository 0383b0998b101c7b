# SPDX-License-Identifier: GPL-3.0-or-later
"""What an explanation is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.config import InstanceConfig
    from mpquic.host.explain.plan import Classes
    from mpquic.host.explain.ruleset import Table
    from mpquic.host.instances import Instance
    from mpquic.host.shaper.document import Link
    from mpquic.host.state import HostState


@dataclass(frozen=True, slots=True)
class Sources:
    """The live state and the plan; `load` reads an instance's file, `ask` its daemon's status (None: no answer)."""

    table: Table
    table_wanted: bool
    state: HostState
    classes: Classes
    instances: Sequence[Instance]
    shaper: Sequence[Link]
    load: Callable[[Instance], InstanceConfig]
    ask: Callable[[str], dict[str, Any] | None]
