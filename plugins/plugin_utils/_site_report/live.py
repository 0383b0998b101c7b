# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. How tunnels and paths are: what the daemons and ``mpquic doctor`` of their ends say, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import ends, plain, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.answers import Host

GOOD, DOUBT, BAD, UNKNOWN = "good", "doubt", "bad", "unknown"
TONES = (GOOD, UNKNOWN, DOUBT, BAD)
"""From best to worst."""
#: States as the daemon calls them; all others are bad.
_GOOD, _DOUBT = {"up", "listening"}, {"probation", "lossy", "suspect", "connecting"}
_LEVELS = {"fail": BAD, "warn": DOUBT}
#: Seconds after which a fault that is over is told no more, as `mpquic status` does.
_OLD = 86400.0


@dataclass(frozen=True)
class Finding:
    """What ``mpquic doctor`` says is wrong."""

    tone: str
    where: str
    message: str
    why: str
    mend: str


@dataclass(frozen=True)
class Row:
    """A tunnel, peer or path in words. ``seen`` is the host that says it, empty for nobody."""

    name: str
    tone: str = UNKNOWN
    state: str = "not known"
    since: str = words.NONE
    rtt: str = words.NONE
    loss: str = words.NONE
    tx: str = words.NONE
    rx: str = words.NONE
    mtu: str = words.NONE
    fault: str = words.NONE
    local: str = ""
    seen: str = ""


@dataclass(frozen=True)
class Live:
    """A tunnel of the plan, and how it is: as a whole, and by the name of each path."""

    tunnel: ends.Tunnel
    whole: Row
    paths: Mapping[str, Row]

    @property
    def rows(self) -> list[Row]:
        """All of it, for a table."""
        return [self.whole, *self.paths.values()]

    @property
    def worst(self) -> str:
        """The worst tone of it."""
        return worst(row.tone for row in self.rows)

    def path(self, name: str) -> Row:
        """Return how a path is; that of a tunnel with one path is the tunnel."""
        return self.paths.get(name, self.whole)


def worst(tones: Iterator[str] | Sequence[str]) -> str:
    """Return the worst of some tones."""
    return max(tones, key=TONES.index, default=UNKNOWN)


def findings(host: Host) -> list[Finding]:
    """Return what is wrong with a host, the worst first; notes are left out."""
    found = [
        Finding(
            _LEVELS[plain.text(one, "level")],
            plain.text(one, "where"),
            plain.text(one, "message"),
            plain.text(one, "why"),
            plain.text(one, "mend"),
        )
        for one in plain.entries(host.said("doctor"), "findings")
        if plain.text(one, "level") in _LEVELS
    ]
    return sorted(found, key=lambda one: -TONES.index(one.tone))


def of_tunnel(tunnel: ends.Tunnel, client: tuple[str, Host], server: tuple[str, Host]) -> Live:
    """Return how a tunnel is, as the client says it; where it says nothing, as the VPS does."""
    name, host = client
    entry = _by(host.said("status"), "instances", "id", tunnel.id)
    if entry is None:
        name, host = server
        entry = _peer(host, tunnel)
    own_id = tunnel.id if host is client[1] else tunnel.far_id
    said = findings(host)
    several = [path.name for path in tunnel.paths if path.name]
    if entry is None:
        return Live(tunnel, Row(tunnel.title), {path: Row(path) for path in several})
    seen = "" if host is client[1] else name
    paths = {}
    for path in several:
        found = _by(entry, "paths", "name", path)
        where = f"tunnel {own_id}, path {path}"
        paths[path] = _row(path, found, said, where, seen) if found is not None else Row(path)
    return Live(tunnel, _row(tunnel.title, entry, said, f"tunnel {own_id}", seen), paths)


def of_server(host: Host, instance: str, owned: Sequence[ends.Tunnel]) -> list[Row]:
    """Return how an instance of a VPS is, and each of its planned peers."""
    entry = _by(host.said("status"), "instances", "id", instance)
    rows = [Row(f"tunnel {instance}")] if entry is None else []
    if entry is not None:
        rows.append(_row(f"tunnel {instance}", entry, findings(host), f"tunnel {instance}", ""))
    for tunnel in owned:
        peer = _peer(host, tunnel)
        rows.append(Row(tunnel.peer) if peer is None else _row(tunnel.peer, peer, [], "", ""))
    return rows


def _peer(host: Host, tunnel: ends.Tunnel) -> plain.Entry | None:
    entry = _by(host.said("status"), "instances", "id", tunnel.far_id)
    return None if entry is None else _by(entry, "peers", "name", tunnel.peer)


def _by(entry: plain.Entry, what: str, key: str, wanted: str) -> plain.Entry | None:
    return next((one for one in plain.entries(entry, what) if wanted and plain.text(one, key) == wanted), None)


def _row(name: str, entry: plain.Entry, said: Sequence[Finding], where: str, seen: str) -> Row:
    recent = plain.inner(entry, "recent")
    state = plain.text(entry, "state") or "not known"
    about = [one for one in said if one.where == where]
    row = Row(
        name=name,
        tone=worst([_tone(state), *(one.tone for one in about)]),
        state=state,
        since=words.duration(plain.number(entry, "since_s")),
        rtt=words.milliseconds(plain.number(entry, "rtt_ms")),
        loss=words.share(_loss(entry)),
        tx=words.rate(plain.number(recent, "tx_bps")),
        rx=words.rate(plain.number(recent, "rx_bps")),
        mtu=plain.text(entry, "mtu") or words.NONE,
        fault=_fault(entry, state, about),
        local=plain.text(entry, "local").rpartition(":")[0],
        seen=seen,
    )
    # The VPS counts from its end.
    return replace(row, tx=row.rx, rx=row.tx) if seen else row


def _tone(state: str) -> str:
    return GOOD if state in _GOOD else DOUBT if state in _DOUBT else BAD


def _loss(entry: plain.Entry) -> float | None:
    """Return what was lost of late: of a path the worse of both directions, of one connection what it sends."""
    both = [share for share in (plain.number(entry, "loss"), plain.number(entry, "peer_loss")) if share is not None]
    return max(both, default=plain.number(plain.inner(entry, "recent"), "loss"))


def _fault(entry: plain.Entry, state: str, about: Sequence[Finding]) -> str:
    if about:
        return "; ".join(one.message for one in about)
    if _tone(state) != GOOD:
        return plain.text(entry, "reason") or words.NONE
    last = plain.inner(entry, "last_fault")
    ago = plain.number(last, "ago_s")
    if ago is not None and ago < _OLD:
        return f"{words.duration(ago)} ago: {plain.text(last, 'reason')}"
    return words.NONE
