# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether tunnels carry packets, why not, and the ladder that brings them back.

A unit may be active and its tunnel dead; so a tunnel is healthy only when an ICMP echo crosses it, and nothing that it
needs to survive the next fault is missing. A server of many peers is healthy when it listens and holds its TUN: which
of them are there is theirs to say. A tunnel over several WANs is degraded as soon as one of its paths is down, and dead
only when all are: a restart would take the others down as well.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mpquic.host import firewall, lock, repair, settings, units, wans
from mpquic.host.echo import Echo, Probe, echo
from mpquic.host.errors import HostError
from mpquic.host.instances import Selection
from mpquic.host.routing import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mpquic.host.instances import Instance
    from mpquic.host.netlink import Kernel
    from mpquic.host.state import HostState

_UP = "up"
_WAITING = "waiting"
_NOT_UP = frozenset({_WAITING, "connecting", "listening"})
_LISTENING = frozenset({_UP, "listening"})
_COMMON = frozenset({"nft_missing", "nft_differs", "setting_wrong"})
#: A start would fail.
HOPELESS = frozenset({"tun_foreign", "unit_masked"})
_POLL = 0.25
#: Seconds after which a restarted daemon that waits will not be up soon, and for the reply of one that is not up.
_HOPE = 4.0
_BRIEF = 0.3
_REATTACH = 2.0
"""Seconds in which a running daemon finds a TUN that was made again; before that, a restart would be hasty."""


class Judge(Protocol):
    """Decides on the restart of an instance; when ``repairing``, repairs are planned that are not done yet."""

    def __call__(self, tunnel: Tunnel, *, repairing: bool) -> bool:
        """Tell whether a restart can help."""


@dataclass(slots=True)
class Tunnel:
    """The health of one tunnel: why it is not healthy, and before a fix was not."""

    instance: Instance
    reasons: list[Problem]
    found: list[Problem]
    unit: str | None
    daemon: dict[str, Any] | None
    echo: Echo | None
    actions: list[str] = field(default_factory=list)
    #: What is no fault of this end; how often it was restarted in vain, and the seconds until it may be again.
    notes: list[Problem] = field(default_factory=list)
    restarts: tuple[int, float] | None = None

    @property
    def healthy(self) -> bool:
        """Whether packets cross it and nothing it needs is missing."""
        return not self.reasons

    @property
    def codes(self) -> set[str]:
        """Return the codes of its reasons."""
        return {reason.code for reason in self.reasons}

    @property
    def peers(self) -> tuple[int, int] | None:
        """Return how many peers of a server of many are up, and of how many; None when nobody can say."""
        if not self.instance.many or self.daemon is None:
            return None
        states = [peer.get("state") for peer in self.daemon.get("peers", ())]
        return states.count(_UP), len(states)

    @property
    def paths(self) -> tuple[int, int] | None:
        """Return how many paths of a tunnel over several are in use, and of how many; None for other tunnels."""
        told = wans.told(self.instance, self.daemon)
        return (sum(path["state"] not in wans.DOWN for path in told), len(told)) if told else None


@dataclass(frozen=True, slots=True)
class Doctor:
    """Checks and fixes tunnels.

    `timeout` is the wait for the last echo reply and `patience` that for a restarted daemon, in seconds; `ask` returns
    what the daemon of an instance says of itself, None when it does not answer. `judge` decides on a restart, of which
    nothing else has to change within `confirm` seconds.
    """

    kernel: Kernel
    selection: Selection
    timeout: float
    patience: float
    ask: Callable[[str], dict[str, Any] | None]
    judge: Judge = field(default_factory=lambda: restart_helps)
    confirm: float = 0.0

    def check(self) -> list[Tunnel]:
        """Examine all chosen tunnels at the same time; change nothing."""
        return self._examine(self.selection.chosen)

    def fix(self, *, dry: bool) -> list[Tunnel]:
        """Climb the ladder for every sick tunnel: TUN and routing, then a restart; with `dry` only plan.

        A healthy tunnel is not touched, and a tunnel whose WAN cannot carry packets is not restarted.
        """
        tunnels = {tunnel.instance.id: tunnel for tunnel in self.check()}
        found = {name: tunnel.reasons for name, tunnel in tunnels.items()}
        actions: dict[str, list[str]] = {name: [] for name in tunnels}
        broken = [t.instance for t in tunnels.values() if t.codes & repair.REPAIRABLE]
        failures = self._repair(broken, actions, dry=dry)
        bare = [tunnel.instance for tunnel in tunnels.values() if tunnel.codes & _COMMON]
        if bare:
            codes = frozenset[str]().union(*(tunnel.codes for tunnel in tunnels.values()))
            failures |= self._mend_common(bare, codes, actions, dry=dry)
            broken += [instance for instance in bare if instance not in broken]
        if broken and not dry:
            self._wait(broken, _REATTACH)
            tunnels |= {tunnel.instance.id: tunnel for tunnel in self._examine(broken)}
        dead = [tunnel for tunnel in tunnels.values() if self.judge(tunnel, repairing=dry)]
        if dead and self.confirm and not dry:
            time.sleep(self.confirm)
            again = self._examine([tunnel.instance for tunnel in dead])
            tunnels |= {tunnel.instance.id: tunnel for tunnel in again}
            dead = [tunnel for tunnel in again if self.judge(tunnel, repairing=False)]
        if dead:
            for tunnel in dead:
                actions[tunnel.instance.id].append(f"restart {units.unit(tunnel.instance.id)}")
            if not dry:
                failures |= self._restart([tunnel.instance for tunnel in dead])
                tunnels |= {t.instance.id: t for t in self._examine([tunnel.instance for tunnel in dead])}
        for name, tunnel in tunnels.items():
            tunnel.actions = actions[name]
            tunnel.found = found[name]
            tunnel.reasons = tunnel.reasons + failures.get(name, [])
        return list(tunnels.values())

    def _repair(self, broken: list[Instance], actions: dict[str, list[str]], *, dry: bool) -> dict[str, list[Problem]]:
        if not broken:
            return {}
        some = Selection("sick", tuple(broken), self.selection.known)
        with contextlib.nullcontext() if dry else lock.exclusive():
            outcome = repair.fix(self.kernel, some, dry=dry)
        for report in outcome.reports:
            actions[report.instance.id] += report.actions
        return {r.instance.id: [p for p in r.problems if p.code == "fix_failed"] for r in outcome.reports}

    def _mend_common(
        self, bare: list[Instance], codes: frozenset[str], actions: dict[str, list[str]], *, dry: bool
    ) -> dict[str, list[Problem]]:
        """Mend what all tunnels of a host have in common."""
        mends: dict[str, Callable[[], None]] = {}
        if codes & {"nft_missing", "nft_differs"}:
            mends[f"load {firewall.FILE}"] = firewall.load
        if "setting_wrong" in codes:
            mends["apply the kernel settings"] = settings.apply
        for instance in bare:
            actions[instance.id] += mends
        if not dry:
            try:
                with lock.exclusive():
                    for mend in mends.values():
                        mend()
            except HostError as error:
                return {instance.id: [Problem("fix_failed", str(error))] for instance in bare}
        return {}

    def _restart(self, dead: list[Instance]) -> dict[str, list[Problem]]:
        try:
            with lock.exclusive():
                units.restart([instance.id for instance in dead])
        except HostError as error:
            return {instance.id: [Problem("restart_failed", str(error))] for instance in dead}
        self._wait(dead, self.patience)
        return {}

    def _wait(self, instances: Sequence[Instance], seconds: float) -> None:
        """Wait until all these tunnels are alive, or no longer than `seconds`."""
        deadline = time.monotonic() + seconds
        hopeful = time.monotonic() + _HOPE
        waiting = {instance.id: probe for instance in instances if (probe := _probe(instance))}
        serving = [instance for instance in instances if instance.many]
        while (waiting or serving) and time.monotonic() < deadline:
            time.sleep(_POLL)
            if waiting:
                answers = echo(waiting, _POLL)
                waiting = {name: probe for name, probe in waiting.items() if not answers[name].crossed}
                if time.monotonic() > hopeful:
                    # It has tried by now, and waits for its WAN or its server.
                    waiting = {name: probe for name, probe in waiting.items() if self._says(name) != _WAITING}
            serving = [instance for instance in serving if not self._serves(instance)]

    def _serves(self, instance: Instance) -> bool:
        link = self.kernel.link(instance.tun)
        return link is not None and link.carrier and self._says(instance.id) in _LISTENING

    def _says(self, name: str) -> str | None:
        return (self.ask(name) or {}).get("state")

    def _echo(self, probes: dict[str, Probe], answers: dict[str, dict[str, Any] | None]) -> dict[str, Echo]:
        """Probe all at the same time; where the daemon says that nothing can cross, a moment is long enough."""
        brief = {name: probe for name, probe in probes.items() if (answers[name] or {}).get("state") in _NOT_UP}
        full = {name: probe for name, probe in probes.items() if name not in brief}
        with ThreadPoolExecutor(max_workers=1) as pool:
            short = pool.submit(echo, brief, min(self.timeout, _BRIEF))
            return echo(full, self.timeout) | short.result()

    def _examine(self, instances: Sequence[Instance]) -> list[Tunnel]:
        state = self.kernel.read()
        outcome = repair.check(state, Selection("some", tuple(instances), self.selection.known))
        names = [instance.id for instance in instances]
        probes = {i.id: probe for i in instances if i.tun in state.links and (probe := _probe(i))}
        with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
            daemons = pool.map(self.ask, names)
            unit_states = units.states(names)
            answers = dict(zip(names, daemons, strict=True))
        echoes = self._echo(probes, answers)
        table = firewall.problem()
        common = [*([table] if table else []), *settings.problems(), *units.differing()]
        tunnels = []
        for instance, report in zip(instances, outcome.reports, strict=True):
            tunnel = Tunnel(
                instance,
                reasons=[*wans.reasons(instance, answers[instance.id], state), *report.problems, *common],
                found=[],
                unit=unit_states[instance.id].active if unit_states is not None else None,
                daemon=answers[instance.id],
                echo=echoes.get(instance.id),
            )
            tunnel.reasons += _unit_reasons(tunnel)
            if unit_states is not None:
                tunnel.reasons += unit_states[instance.id].problems
            tunnel.reasons += _service_reasons(tunnel, state) if instance.many else _life_reasons(tunnel)
            tunnels.append(tunnel)
        return tunnels


def _probe(instance: Instance) -> Probe | None:
    return Probe(instance.tun, str(instance.address.ip), instance.peer) if instance.peer else None


def restart_helps(tunnel: Tunnel, *, repairing: bool) -> bool:
    """Decide on a restart: only of a unit that exists, and only where packets could cross.

    A server cannot know whether its client is alive, so lost packets alone are no reason to restart it.
    """
    if tunnel.unit in {None, units.NOT_FOUND} or tunnel.codes & wans.CODES or tunnel.codes & HOPELESS:
        return False
    if tunnel.codes & {"unit_inactive", "daemon_silent", "config_stale"}:
        return True
    # A plan cannot know whether the repairs before it will already have brought the packets back.
    if repairing and tunnel.codes & repair.REPAIRABLE:
        return False
    return "tun_detached" in tunnel.codes or (tunnel.instance.client and "no_reply" in tunnel.codes)


def _unit_reasons(tunnel: Tunnel) -> Iterator[Problem]:
    """Yield what is wrong with the unit and its daemon."""
    instance = tunnel.instance
    name = units.unit(instance.id)
    if tunnel.unit is not None and tunnel.unit not in units.RUNNING:
        yield Problem("unit_inactive", f"{name} is {tunnel.unit}")
    elif tunnel.unit == "active" and tunnel.daemon is None:
        yield Problem("daemon_silent", f"{name} is active but its control socket does not answer")
    if tunnel.daemon and tunnel.daemon.get("config", instance.digest) != instance.digest:
        yield Problem("config_stale", f"{name} runs another configuration than {instance.id}.yaml, a restart loads it")


def _service_reasons(tunnel: Tunnel, state: HostState) -> Iterator[Problem]:
    """Yield why a server of many peers cannot serve them."""
    tun, daemon = state.links.get(tunnel.instance.tun), tunnel.daemon
    if daemon is None:
        yield Problem("not_up", "no daemon answers")
    elif daemon.get("state") not in _LISTENING:
        yield Problem("not_up", f"the daemon says {daemon.get('state')} ({daemon.get('reason')})")
    elif tun is not None and not tun.carrier:
        yield Problem("tun_detached", f"the daemon does not hold TUN {tun.name} ({daemon.get('reason')})")


def _life_reasons(tunnel: Tunnel) -> Iterator[Problem]:
    """Yield what the daemon and above all the echo say."""
    instance = tunnel.instance
    state = tunnel.daemon.get("state") if tunnel.daemon else None
    said = f"the daemon says {state} ({tunnel.daemon.get('reason')})" if tunnel.daemon else "no daemon answers"
    if instance.peer is None:
        if state != _UP:
            yield Problem("not_up", f"{said}, and {instance.address} has no single peer to ask")
        return
    if not instance.client and state == "listening":
        yield Problem("peer_away", f"no client is connected: {said}")
    elif tunnel.echo is None or not tunnel.echo.crossed:
        detail = [f"no echo from {instance.peer} through {instance.tun}"]
        if tunnel.echo and tunnel.echo.error:
            detail.append(tunnel.echo.error)
        detail.append(said)
        yield Problem("no_reply", ", ".join(detail))
