# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. A client whose new tunnels stand by until they are up, and then take over the LANs of the old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over import values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.mpquic.tunnel.plugins.plugin_utils._change_over.values import Config

    Running = Mapping[str, Mapping[str, Any]]


def switch(planned: Sequence[Mapping[str, Any]], running: Running) -> dict[str, Any]:
    """Return the two steps by which a client takes over what is planned.

    ``planned`` are the instances of the plan, ``running`` those of the host (`running.running_instances`).

    Returns ``first`` and ``then``, each with ``instances`` to write and run and ``demoted`` to write so that nothing is
    led into them; ``standby``: ids that ``first`` makes stand by, to be waited for before ``then``, which is needed
    only where there are some; and ``kept``: ids that are not in the plan and stay until the VPS has changed over.
    """
    old = {name: found["config"] for name, found in running.items() if found["config"].get("role") == "client"}
    new = {str(item["id"]): item["config"] for item in planned}
    kept = {
        name: config
        for name, config in old.items()
        if name not in new and not any(values.clash(config, other) for other in new.values())
    }
    standby = {name for name, config in new.items() if _stands_by(old.get(name)) and _meets(config, kept.values())}
    running_on = [config for name, config in new.items() if name not in standby]
    # An instance that runs already cannot stand by: it takes a LAN at once.
    early = [name for name, config in kept.items() if _meets(config, running_on)]
    late = [name for name, config in kept.items() if values.led(config) and name not in early]
    first = [
        {**item, "config": _demoted(item["config"])} if str(item["id"]) in standby else dict(item) for item in planned
    ]
    return {
        "first": {"instances": first, "demoted": _all_demoted(early, kept)},
        "then": {"instances": [dict(item) for item in planned], "demoted": _all_demoted([*early, *late], kept)},
        "standby": sorted(standby),
        "kept": sorted(kept),
    }


def guarded(nft: Mapping[str, Any], configs: Sequence[Config]) -> dict[str, Any]:
    """Return what the nft table has to do, with guards that let a LAN leave by the TUNs of ``configs`` as well."""
    guards = []
    for guard in nft["guards"]:
        more = [
            config["tun_name"]
            for config in configs
            if values.lan(config).get("interface") == guard["interface"]
            and any(values.overlaps_any(prefix, guard["cidrs"]) for prefix in values.lan(config).get("cidrs", ()))
        ]
        guards.append({**guard, "tuns": list(dict.fromkeys([*guard["tuns"], *more]))})
    return {**nft, "guards": guards, "tuns": list(dict.fromkeys([*nft["tuns"], *(c["tun_name"] for c in configs)]))}


def _stands_by(config: Config | None) -> bool:
    """Tell whether an instance carries nothing yet: it is not there, or it stands by."""
    return config is None or bool(values.lan(config).get("standby"))


def _meets(config: Config, others: Any) -> bool:
    """Tell whether a LAN of an instance is led into another one as well."""
    taken = [prefix for other in others for prefix in values.led(other)]
    return any(values.overlaps_any(prefix, taken) for prefix in values.led(config))


def _all_demoted(names: Sequence[str], configs: Mapping[str, Config]) -> list[dict[str, Any]]:
    return [{"id": name, "config": _demoted(configs[name])} for name in sorted(names)]


def _demoted(config: Config) -> dict[str, Any]:
    return {**config, "lan_routing": {**values.lan(config), "standby": True}}
