# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What is on the page: each host's section, and what needs attention before all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import (
    answers,
    drawing,
    ends,
    live,
    overview,
    past,
    plain,
    plots,
    words,
)
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.answers import Host

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report.layout import Drawing

#: What is said of one host before all sections.
_FIRST = 6
#: Repairs of the watch that are told of one host.
_REPAIRS = 10
_QUESTIONS = {
    "status": "how its tunnels are",
    "doctor": "what is wrong",
    "history": "what it recorded",
    "watch": "what the watch repaired",
    "mark": "whether it is as the last run left it",
}


@dataclass(frozen=True)
class Item:
    """Something that needs attention."""

    tone: str
    host: str
    where: str
    message: str
    why: str
    mend: str


@dataclass(frozen=True)
class Quota:
    """What a WAN that is paid for by volume has used. ``percent`` is of its quota, None without one."""

    wan: str
    tone: str
    used: str
    quota: str
    percent: float | None
    period: str
    metered: bool


@dataclass(frozen=True)
class Difference:
    """Something that is not as planned, or was not; ``source`` is who says it."""

    source: str
    what: str


@dataclass(frozen=True)
class Section:
    """One host. ``drawing`` and ``plots`` are of clients, ``instances`` of VPS."""

    name: str
    role: str
    server: str
    clients: tuple[str, ...]
    host: Host
    note: str
    runs: str
    tone: str
    up: str
    lives: tuple[live.Live, ...]
    rows: tuple[live.Row, ...]
    findings: tuple[live.Finding, ...]
    complaints: tuple[str, ...]
    differences: tuple[Difference, ...]
    quotas: tuple[Quota, ...]
    events: tuple[past.Event, ...]
    event_count: int
    drawing: Drawing | None = None
    plots: tuple[tuple[plots.Plot, ...], ...] = ()
    instances: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Page:
    """All of it."""

    made: str
    sections: tuple[Section, ...]
    attention: tuple[Item, ...]
    more: tuple[str, ...]
    overview: Drawing | None
    summary: str
    warnings: tuple[str, ...]

    @property
    def clients(self) -> list[Section]:
        """The sections of the clients."""
        return [section for section in self.sections if section.role == "client"]

    @property
    def servers(self) -> list[Section]:
        """The sections of the VPS."""
        return [section for section in self.sections if section.role == "server"]


def page(plan: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]], now: float) -> Page:
    """Return the page of a site plan; ``seen`` is what the play brought back of each host, ``now`` Unix seconds."""
    hosts = plan["hosts"]
    said = {
        name: Host(answers.LEGACY, "it runs the Go implementation, and is left alone")
        if part["legacy"]
        else answers.read(seen.get(name))
        for name, part in hosts.items()
    }
    lives = {name: tuple(_lives(name, hosts, said)) for name, part in hosts.items() if part["role"] == "client"}
    sections = [_client(name, hosts, said, lives[name], now) for name in lives]
    sections += [_server(name, hosts, said, lives) for name in hosts if name not in lives]
    items = {section.name: list(_items(section)) for section in sections}
    attention = [item for found in items.values() for item in found[:_FIRST]]
    clients = [section for section in sections if section.role == "client"]
    return Page(
        made=words.moment(now),
        sections=tuple(sections),
        attention=tuple(sorted(attention, key=lambda item: -live.TONES.index(item.tone))),
        more=tuple(
            f"{name}: {len(found) - _FIRST} more, in its section"
            for name, found in items.items()
            if len(found) > _FIRST
        ),
        overview=_overview(sections, hosts) if len(clients) > 1 else None,
        summary=_summary(clients),
        warnings=tuple(plan["warnings"]),
    )


def _lives(name: str, hosts: Mapping[str, Any], said: Mapping[str, Host]) -> Iterator[live.Live]:
    server = hosts[name]["server"]
    for tunnel in ends.of_client(name, hosts):
        yield live.of_tunnel(tunnel, (name, said[name]), (server, said[server]))


def _client(
    name: str, hosts: Mapping[str, Any], said: Mapping[str, Host], lives: tuple[live.Live, ...], now: float
) -> Section:
    host, server = said[name], hosts[name]["server"]
    quotas = tuple(_quotas(host, hosts[name].get("wans", {}).get("wans", {})))
    series = [found for one in lives for found in past.of_tunnel(one.tunnel, host, said[server])]
    found = [plot for one in series for plot in [tuple(plots.of(one, now))] if one.steps]
    return _section(
        name,
        host,
        role="client",
        server=server,
        lives=lives,
        rows=tuple(row for one in lives for row in one.rows),
        quotas=quotas,
        drawing=drawing.draw(name, server, lives, {quota.wan: _of_wan(quota) for quota in quotas}) if lives else None,
        plots=tuple(found),
        up=f"{sum(one.whole.state == 'up' for one in lives)} of {len(lives)} up",
    )


def _server(
    name: str, hosts: Mapping[str, Any], said: Mapping[str, Host], lives: Mapping[str, Sequence[live.Live]]
) -> Section:
    host, clients = said[name], tuple(hosts[name]["clients"])
    owned = [one.tunnel for client in clients for one in lives[client]]
    rows: list[live.Row] = []
    for instance in hosts[name]["instances"]:
        id_ = str(instance["id"])
        rows += live.of_server(host, id_, [tunnel for tunnel in owned if tunnel.far_id == id_])
    up = sum(row.state in {"up", "listening"} for row in rows if row.name.startswith("tunnel "))
    return _section(
        name,
        host,
        role="server",
        clients=clients,
        rows=tuple(rows),
        instances=tuple(hosts[name]["instances"]),
        up=f"{up} of {len(hosts[name]['instances'])} up",
    )


def _section(name: str, host: Host, **more: Any) -> Section:
    findings = live.findings(host)
    events, count = past.events(host)
    rows: Sequence[live.Row] = more["rows"]
    tones = [row.tone for row in rows] + [one.tone for one in findings]
    # That it could not be asked is no good sign, whatever its VPS says.
    tones += [live.DOUBT if live.GOOD in tones else live.BAD] if host.state == answers.UNREACHABLE else []
    witness = {row.seen for row in rows if row.seen}
    note = {answers.UNREACHABLE: "cannot be reached", answers.UNASKED: "was not asked"}.get(host.state, "")
    note = f"{note}: {host.reason}" if note else host.reason
    if witness:
        note += f". What follows of its tunnels is what {words.listed(sorted(witness))} says"
    return Section(
        name=name,
        host=host,
        note=note,
        runs=", ".join(
            sorted({found for found in map(_release, plain.entries(host.said("status"), "instances")) if found})
        ),
        tone=live.worst(tones),
        findings=tuple(findings),
        complaints=tuple(f"it did not say {_QUESTIONS.get(key, key)}: {why}" for key, why in host.complaints.items()),
        differences=tuple(_differences(host)),
        events=tuple(events),
        event_count=count,
        **{"server": "", "clients": (), "lives": (), "quotas": (), **more},
    )


def _release(instance: plain.Entry) -> str:
    version, plane = plain.text(instance, "version"), plain.text(instance, "dataplane")
    return " ".join(filter(None, [version, f"({plane})" if plane else ""])) if version else ""


def _differences(host: Host) -> Iterator[Difference]:
    for text in host.changes or ():
        yield Difference("site.yml would change", text)
    for text in plain.texts(host.said("mark"), "faults"):
        yield Difference("since the last run", text)
    watch = host.said("watch")
    if watch.get("running") is False:
        yield Difference("the watch", "it does not run, so nothing that is taken away comes back")
    for one in plain.entries(watch, "remaining"):
        yield Difference("the watch could not repair", _drift(one))
    for one in reversed(plain.entries(watch, "repairs")[-_REPAIRS:]):
        yield Difference(f"the watch repaired at {words.moment(plain.number(one, 'at'))}", _drift(one))


def _drift(one: plain.Entry) -> str:
    tunnel = plain.text(one, "tunnel")
    return f"{'tunnel ' + tunnel if tunnel else 'host'}: {plain.text(one, 'message')}"


def _quotas(host: Host, planned: Mapping[str, Mapping[str, Any]]) -> Iterator[Quota]:
    told = {plain.text(one, "wan"): one for one in plain.entries(host.said("status"), "wans")}
    for wan, meter in planned.items():
        one = told.get(wan, {})
        tones = {"ok": live.GOOD, "warn": live.DOUBT, "full": live.BAD}
        quota = plain.number(one, "quota_bytes") or meter.get("quota")
        since, until = plain.text(one, "since"), plain.text(one, "until")
        yield Quota(
            wan=wan,
            tone=tones.get(plain.text(one, "level"), live.UNKNOWN),
            used=words.volume(plain.number(one, "used_bytes")),
            quota=words.volume(quota),
            percent=plain.number(one, "percent"),
            period=f"{since} to {until}" if since else f"from day {meter.get('billing_day', 1)} of each month",
            metered=bool(meter.get("metered")),
        )


def _of_wan(quota: Quota) -> list[str]:
    said = [f"{quota.used} of {quota.quota}"] if quota.quota != words.NONE else []
    return [*said, *(["kept as a backup"] if quota.metered else [])]


def _items(section: Section) -> Iterator[Item]:
    """Yield what needs attention of a host, the worst first."""
    if section.host.state == answers.UNREACHABLE:
        yield Item(
            live.BAD,
            section.name,
            "",
            f"cannot be reached: {section.host.reason}",
            "",
            f"ansible {section.name} -m ping",
        )
    for one in section.findings:
        yield Item(one.tone, section.name, one.where, one.message, one.why, one.mend)
    yield from _unexplained(section)
    for quota in section.quotas:
        if quota.tone in {live.DOUBT, live.BAD}:
            yield Item(live.DOUBT, section.name, f"WAN {quota.wan}", f"{quota.used} of {quota.quota} used", "", "")
    for complaint in section.complaints:
        yield Item(live.DOUBT, section.name, "", complaint, "", "")
    changes = section.host.changes
    if changes:
        what = words.counted(len(changes), "change")
        yield Item(
            live.DOUBT,
            section.name,
            "",
            f"not as planned: {what} to make",
            "",
            "ansible-playbook site.yml --check --diff",
        )


def _unexplained(section: Section) -> Iterator[Item]:
    """Yield tunnels and paths that are down by their status, and of which no finding says why."""
    told = {one.where for one in section.findings}
    for one in section.lives:
        for row in one.rows:
            where = one.tunnel.title if row is one.whole else f"{one.tunnel.title}, path {row.name}"
            if row.tone == live.BAD and where.replace("class ", "tunnel ") not in told:
                seen = f", as {row.seen} sees it" if row.seen else ""
                reason = f": {row.fault}" if row.fault != words.NONE else ""
                yield Item(live.BAD, section.name, where, f"{row.state}{seen}{reason}", "", "")


def _overview(sections: Sequence[Section], hosts: Mapping[str, Any]) -> Drawing:
    sites = [overview.Site(one.name, one.server, _short(one), one.tone) for one in sections if one.role == "client"]
    servers = {one.name: (_address(one.name, hosts), one.tone) for one in sections if one.role == "server"}
    return overview.draw(sites, servers)


def _short(section: Section) -> str:
    short = {answers.LEGACY: "not ours", answers.UNREACHABLE: f"not reached · {section.up}"}
    return short.get(section.host.state, section.up)


def _address(name: str, hosts: Mapping[str, Any]) -> str:
    """Return the address at which clients reach a VPS, an empty text where nobody does."""
    return next(
        (tunnel.remote for client in hosts[name]["clients"] for tunnel in ends.of_client(client, hosts)),
        "",
    )


def _summary(clients: Sequence[Section]) -> str:
    well = sum(section.tone == live.GOOD for section in clients)
    away = sum(section.host.state == answers.UNREACHABLE for section in clients)
    said = [f"{well} of {words.counted(len(clients), 'site')} well"]
    return ", ".join(said + ([f"{away} not reached"] if away else []))
