# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be there on the host before an instance can carry packets. Asks the kernel, changes nothing."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpquic.config.fields import Bind
    from mpquic.config.model import InstanceConfig

_SIOCGIFADDR = 0x8915  # linux/sockios.h


class HostConditionError(Exception):
    """Something outside the configuration is missing; the text says what, and may change without a new file."""


def interface_ipv4(name: str) -> str:
    """Return the first IPv4 address of interface ``name`` (netdevice(7), SIOCGIFADDR).

    Raises HostConditionError when there is no such interface or it has no IPv4 address.
    """
    request = struct.pack("16s240x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise HostConditionError(f"interface {name} does not exist") from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise HostConditionError(f"interface {name} has no IPv4 address") from error
            raise HostConditionError(f"interface {name}: {error.strerror}") from error
    return socket.inet_ntoa(answer[20:24])


def interface_exists(name: str) -> bool:
    """Tell whether this network namespace has an interface ``name``."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def preflight(config: InstanceConfig) -> list[str]:
    """Return every condition of the host that keeps this instance from carrying packets, one line each.

    A tunnel over several WANs carries packets while one of its paths has its WAN: see `remarks`.
    """
    unbound = _unbound(config)
    problems = unbound if len(unbound) == len(_binds(config)) else []
    if not interface_exists(config.tun_name):
        problems.append(f"tun_name: {config.tun_name} does not exist, expected a TUN device (mpquic tun ensure)")
    lan = config.lan_routing
    if lan is not None and lan.interface is not None and not interface_exists(lan.interface):
        problems.append(f"lan_routing.interface: {lan.interface} does not exist, expected the LAN's interface")
    return problems


def remarks(config: InstanceConfig) -> list[str]:
    """Return every condition of the host that keeps some path of this instance from carrying packets, but not all."""
    unbound = _unbound(config)
    return unbound if len(unbound) < len(_binds(config)) else []


def _binds(config: InstanceConfig) -> list[tuple[str, Bind]]:
    """Return every address or interface that a socket of the instance is bound to, after the key that says so."""
    if config.multipath is None:
        return [("bind_ip", config.bind_ip)]
    return [(f"multipath_paths[{index}].bind_ip", path.bind_ip) for index, path in enumerate(config.multipath.paths)]


def _unbound(config: InstanceConfig) -> list[str]:
    problems = []
    for key, bind in _binds(config):
        if bind.interface is not None:
            try:
                interface_ipv4(bind.interface)
            except HostConditionError as error:
                problems.append(f"{key}: {error}, expected an interface with an IPv4 address")
        elif bind.address is not None and not _bindable(bind.address):
            problems.append(f"{key}: {bind.address} is not an address of this host, expected one that is")
    return problems


def _bindable(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
