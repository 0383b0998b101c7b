# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance files of this host, reduced to what the host engine needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from mpquic import config
from mpquic.host.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from ipaddress import IPv6Interface
    from pathlib import Path

    from mpquic.config import InstanceConfig, LanRouting
    from mpquic.host.state import IPInterface, IPNetwork

ALL = "all"
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True)
class Lan:
    """The LAN behind a tunnel; on a server only the prefixes count, and with a `mark` only that."""

    cidrs: tuple[IPNetwork, ...]
    interface: str | None
    table: int | None
    priority: int | None
    mark: int | None = None
    # Nothing is led into the tunnel, though it is ready.
    standby: bool = False


@dataclass(frozen=True, slots=True)
class PathWan:
    """One path of a client that has several; it is bound to the interface `wan` or to the address `wan_address`."""

    name: str
    wan: str | None
    wan_address: str | None


@dataclass(frozen=True, slots=True)
class Instance:
    """One tunnel end of this host; it is bound to the interface `wan` or to the address `wan_address`.

    A server with `many` serves peers that come and go, so that none of them says how it is itself. A client of several
    WANs has `paths`, and what it is bound to is that of the first.
    """

    id: str
    role: str
    tun: str
    address: IPv4Interface
    mtu: int
    wan: str | None
    wan_address: str | None
    lan: Lan | None
    digest: str
    address6: IPv6Interface | None = None
    tun_peer: str | None = None
    many: bool = False
    paths: tuple[PathWan, ...] = ()
    # Addresses of the TUN that a server has beside its own for a while.
    also: tuple[IPInterface, ...] = ()

    @property
    def where(self) -> str | None:
        """Return the WANs that it is on, by interface or address."""
        if not self.paths:
            return self.wan or self.wan_address
        return ",".join(dict.fromkeys(path.wan or path.wan_address or path.name for path in self.paths))

    @property
    def addresses(self) -> tuple[IPInterface, ...]:
        """Return what its TUN has."""
        return (self.address,) if self.address6 is None else (self.address, self.address6)

    @property
    def client(self) -> bool:
        """Whether this end dials."""
        return self.role == "client"

    @property
    def peer(self) -> str | None:
        """Return the address of the far TUN, None where it is not known or there are many."""
        if self.many or self.tun_peer is not None:
            return self.tun_peer
        others = [host for host in self.address.network.hosts() if host != self.address.ip]
        return str(others[0]) if self.address.network.prefixlen in {30, 31} and len(others) == 1 else None


@dataclass(frozen=True, slots=True)
class Selection:
    """The instances to work on, and all that this host has."""

    target: str
    chosen: tuple[Instance, ...]
    known: tuple[Instance, ...]


def select(directory: Path, target: str) -> Selection:
    """Read the instance files.

    Args:
        directory: Where ``ID.yaml`` files are.
        target: An id, or ``all``.

    Raises:
        UsageError: the target can be no id.
        ConfigError: a chosen file is missing or wrong, or two files contradict each other.

    """
    if not _ID.fullmatch(target):
        raise UsageError(f"target {target!r}: expected 'all' or an instance id of letters, digits, '_' or '-'")
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such directory, expected one with instance files")
    files = sorted(directory.glob("*.yaml"), key=_natural)
    if target == ALL:
        known = _load_all(files)
        return Selection(target, known, known)
    path = directory / f"{target}.yaml"
    if path not in files:
        raise ConfigError(f"{path}: no such file, expected the instance file of {target}")
    chosen = _instance(_load(path))
    others = [_instance(found) for found in map(_load_or_none, files) if found and found.instance_id != target]
    return Selection(target, (chosen,), (chosen, *others))


def _load_all(files: list[Path]) -> tuple[Instance, ...]:
    """Load every file; all faults of all files are told at once."""
    faults: list[str] = []
    found: list[tuple[str, InstanceConfig]] = []
    for path in files:
        try:
            found.append((str(path), _load(path)))
        except ConfigError as error:
            faults.append(str(error))
    faults += config.between(found)
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(_instance(loaded) for _path, loaded in found)


def _load_or_none(path: Path) -> InstanceConfig | None:
    """Load a file that is not the target: its faults are not this command's business."""
    try:
        return _load(path)
    except ConfigError:
        return None


def _load(path: Path) -> InstanceConfig:
    try:
        loaded, _warnings = config.load(path)
    except config.ConfigError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(loaded.tun_cidr, IPv4Interface):
        raise ConfigError(f"{path}: tun_cidr: found {loaded.tun_cidr}, expected an IPv4 address with its prefix")
    return loaded


def _instance(loaded: InstanceConfig) -> Instance:
    assert isinstance(loaded.tun_cidr, IPv4Interface)
    return Instance(
        id=loaded.instance_id,
        role=loaded.role,
        tun=loaded.tun_name,
        address=loaded.tun_cidr,
        mtu=loaded.tun_mtu,
        wan=loaded.bind_ip.interface,
        wan_address=loaded.bind_ip.address,
        lan=_lan(loaded.lan_routing) if loaded.lan_routing else None,
        digest=loaded.digest,
        address6=loaded.tun_cidr6,
        tun_peer=str(loaded.tun_peer) if loaded.tun_peer is not None else None,
        many=loaded.multi_conn_enabled,
        paths=_paths(loaded),
        also=loaded.also.tun_cidrs if loaded.also is not None else (),
    )


def _paths(loaded: InstanceConfig) -> tuple[PathWan, ...]:
    found = loaded.multipath.paths if loaded.multipath is not None else ()
    return tuple(PathWan(path.name, path.bind_ip.interface, path.bind_ip.address) for path in found)


def _lan(lan: LanRouting) -> Lan:
    return Lan(
        cidrs=lan.cidrs,
        interface=lan.interface,
        table=lan.table,
        priority=lan.priority,
        mark=lan.mark,
        standby=lan.standby,
    )


def _natural(path: Path) -> tuple[int, str]:
    """Order 2 before 10."""
    return (int(path.stem) if path.stem.isdigit() else 1 << 32, path.stem)
