# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts of a plan would answer to the questions of playbooks/report.yml, made by the code that answers there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import jsonschema
import yaml
from mpquic.cli import doctor, main
from mpquic.host.doctor.finding import finding
from mpquic.host.history import store
from mpquic.host.history.changes import Event
from mpquic.host.history.figures import Minute, Series
from mpquic.host.history.usage import Usage

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "docs/status.schema.json").read_text())
NOW = 1_800_000_000.0
COUNTS = {"tx_packets": 10, "rx_packets": 20, "tx_bytes": 1000, "rx_bytes": 2000}


def inventory(folder):
    """Return groups and variables of an inventory of the repository."""
    found = yaml.safe_load((folder / "hosts.yml").read_text())["all"]["children"]
    groups = {name: list(group["hosts"]) for name, group in found.items()}
    hosts = [host for group in groups.values() for host in group]
    return groups, {host: yaml.safe_load((folder / f"host_vars/{host}.yml").read_text()) for host in hosts}


def end(**more):
    """Return what every end has in a status."""
    return {
        "state": "up",
        "reason": "connected",
        "since_s": 93784.0,
        "drops": {},
        "rtt_ms": 31.25,
        "mtu": 1441,
        "last_fault": None,
        "recent": {"tx_bps": 4_100_000, "rx_bps": 23_400_000, "loss": 0.0, "judged": 100},
        **COUNTS,
        **more,
    }


def path(name, number, bind="if:enp7s3", **more):
    """Return a path of a status."""
    own = {"name": name, "number": number, "priority": 10, "weight": 1, "loss": 0.0, "peer_loss": 0.0}
    return end(bind=bind, local=f"192.0.2.{10 + number}:41300", **own, **more)


def client_status(part):
    """Return the status of a client on which all is well."""
    found = []
    for instance in part["instances"]:
        config = instance["config"]
        entry = end(id=str(instance["id"]), role="client", tun=config["tun_name"], version="0.1.0", dataplane="native")
        if "multipath_paths" in config:
            entry["paths"] = [
                path(told["name"], number, told["bind_ip"]) for number, told in enumerate(config["multipath_paths"])
            ]
        else:
            entry |= {"bind": config["bind_ip"], "local": f"192.0.2.{100 + len(found)}:41300"}
        found.append(entry)
    return {"instances": found, "wans": [], "host": []}


def server_status(part):
    """Return the status of a VPS on which all is well."""
    found = []
    for instance in part["instances"]:
        peers = [
            end(
                name=told["name"],
                address=told["allowed"][0].split("/")[0],
                allowed=told["allowed"],
                shared=[],
                legacy=False,
            )
            for told in instance["config"].get("peers", [])
        ]
        found.append(end(id=str(instance["id"]), role="server", state="listening", peers=peers))
    return {"instances": found, "wans": [], "host": []}


def status_of(part):
    """Return the status of a host on which all is well."""
    return client_status(part) if part["role"] == "client" else server_status(part)


def usage(wan, percent, level, **more):
    """Return what a WAN has used, as the recorder tells it."""
    quota = 50_000_000_000
    used = round(quota * percent / 100)
    fields = {"since": "2027-01-12", "until": "2027-02-12", "rx_bytes": used, "tx_bytes": 0, "used_bytes": used}
    fields |= {"quota_bytes": quota, "percent": percent, "warn": (80, 95), "warned": None, "level": level}
    return json.loads(json.dumps(asdict(Usage(wan=wan, interface=wan, **({"metered": True} | fields | more)))))


def doctor_of(*found):
    """Return what ``mpquic doctor --json`` prints of findings: arguments of mpquic.host.doctor.finding.finding."""
    told = [doctor._entry(finding(where, code, message, **names)) for where, code, message, names in found]
    return {"schema": 1, "healthy": not told, "tunnels": [], "findings": told}


def history_of(folder, part, capsys, *, events=(), down=(), hours=24):
    """Return what ``mpquic history`` prints of a store with a day of figures for each series of a host."""
    file = folder / "history.db"
    file.unlink(missing_ok=True)
    minutes = []
    last = int(NOW // 60)
    for series, number in [(series, n) for n, series in enumerate(series_of(part))]:
        for minute in range(last - 60 * hours, last):
            hour = (minute - last) / 60
            away = any(begin <= -hour < over for begin, over in down)
            wave = 0.0 if away else abs(((minute // 15 * 7 + number * 13) % 40) - 20) / 20 + 0.2
            found = Minute(series, minute)
            found.counts = [int(3e6 * wave), int(2e7 * wave), 1000, 1000]
            found.rtts = [] if away or series.kind == "class" else [30 + 10 * wave, 60 + 40 * wave]
            found.losses = [0.01]
            found.up_s, found.down_s = (0.0, 60.0) if away else (60.0, 0.0)
            if number == 1 and -4 < hour < -3:
                found.up_s, found.doubt_s = 30.0, 30.0
            minutes.append(found)
    kept = store.Store(file)
    with kept.transaction() as connection:
        kept.add(connection, minutes, events)
    kept.close()
    since, until = ("2027-01-14 08:00", "2027-01-15 08:00")
    capsys.readouterr()
    code = main(["history", "--json", "--step", "15min", "--since", since, "--until", until, "--history", str(file)])
    told = capsys.readouterr().out
    assert code == 0
    return json.loads(told)


def series_of(part):
    """Return the series that a host records."""
    for instance in part["instances"]:
        name = str(instance["id"])
        yield Series(name, "", "tunnel", "")
        for told in instance["config"].get("multipath_paths", []):
            yield Series(name, "", "path", told["name"])
        for told in instance["config"].get("dataplane", {}).get("classes", {}):
            yield Series(name, "", "class", told)


def event(hours, kind, what, reason="", **of):
    """Return an event so many hours ago."""
    return Event(NOW - 3600 * hours, kind, what, reason, **of)


def well():
    """Return the answers of a host on which all is well, but for its status and its history."""
    return {
        "doctor": doctor_of(),
        "watch": {"running": True, "repairs": [], "remaining": []},
        "mark": {"plan": "aa", "pins": {}, "own": ["sha256:" + "ab" * 32], "faults": []},
    }


def brought(said, *, failed=None, changes=()):
    """Return what the play brings back of a host that gave these answers, and failed at others."""
    valid = jsonschema.Draft202012Validator(SCHEMA)
    if "status" in said:
        valid.validate(said["status"])
    results = [
        {"item": {"name": name}, "rc": 0, "stdout": json.dumps(told), "stderr": ""} for name, told in said.items()
    ]
    results += [{"item": {"name": name}, "stdout": "", **how} for name, how in (failed or {}).items()]
    return {"reached": {"ping": "pong"}, "answers": {"results": results}, "changes": list(changes)}


def unreached(why="Failed to connect to the host via ssh: No route to host"):
    """Return what the play brings back of a host that it could not reach."""
    return {"reached": {"unreachable": True, "msg": why}}
