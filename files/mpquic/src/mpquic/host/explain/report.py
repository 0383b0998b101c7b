# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer: the way of one packet, step by step, and everything that is not as planned."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mpquic.host.explain.packet import protocol_name

if TYPE_CHECKING:
    from mpquic.host.explain.packet import Packet
    from mpquic.host.routing import Problem


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way: `name` is what decides there."""

    name: str
    text: str


@dataclass(slots=True)
class Explanation:
    """What `path.explain` found.

    The `verdict` is ``tunnel``; ``direct`` when it leaves by another interface; ``local`` when it ends on this host;
    ``dropped``; or ``unreachable``.
    `uncertain` says what was not understood, and where this program and the kernel disagree; `notes` what else an
    operator should know, and what was not given.
    """

    packet: Packet
    verdict: str = "direct"
    device: str | None = None
    lan: dict[str, Any] | None = None
    class_: str | None = None
    match: str | None = None
    mark: int = 0
    rule: dict[str, Any] | None = None
    route: dict[str, Any] | None = None
    tunnel: dict[str, Any] | None = None
    wan: dict[str, Any] | None = None
    flow: dict[str, Any] | None = None
    planned: dict[str, Any] | None = None
    steps: list[Step] = field(default_factory=list)
    differences: list[Problem] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether the packet gets anywhere."""
        return self.verdict not in {"dropped", "unreachable"}

    @property
    def as_planned(self) -> bool:
        """Whether nothing differs from the plan."""
        return not self.differences

    def step(self, name: str, text: str) -> None:
        """Add a step."""
        self.steps.append(Step(name, text))

    def result(self) -> dict[str, Any]:
        """Return it for programs."""
        packet = self.packet
        return {
            "packet": {
                "src": str(packet.source),
                "dst": str(packet.destination),
                "proto": None if packet.protocol is None else protocol_name(packet.protocol),
                "sport": packet.sport,
                "dport": packet.dport,
                "dscp": packet.dscp,
                "iif": packet.iif,
            },
            "verdict": self.verdict,
            "device": self.device,
            "lan": self.lan,
            "class": self.class_,
            "match": self.match,
            "mark": self.mark,
            "rule": self.rule,
            "route": self.route,
            "tunnel": self.tunnel,
            "wan": self.wan,
            "flow": self.flow,
            "planned": self.planned,
            "as_planned": self.as_planned,
            "certain": not self.uncertain,
            "steps": [{"step": step.name, "text": step.text} for step in self.steps],
            "differences": [asdict(problem) for problem in self.differences],
            "uncertain": self.uncertain,
            "notes": self.notes,
        }
