# SPDX-License-Identifier: GPL-3.0-or-later
"""From the status of an instance to the values of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpquic.io import symptoms
from mpquic.metrics.bounds import MAX_CLASSES, MAX_PATHS, MAX_PEERS, reasons
from mpquic.metrics.table import PATH_STATES, TUNNEL_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpquic.metrics.bounds import Names
    from mpquic.metrics.families import Families

    Entry = Mapping[str, Any]

_CARRYING = {"up", "probation", "lossy"}


class Tunnels:
    """Fills the metrics of tunnels, peers, paths and classes."""

    def __init__(self, families: Families, names: Names) -> None:
        """Put values into ``families``; ``names`` bounds what peers call their paths and classes."""
        self._families = families
        self._names = names

    def add(self, tunnel: str, found: Entry | None, digest: str | None) -> None:
        """Take the status of an instance, None where it gave none; ``digest`` is that of its file, if it is known."""
        add = self._families.add
        add("mpquic_tunnel_answering", float(found is not None), tunnel)
        up = found is not None and found["state"] == "up"
        add("mpquic_tunnel_up", float(up), tunnel)
        state = found["state"] if found is not None else "down"
        self._families.add_states("mpquic_tunnel_state", state, TUNNEL_STATES, tunnel)
        if found is None:
            return
        role, tun, bind, version = (found.get(key) for key in ("role", "tun", "bind", "version"))
        add("mpquic_tunnel_info", 1, tunnel, role, tun, bind, version)
        config = found.get("config")
        if config is not None:
            add("mpquic_tunnel_config_info", 1, tunnel, config)
            add("mpquic_tunnel_config_current", float(config == digest) if digest is not None else None, tunnel)
        add("mpquic_tunnel_state_age_seconds", found.get("since_s"), tunnel)
        add("mpquic_tunnel_start_time_seconds", found.get("started_at"), tunnel)
        add("mpquic_tunnel_mtu_bytes", found.get("mtu"), tunnel)
        add("mpquic_tunnel_outage_seconds_total", found.get("outage_s"), tunnel)
        add("mpquic_tunnel_outages_total", found.get("falls"), tunnel)
        add("mpquic_tunnel_handshakes_total", found.get("handshakes"), tunnel)
        add("mpquic_tunnel_connections_total", found.get("connects"), tunnel)
        for reason, count in reasons(found.get("refusals", {})).items():
            add("mpquic_tunnel_refusals_total", count, tunnel, reason)
        for result in ("done", "failed"):
            add("mpquic_tunnel_reloads_total", found.get("reloads", {}).get(result), tunnel, result)
        self._carried("tunnel", found, tunnel)
        if role == "server":
            for peer in found.get("peers", [])[:MAX_PEERS]:
                self._peer(tunnel, peer, bind)
        else:
            self._paths(tunnel, "", found)

    def _peer(self, tunnel: str, peer: Entry, bind: object) -> None:
        add, labels = self._families.add, (tunnel, peer["name"])
        add("mpquic_peer_up", float(peer["state"] == "up"), *labels)
        add("mpquic_peer_outage_seconds_total", peer.get("outage_s"), *labels)
        add("mpquic_peer_connections_total", peer["connects"], *labels)
        self._carried("peer", peer, *labels)
        # The client's connection is another end of the same path.
        self._paths(tunnel, peer["name"], {**peer, "state": peer["state"].replace("waiting", "down"), "bind": bind})

    def _paths(self, tunnel: str, peer: str, found: Entry) -> None:
        """Take the paths and classes of one end of a tunnel; what has no list of them is a path itself."""
        paths = found.get("paths")
        if paths is None:
            self._path((tunnel, peer, ""), found)
            return
        labels = {path["number"]: self._name(tunnel, peer, "path", path) for path in paths[:MAX_PATHS]}
        for path in paths[:MAX_PATHS]:
            self._path((tunnel, peer, labels[path["number"]]), path)
        for number, one in enumerate(found.get("classes", [])[:MAX_CLASSES]):
            self._class(tunnel, peer, self._name(tunnel, peer, "class", {"number": number, **one}), one, labels)
        self._reorder(tunnel, peer, found.get("reorder", {}))

    def _path(self, labels: tuple[str, str, str], found: Entry) -> None:
        add, families = self._families.add, self._families
        state = found["state"] if found["state"] in PATH_STATES else "down"
        add("mpquic_path_info", 1, *labels, found.get("bind"), found.get("priority"), found.get("weight"))
        add("mpquic_path_up", float(state in _CARRYING), *labels)
        families.add_states("mpquic_path_state", state, PATH_STATES, *labels)
        add("mpquic_path_state_age_seconds", found.get("since_s"), *labels)
        add("mpquic_path_outage_seconds_total", found.get("outage_s"), *labels)
        add("mpquic_path_switches_total", found.get("switches", found.get("falls")), *labels)
        self._carried("path", found, *labels)
        rtt = found.get("rtt_ms")
        add("mpquic_path_smoothed_rtt_seconds", rtt / 1000 if rtt is not None else None, *labels)
        add("mpquic_path_loss_ratio", found.get("loss"), *labels, "sent")
        add("mpquic_path_loss_ratio", found.get("peer_loss"), *labels, "received")
        add("mpquic_path_datagram_bytes", found.get("datagram"), *labels)
        faults = {found.code for found in symptoms.symptoms(dict(found))} if state in _CARRYING else set()
        for code in symptoms.CODES:
            add("mpquic_path_fault", float(code in faults), *labels, code)
        if "held_to_bps" in found:
            add("mpquic_path_breaker_open", float(found["held_to_bps"] is not None), *labels)
        self._figures(labels, found.get("figures", {}))

    def _figures(self, labels: tuple[str, str, str], figures: Entry) -> None:
        add = self._families.add
        self._families.add_histogram(
            "mpquic_path_rtt_seconds", figures.get("rtt_counts", ()), figures.get("rtt_total_s", 0), *labels
        )
        add("mpquic_path_judged_packets_total", figures.get("judged"), *labels)
        add("mpquic_path_acknowledged_packets_total", figures.get("acknowledged"), *labels)
        add("mpquic_path_queue_packets", figures.get("queue_packets"), *labels)
        add("mpquic_path_queue_bytes", figures.get("queue_bytes"), *labels)
        add("mpquic_path_queue_age_seconds", figures.get("queue_age_s"), *labels)
        add("mpquic_path_key_updates_total", figures.get("key_updates"), *labels)

    def _class(self, tunnel: str, peer: str, name: str, found: Entry, paths: Mapping[int, str]) -> None:
        add, labels = self._families.add, (tunnel, peer, name)
        add("mpquic_class_unsent_packets_total", found["tx_err"], *labels)
        add("mpquic_class_copies_total", found["tx_dups"], *labels)
        add("mpquic_class_duplicates_total", found["rx_dups"], *labels)
        for share in found.get("paths", [])[:MAX_PATHS]:
            path = paths.get(share["number"])
            if path is None:
                continue
            for direction, key in (("sent", "tx"), ("received", "rx")):
                add("mpquic_class_packets_total", share[f"{key}_packets"], *labels, path, direction)
                add("mpquic_class_bytes_total", share[f"{key}_bytes"], *labels, path, direction)

    def _reorder(self, tunnel: str, peer: str, found: Entry) -> None:
        add = self._families.add
        add("mpquic_reorder_waiting_packets", found.get("waiting"), tunnel, peer)
        add("mpquic_reorder_held_packets_total", found.get("held"), tunnel, peer)
        add("mpquic_reorder_gaps_given_up_total", found.get("given_up"), tunnel, peer)

    def _carried(self, scope: str, found: Entry, *labels: str) -> None:
        """Take what was carried and refused; ``scope`` is in the names of the metrics."""
        add = self._families.add
        for direction, key in (("sent", "tx"), ("received", "rx")):
            add(f"mpquic_{scope}_packets_total", found.get(f"{key}_packets"), *labels, direction)
            add(f"mpquic_{scope}_bytes_total", found.get(f"{key}_bytes"), *labels, direction)
        for reason, count in reasons(found.get("drops", {})).items():
            add(f"mpquic_{scope}_dropped_packets_total", count, *labels, reason)

    def _name(self, tunnel: str, peer: str, kind: str, found: Entry) -> str:
        """Return the name of a path or class; a client's are in its configuration."""
        name: str = found["name"]
        return self._names.of((tunnel, peer, kind), name, found["number"]) if peer else name


def owners(statuses: Mapping[str, Entry | None]) -> set[tuple[str, ...]]:
    """Return who has names of its own choice, as Tunnels calls them."""
    peers: Sequence[tuple[str, str]] = [
        (tunnel, peer["name"])
        for tunnel, found in statuses.items()
        for peer in (found or {}).get("peers", [])[:MAX_PEERS]
    ]
    return {(*peer, kind) for peer in peers for kind in ("path", "class")}
