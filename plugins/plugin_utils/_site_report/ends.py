# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. The tunnels of a site plan, each with what both of its ends have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._match_text import match_text, value_text

Part = Mapping[str, Any]

TUNNEL, CLASS, MULTIPATH = "tunnel", "class", "multipath"


@dataclass(frozen=True)
class Lan:
    """A LAN interface of a client, and the prefixes behind it that go into a tunnel."""

    name: str
    cidrs: tuple[str, ...]


@dataclass(frozen=True)
class Path:
    """A WAN by which a tunnel leaves. ``name`` is empty where there is one only; ``rate`` is what may be sent there."""

    name: str
    wan: str
    rate: str = ""
    priority: int | None = None
    weight: int | None = None


@dataclass(frozen=True)
class Tunnel:
    """A tunnel, a class or a multipath tunnel.

    ``id`` is its instance on the client, ``far_id`` that on the VPS (empty where that is not ours) and ``peer`` how
    that one calls the client. ``takes`` is which packets of its LANs go into it. Addresses have prefix lengths.
    """

    kind: str
    id: str
    far_id: str
    peer: str
    lans: tuple[Lan, ...]
    takes: tuple[str, ...]
    tun: str
    far_tun: str
    addresses: tuple[str, ...]
    far_addresses: tuple[str, ...]
    remote: str
    port: int
    mtu: int
    table: int
    priority: int
    mark: int | None
    paths: tuple[Path, ...]
    policy: str = ""

    @property
    def title(self) -> str:
        """How an operator calls it."""
        return f"{'class' if self.kind == CLASS else 'tunnel'} {self.id}"


def of_client(name: str, hosts: Mapping[str, Part]) -> list[Tunnel]:
    """Return the tunnels of a client, in the order of the plan."""
    part = hosts[name]
    far_part = hosts.get(part["server"], {})
    far = {instance["config"]["remote_port"]: instance for instance in far_part.get("instances", [])}
    links = part.get("classes", {}).get("links", [])
    classes = {found["tun"]: (link, found) for link in links for found in link["classes"]}
    found = []
    for instance in part["instances"]:
        config = instance["config"]
        first = config.get("multipath_paths", [config])[0]
        found.append(_tunnel(name, instance, far.get(first["remote_port"], {}), classes.get(config["tun_name"])))
    return found


def _tunnel(client: str, instance: Part, far: Part, link: tuple[Part, Part] | None) -> Tunnel:
    config, led = instance["config"], instance["config"]["lan_routing"]
    far_config = far.get("config", {})
    paths = config.get("multipath_paths")
    first = paths[0] if paths else config
    return Tunnel(
        kind=CLASS if link else MULTIPATH if paths else TUNNEL,
        id=str(instance["id"]),
        far_id=str(far.get("id", "")),
        peer=f"{client}.{config['tun_name']}" if link else client,
        lans=tuple(_lans(led, link)),
        takes=tuple(_takes(config, link)),
        tun=config["tun_name"],
        far_tun=far_config.get("tun_name", ""),
        addresses=_addresses(config),
        far_addresses=_addresses(far_config),
        remote=first["remote_addr"],
        port=first["remote_port"],
        mtu=config["tun_mtu"],
        table=led["table"],
        priority=led["priority"],
        mark=led.get("mark"),
        paths=tuple(map(_path, paths)) if paths else (Path("", _wan(config), config.get("rate", "")),),
        policy=config.get("multipath_policy", ""),
    )


def _path(found: Part) -> Path:
    rates = [f"{found[key]} {way}" for key, way in (("rate", "up"), ("rate_down", "down")) if key in found]
    return Path(found["name"], _wan(found), ", ".join(rates), found["priority"], found["weight"])


def _wan(end: Part) -> str:
    return str(end["bind_ip"]).removeprefix("if:")


def _addresses(config: Part) -> tuple[str, ...]:
    return tuple(str(config[key]) for key in ("tun_cidr", "tun_cidr6") if key in config)


def _lans(led: Part, link: tuple[Part, Part] | None) -> Iterator[Lan]:
    if link is None:
        yield Lan(led["interface"], tuple(led["cidrs"]))
        return
    for lan in link[0]["lans"]:
        yield Lan(lan["interface"], (*lan["cidrs4"], *lan["cidrs6"]))


def _takes(config: Part, link: tuple[Part, Part] | None) -> Iterator[str]:
    """Yield which packets go into a class, or into which class of a multipath tunnel which packets go."""
    if link is not None:
        yield from (match_text(match) for match in link[1]["matches"])
        if link[0]["default"] == link[1]["name"]:
            yield "all else"
        return
    plane = config.get("dataplane", {})
    for classifier in plane.get("classifiers", []):
        match = {key: value for key, value in classifier.items() if key not in {"class", "name"}}
        yield f"{classifier['class']}: {match_text(match)}"
    for name, found in plane.get("classes", {}).items():
        said = [f"{key.replace('_', ' ')} {value_text(value)}" for key, value in found.items()]
        rest = ["all else"] if name == plane.get("default_class") or len(plane["classes"]) == 1 else []
        if rest or said:
            yield f"{name}: {'; '.join([*rest, *said])}"
