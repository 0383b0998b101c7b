# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. A VPS that serves the old beside the new until its clients have changed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over import values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.values import Config

    Running = Mapping[str, Mapping[str, Any]]


def serve(planned: Sequence[Mapping[str, Any]], running: Running, waiting: Collection[str] | None) -> dict[str, Any]:
    """Return what a VPS is to have now.

    ``planned`` are the instances of the plan, ``running`` those of the host (`running.running_instances`), and
    ``waiting`` the clients of the plan that have not changed over yet; None stands for all clients there ever were.

    Returns ``instances`` to write and run; ``demoted`` to write so that nothing is routed into them; ``kept``: ids that
    stay for now though they are not in the plan; ``stale``: ids that nobody needs any more as soon as routes lead
    elsewhere; and ``left``: whether there is more to do when the clients have changed over.
    """
    old = {name: found["config"] for name, found in running.items() if found["config"].get("role") == "server"}
    new = {str(item["id"]): item["config"] for item in planned}

    def settled(config: Config) -> bool:
        return waiting is not None and not any(_of(peer["name"], waiting) for peer in values.peers(config))

    kept = {
        name: config
        for name, config in old.items()
        if name not in new and not any(values.clash(config, other) for other in new.values())
    }
    final = {name for name, config in {**kept, **new}.items() if settled(config)}
    given = [prefix for name in final & new.keys() for prefix in values.led(new[name])]
    held = {
        name: [prefix for prefix in values.led(config) if not values.overlaps_any(prefix, given)]
        for name, config in old.items()
        if name not in final and (name in new or name in kept)
    }
    instances = []
    for item in planned:
        name = str(item["id"])
        if name in final:
            instances.append(dict(item))
            continue
        others = [prefix for other, prefixes in held.items() if other != name for prefix in prefixes]
        config = _beside(item["config"], old[name], new, name) if name in old else dict(item["config"])
        instances.append({**item, "config": _routed(config, held.get(name, []), others)})
    demoted = [
        {"id": name, "config": _demoted(config)}
        for name, config in kept.items()
        if values.led(config) and (name in final or len(held[name]) < len(values.led(config)))
    ]
    more = bool(kept.keys() - final) or any(
        one["config"] != item["config"] for one, item in zip(instances, planned, strict=True)
    )
    return {
        "instances": instances,
        "demoted": demoted,
        "kept": sorted(kept.keys() - final),
        "stale": sorted(kept.keys() & final),
        "left": more,
    }


def _of(peer: str, hosts: Collection[str]) -> bool:
    """Tell whether a peer is a tunnel of one of these hosts: it is called as the host, or as the host and a class."""
    return any(peer == host or peer.startswith(f"{host}.") for host in hosts)


def _beside(config: Config, old: Config, new: Mapping[str, Config], name: str) -> dict[str, Any]:
    """Return a planned configuration with what the running one serves and no other planned instance wants."""
    others = [other for key, other in new.items() if key != name]
    taken = {port for other in others for port in values.ports(other)} | {config["remote_port"]}
    nets = [address for other in others for address in values.addresses(other)]
    own = {values.alone(address) for address in values.addresses(config)}
    same_place = config.get("bind_ip") == old.get("bind_ip")
    ports = [port for port in values.ports(old) if same_place and port not in taken]
    cidrs = [
        address
        for address in values.addresses(old)
        if values.alone(address) not in own and not values.overlaps_any(address, nets)
    ]
    also = {**({"ports": ports} if ports else {}), **({"tun_cidrs": cidrs} if cidrs else {})}
    merged = {**config, **({"also": also} if also else {})}
    if "peers" in config:
        merged["peers"] = _peers(config["peers"], {peer["name"]: peer for peer in old.get("peers") or ()}, merged)
    return merged


def _peers(new: Sequence[Mapping[str, Any]], old: Mapping[str, Mapping[str, Any]], config: Config) -> list[Any]:
    """Return the planned peers with the prefixes that they have now, where nobody else is to have them."""
    taken = [prefix for peer in values.peers(config) for prefix in _prefixes(peer)]
    taken += [values.alone(address) for address in values.addresses(config)]
    found = []
    known = set(taken)
    for peer in new:
        before = old.get(peer["name"], {})
        more = {
            key: [p for p in before.get(key, ()) if p not in known and not values.overlaps_any(p, taken)]
            for key in ("allowed", "shared")
        }
        found.append({**peer, **{key: [*peer.get(key, ()), *extra] for key, extra in more.items() if extra}})
    return found


def _prefixes(peer: Mapping[str, Any]) -> list[str]:
    own = [f"{peer['address']}/32"] if "address" in peer else []
    return [*own, *(peer.get("allowed") or ()), *(peer.get("shared") or ())]


def _routed(config: dict[str, Any], held: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    """Return a configuration that is routed what it has, and what no other instance has; by ``standby`` if nothing."""
    wanted = values.lan(config).get("cidrs") or []
    cidrs = [*(prefix for prefix in wanted if not values.overlaps_any(prefix, [*others])), *held]
    cidrs = [prefix for prefix in dict.fromkeys(cidrs) if prefix in held or not values.overlaps_any(prefix, held)]
    if cidrs == wanted:
        return config
    routing = {**values.lan(config), "cidrs": sorted(cidrs)} if cidrs else {**values.lan(config), "standby": True}
    return {**config, "lan_routing": routing}


def _demoted(config: Config) -> dict[str, Any]:
    return {**config, "lan_routing": {**values.lan(config), "standby": True}}


def union(nft: Mapping[str, Any], instances: Sequence[Mapping[str, Any]], kept: Sequence[Config]) -> dict[str, Any]:
    """Return what the nft table has to do for the plan and, meanwhile, for what is served beside it."""
    configs = [*(item["config"] for item in instances), *kept]
    tuns = list(dict.fromkeys([*nft["tuns"], *(config["tun_name"] for config in configs)]))
    found = [*nft["masquerade"]]
    for config in configs:
        beside = values.addresses(config) if config in kept or "also" in config else []
        wanted = [*(str(values.network(address)) for address in beside), *(values.lan(config).get("cidrs") or ())]
        found += [prefix for prefix in wanted if not values.overlaps_any(prefix, found)]
    return {**nft, "tuns": tuns, "masquerade": found}
