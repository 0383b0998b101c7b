# SPDX-License-Identifier: GPL-3.0-or-later
"""The persistent TUN device of an instance: converged, never recreated and never set down."""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, Any

from mpquic.host import sysctl, tuntap
from mpquic.host.errors import HostError, UsageError
from mpquic.host.state import IPV6_MIN_MTU
from mpquic.host.steps import Step, apply

if TYPE_CHECKING:
    from mpquic.host.netlink import Kernel
    from mpquic.host.state import HostState, IPInterface, Link, TunInfo

ALIAS = "mpquic"
"""The alias that marks a TUN as ours (``ip link show`` prints it)."""

SERVICE_USER = "mpquic"
QUEUE_LENGTH = 100
"""Packets. The kernel's 500 is a quarter of a second of waiting at MTU 1300 and 20 Mbit/s; below 50, bursts drop."""

DEFAULT_MTU = 1300
MTU_RANGE = (576, 65535)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_LOOSE = 2
_PROMOTE = 1
_NO_ADDRESS = 1
# rp_filter: replies from anywhere on the internet come in by the TUN. promote_secondaries: deleting an old address must
# not take the new one, and with it every route, away. addr_gen_mode: no link-local address, so no router solicitations.
_SETTINGS_4 = {"ipv4/rp_filter": _LOOSE, "ipv4/promote_secondaries": _PROMOTE}
_SETTINGS_6 = {"ipv6/addr_gen_mode": _NO_ADDRESS}
# Many hosts switch IPv6 off for all devices that are to come; one that has an IPv6 address needs it.
_SETTINGS_ADDRESS_6 = {"ipv6/disable_ipv6": 0}


@dataclass(frozen=True, slots=True)
class TunSpec:
    """A wanted TUN; None keeps what a device has, and means `DEFAULT_MTU` and `default_owner` for a new one.

    The MTU is a ceiling while a daemon holds the device: the daemon lowers it to what the path carries. Addresses are
    the exception: without an `address6` a device has none of IPv6.
    """

    name: str
    address: IPv4Interface
    mtu: int | None = None
    owner: int | None = None
    address6: IPv6Interface | None = None
    also: tuple[IPInterface, ...] = ()

    @property
    def ipv6(self) -> bool:
        """Whether it has an IPv6 address."""
        return self.address6 is not None or any(address.version == 6 for address in self.also)


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation on one TUN found, wants and does; ``before`` and ``after`` are None when there is no device."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None
    steps: tuple[Step, ...]

    @property
    def changed(self) -> bool:
        """Whether the device is not as wanted."""
        return self.before != self.after


def spec(name: str, cidr: str, mtu: int | None, owner: str | None, cidr6: str | None = None) -> TunSpec:
    """Check the arguments of an operator.

    Args:
        name: Interface name, 1 to 15 of letters, digits, ``_``, ``.``, ``-``.
        cidr: IPv4 address with prefix length, the TUN's own.
        mtu: Bytes, 576 to 65535.
        owner: User name; None means `default_owner`.
        cidr6: IPv6 address with prefix length; None or nothing: no IPv6 address.

    Raises:
        UsageError: an argument is not usable.

    """
    check_name(name)
    address = _own_address(cidr)
    address6 = _own_address6(cidr6) if cidr6 else None
    if mtu is not None and not MTU_RANGE[0] <= mtu <= MTU_RANGE[1]:
        raise UsageError(f"mtu {mtu}: expected {MTU_RANGE[0]} to {MTU_RANGE[1]}")
    if mtu is not None and address6 is not None and mtu < IPV6_MIN_MTU:
        raise UsageError(f"mtu {mtu}: expected at least {IPV6_MIN_MTU} because there is a cidr6")
    return TunSpec(name=name, address=address, mtu=mtu, owner=_user_id(owner), address6=address6)


def _own_address(cidr: str) -> IPv4Interface:
    try:
        address = IPv4Interface(cidr)
    except ValueError as error:
        raise UsageError(
            f"cidr {cidr}: expected an IPv4 address with a prefix length, such as 10.200.4.1/30"
        ) from error
    network = address.network
    if "/" not in cidr or (
        network.prefixlen < 31 and address.ip in (network.network_address, network.broadcast_address)
    ):
        raise UsageError(f"cidr {cidr}: expected a host address with a prefix length, such as 10.200.4.1/30")
    return address


def _own_address6(cidr: str) -> IPv6Interface:
    expected = "expected an IPv6 host address with a prefix length, such as fd6d:7071:0:4::1/126"
    try:
        address = IPv6Interface(cidr)
    except ValueError as error:
        raise UsageError(f"cidr6 {cidr}: {expected}") from error
    network = address.network
    # RFC 4291 section 2.6.1: the first address of a subnet is every router's; a /127 has none (RFC 6164).
    anycast = network.prefixlen < 127 and address.ip == network.network_address
    if "/" not in cidr or "%" in cidr or anycast or address.is_link_local or address.is_multicast:
        raise UsageError(f"cidr6 {cidr}: {expected}")
    return address


def check_name(name: str) -> None:
    """Refuse a name that no interface can have.

    Raises:
        UsageError: it is not usable.

    """
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise UsageError(f"name {name!r}: expected 1 to 15 letters, digits, '_', '.' or '-'")


def _user_id(owner: str | None) -> int:
    if owner is None:
        return default_owner()
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise UsageError(f"owner {owner}: there is no such user") from None


def default_owner() -> int:
    """Return the id of the service user, or root's where that user does not exist."""
    try:
        return pwd.getpwnam(SERVICE_USER).pw_uid
    except KeyError:
        return 0


def _user_name(owner: int | None) -> str:
    if owner is None:
        return "anyone"
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def plan(wanted: TunSpec, state: HostState) -> Change:
    """Compare a wanted TUN with the host.

    Raises:
        HostError: the name belongs to something that is not ours to change.

    """
    link = state.links.get(wanted.name)
    if link is None:
        return _creation(wanted, state)
    check_ownable(link)
    return _convergence(wanted, link, state)


def check_ownable(link: Link) -> None:
    """Refuse a device that is no persistent TUN.

    Raises:
        HostError: it is of another kind or of another program.

    """
    if link.tun is None:
        raise HostError(f"{link.name} exists and is of kind {link.kind or 'hardware'}; expected a TUN or nothing")
    if link.tun.tap:
        raise HostError(f"{link.name} exists and is a TAP; expected a TUN or nothing")
    if not link.tun.persistent:
        raise HostError(f"{link.name} belongs to a running program (it is not persistent); expected a persistent TUN")


def absence(name: str, state: HostState) -> Change:
    """Plan the removal of a TUN.

    Raises:
        HostError: the device is not ours.

    """
    link = state.links.get(name)
    if link is None:
        return Change(None, None, ())
    check_ownable(link)
    if link.alias != ALIAS:
        raise HostError(f"{name} was not made by mpquic (it lacks the alias {ALIAS}); remove it with 'ip link delete'")
    addresses = state.addresses_of(name)
    ipv6 = any(address.version == 6 for address in addresses)
    return Change(view(link, addresses, ipv6=ipv6), None, (removal(link),))


def removal(link: Link) -> Step:
    """Return the step that deletes a TUN of ours; it is the last of a plan, for nothing could bring it back whole."""

    def lost(_kernel: Kernel) -> None:
        raise HostError(f"{link.name} was deleted")

    return Step(f"delete TUN {link.name}", lambda kernel: kernel.delete_link(link.name), lost)


def ensure(kernel: Kernel, wanted: TunSpec, *, dry: bool) -> Change:
    """Converge one TUN; with `dry` only compare.

    Raises:
        HostError: it cannot be done; what was begun is undone.

    """
    change = plan(wanted, kernel.read())
    if not dry:
        apply(kernel, change.steps)
    return change


def remove(kernel: Kernel, name: str, *, dry: bool) -> Change:
    """Remove one TUN of ours if it is there; with `dry` only compare.

    Raises:
        HostError: it is not ours, or the kernel refuses.

    """
    check_name(name)
    change = absence(name, kernel.read())
    if not dry:
        apply(kernel, change.steps)
    return change


def view(link: Link, addresses: tuple[IPInterface, ...], *, ipv6: bool) -> dict[str, Any]:
    """Return a found TUN in the operator's terms; with `ipv6` also what an IPv6 address needs."""
    return {
        "name": link.name,
        "owner": _user_name(link.tun.owner if link.tun else None),
        "addresses": sorted(str(address) for address in addresses),
        "mtu": link.mtu,
        "queue_length": link.queue_length,
        "alias": link.alias,
        "up": link.up,
        "settings": {key: sysctl.read(key, link.name) for key in _settings(link.mtu, ipv6=ipv6)},
    }


def _wanted_view(wanted: TunSpec, addresses: list[IPInterface], mtu: int, owner: int | None) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "owner": _user_name(owner),
        "addresses": sorted(str(address) for address in addresses),
        "mtu": mtu,
        "queue_length": QUEUE_LENGTH,
        "alias": ALIAS,
        "up": True,
        "settings": _settings(mtu, ipv6=wanted.ipv6),
    }


def _settings(mtu: int, *, ipv6: bool) -> dict[str, int]:
    if mtu < IPV6_MIN_MTU or not sysctl.has_ipv6():
        return dict(_SETTINGS_4)
    return _SETTINGS_4 | _SETTINGS_6 | (_SETTINGS_ADDRESS_6 if ipv6 else {})


def _possible_addresses(wanted: TunSpec, mtu: int, state: HostState) -> list[IPInterface]:
    """Return the wanted addresses that the kernel takes."""
    every = [wanted.address, *([wanted.address6] if wanted.address6 is not None else []), *wanted.also]
    ipv6 = mtu >= IPV6_MIN_MTU and state.ipv6
    return [address for address in every if address.version == 4 or ipv6]


def _creation(wanted: TunSpec, state: HostState) -> Change:
    name = wanted.name
    mtu = wanted.mtu or DEFAULT_MTU
    ipv6 = wanted.ipv6
    addresses = _possible_addresses(wanted, mtu, state)
    owner = default_owner() if wanted.owner is None else wanted.owner
    steps = [
        Step(
            f"create TUN {name} for {_user_name(owner)}",
            lambda _kernel: tuntap.create(name, owner),
            lambda kernel: kernel.delete_link(name),
        ),
        _link_step(f"set alias of {name} to {ALIAS}", name, {"ifalias": ALIAS}, {"ifalias": ""}),
        _link_step(f"set MTU of {name} to {mtu}", name, {"mtu": mtu}, {}),
        _link_step(f"set queue of {name} to {QUEUE_LENGTH}", name, {"txqlen": QUEUE_LENGTH}, {}),
        *(_setting_step(key, name, value, None) for key, value in _settings(mtu, ipv6=ipv6).items()),
        *(_address_step(name, address) for address in addresses if address.version == 4),
        _link_step(f"set {name} up", name, {"state": "up"}, {}),
        *(_address_step(name, address) for address in addresses if address.version == 6),
    ]
    return Change(None, _wanted_view(wanted, addresses, mtu, owner), tuple(steps))


def _convergence(wanted: TunSpec, link: Link, state: HostState) -> Change:
    name = wanted.name
    found_addresses = state.addresses_of(name)
    ipv6 = wanted.ipv6
    # A TUN has a carrier as long as a program is attached to it.
    mtu = min(wanted.mtu or link.mtu, link.mtu) if link.carrier else wanted.mtu or link.mtu
    tun = link.tun
    assert tun is not None
    owner = tun.owner if wanted.owner is None else wanted.owner
    addresses = _possible_addresses(wanted, mtu, state)
    before = view(link, found_addresses, ipv6=ipv6)
    after = _wanted_view(wanted, addresses, mtu, owner)
    if link.carrier:
        # The kernel forgets them when the MTU falls below what IPv6 needs, and has its defaults when it rises again.
        after["settings"] |= {key: found for key, found in before["settings"].items() if key in _SETTINGS_6}
    steps: list[Step] = []
    if owner is not None and owner != tun.owner:
        steps.append(_owner_step(name, tun, owner))
    if link.alias != ALIAS:
        steps.append(
            _link_step(f"set alias of {name} to {ALIAS}", name, {"ifalias": ALIAS}, {"ifalias": link.alias or ""})
        )
    if link.mtu != mtu:
        steps.append(_link_step(f"set MTU of {name} from {link.mtu} to {mtu}", name, {"mtu": mtu}, {"mtu": link.mtu}))
    if link.queue_length != QUEUE_LENGTH:
        old = {"txqlen": link.queue_length}
        steps.append(_link_step(f"set queue of {name} to {QUEUE_LENGTH}", name, {"txqlen": QUEUE_LENGTH}, old))
    for key, value in after["settings"].items():
        found = before["settings"].get(key)
        if found != value:
            steps.append(_setting_step(key, name, value, found))
    steps.extend(_address_step(name, new) for new in addresses if new.version == 4 and new not in found_addresses)
    if not link.up:
        steps.append(_link_step(f"set {name} up", name, {"state": "up"}, {"state": "down"}))
    # The kernel gives a device that is down no route for an IPv6 prefix.
    steps.extend(_address_step(name, new) for new in addresses if new.version == 6 and new not in found_addresses)
    steps.extend(_stale_address_step(name, stale) for stale in found_addresses if stale not in addresses)
    return Change(before, after, tuple(steps))


def _link_step(text: str, name: str, new: dict[str, Any], old: dict[str, Any]) -> Step:
    def undo(kernel: Kernel) -> None:
        if old:
            kernel.set_link(name, **old)

    return Step(text, lambda kernel: kernel.set_link(name, **new), undo)


def _setting_step(key: str, name: str, value: int, old: int | None) -> Step:
    def undo(_kernel: Kernel) -> None:
        if old is not None:
            sysctl.write(key, name, old)

    def do(_kernel: Kernel) -> None:
        sysctl.write(key, name, value)

    return Step(f"set {key.replace('/', '.')} of {name} to {value}", do, undo)


def _address_step(name: str, address: IPInterface) -> Step:
    return Step(
        f"add {address} to {name}",
        lambda kernel: kernel.add_address(name, address),
        lambda kernel: kernel.delete_address(name, address),
    )


def _stale_address_step(name: str, address: IPInterface) -> Step:
    return Step(
        f"delete {address} from {name}",
        lambda kernel: kernel.delete_address(name, address),
        lambda kernel: kernel.add_address(name, address),
    )


def _owner_step(name: str, found: TunInfo, owner: int) -> Step:
    give = partial(tuntap.set_owner, name, multi_queue=found.multi_queue)
    return Step(
        f"give {name} from {_user_name(found.owner)} to {_user_name(owner)}",
        lambda _kernel: give(owner),
        lambda _kernel: give(0 if found.owner is None else found.owner),
    )
