# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect to a server: the lists ``peers`` and ``legacy_peers``, and what must hold between their entries."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mpquic.config import explain, fields
from mpquic.config.errors import quoted
from mpquic.config.model import LegacyPeerConfig, PeerConfig
from mpquic.config.prefixes import overlaps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mpquic.config.model import InstanceConfig
    from mpquic.config.prefixes import IPNetwork

_KINDS: dict[str, type[PeerConfig | LegacyPeerConfig]] = {"peers": PeerConfig, "legacy_peers": LegacyPeerConfig}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of either list: how messages call it, and those of its keys that are right."""

    label: str
    valid: Mapping[str, Any]

    def prefixes(self) -> Iterator[tuple[IPNetwork, str]]:
        """Yield what the entry owns, each with its name in messages."""
        if "address" in self.valid:
            yield ipaddress.ip_network(self.valid["address"]), f"{self.label}: address"
        for index, prefix in enumerate(self.valid.get("allowed", ())):
            yield prefix, f"{self.label}: allowed[{index}]"

    def shared(self) -> Iterator[tuple[IPNetwork, str]]:
        """Yield what the entry has together with others, each with its name in messages."""
        for index, prefix in enumerate(self.valid.get("shared", ())):
            yield prefix, f"{self.label}: shared[{index}]"


def take(rest: dict[str, Any]) -> tuple[list[Entry], list[str]]:
    """Replace both lists in ``rest`` by tuples of their right entries, and return all entries and the faults in them.

    One after the other, so that the checks across entries see what is right beside what is wrong.
    """
    entries: list[Entry] = []
    errors: list[str] = []
    for key, model in _KINDS.items():
        # A key without a value is an empty list; what is no list is left to the model to refuse.
        given = [] if rest.get(key) is None else rest[key]
        if not isinstance(given, list):
            continue
        found = []
        for index, raw in enumerate(given):
            label = _label(f"{key}[{index}]", raw)
            valid: dict[str, Any] = {}
            entries.append(Entry(label, valid))
            if not isinstance(raw, dict):
                errors.append(f"{label}: found {quoted(raw)}, expected a mapping of {', '.join(explain.keys(model))}")
                continue
            try:
                found.append(model.model_validate(raw, context=valid))
            except ValidationError as error:
                errors += explain.lines(error, model, f"{label}: ")
            if model is PeerConfig and not raw.get("pins") and not raw.get("cert_names"):
                errors.append(
                    f"{label}: pins: missing, expected a list of sha256: and 64 hex digits "
                    "(mpquic identity ensure on the peer), or cert_names with tls_ca_file"
                )
        rest[key] = tuple(found)
    return entries, errors


def _label(place: str, raw: object) -> str:
    try:
        return f"{place} ({fields.peer_name(raw.get('name') if isinstance(raw, dict) else None)})"
    except ValueError:
        return place


def across(entries: Sequence[Entry], valid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for every contradiction between entries, or of an entry with other keys of the file."""
    for name, labels in _by_name(entries).items():
        for label in labels[1:]:
            yield f"{label}: name: found {name}, expected another name than that of {labels[0]}"
    if given.get("tls_ca_file") is None:
        for entry in entries:
            if entry.valid.get("cert_names"):
                yield f"{entry.label}: cert_names: found without tls_ca_file, expected there the CA that signs them"
    if len(entries) > 1 and given.get("multi_conn_enabled", False) is False and valid.get("role") != "client":
        yield f"multi_conn_enabled: found false, expected true with {len(entries)} entries in peers and legacy_peers"
    yield from _without_own(entries, valid)
    yield from _other_keys(entries)
    owned = [named for entry in entries for named in entry.prefixes()] + list(_first_shared(entries))
    for (inner, name), (outer, other) in overlaps(owned):
        yield f"{name}: found {inner}, expected a prefix that does not overlap {outer} of {other}"


def _without_own(entries: Sequence[Entry], valid: Mapping[str, Any]) -> Iterator[str]:
    named = [item for entry in entries for item in (*entry.prefixes(), *entry.shared())]
    for address in (valid.get("tun_cidr"), valid.get("tun_cidr6")):
        if address is None:
            continue
        own = ipaddress.ip_network(address.ip)
        for prefix, name in named:
            if prefix.version == own.version and prefix.overlaps(own):
                yield f"{name}: found {prefix}, expected a prefix without the own address, {address}"


def _other_keys(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield one line for every shared prefix that entries with different keys have: or one draws flows of the other."""
    first: dict[IPNetwork, Entry] = {}
    for entry in entries:
        for prefix, name in entry.shared():
            other = first.setdefault(prefix, entry)
            if _keys(other) != _keys(entry):
                yield f"{name}: found {prefix}, expected a prefix that only entries with the same pins and names share"


def _keys(entry: Entry) -> list[set[object]]:
    return [set(entry.valid.get(key, ())) for key in ("pins", "cert_names")]


def _first_shared(entries: Sequence[Entry]) -> Iterator[tuple[IPNetwork, str]]:
    """Yield every shared prefix once: that others have the same one is what it is for."""
    seen: dict[IPNetwork, Entry] = {}
    for entry in entries:
        for prefix, name in entry.shared():
            if seen.setdefault(prefix, entry) is entry:
                yield prefix, name


def _by_name(entries: Sequence[Entry]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for entry in entries:
        if "name" in entry.valid:
            found[entry.valid["name"]].append(entry.label)
    return found


def warnings(config: InstanceConfig) -> Iterator[str]:
    """Yield what a server's operator should know about its peers."""
    if not config.peers and not config.legacy_peers:
        yield (
            "peers: found none, so nobody can connect; list each client with its name, pins (the fingerprint that "
            "mpquic identity ensure shows there) and allowed (its tunnel address and LAN prefixes)"
        )
    for index, peer in enumerate(config.legacy_peers):
        yield (
            f"legacy_peers[{index}] ({peer.name}): UNAUTHENTICATED: whoever can send from its networks (from) owns its "
            "traffic; move this client to mpq/1 and list its key in peers"
        )
