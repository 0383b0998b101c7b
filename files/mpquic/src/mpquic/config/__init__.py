# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of an instance: one YAML file per tunnel end."""

from mpquic.config.clashes import between
from mpquic.config.dataplane import Classifier, Dataplane, DataplaneClass, Scheduling
from mpquic.config.errors import ConfigError
from mpquic.config.fields import Bind
from mpquic.config.loader import load, parse
from mpquic.config.model import MARK_MASK, InstanceConfig, LanRouting, LegacyPeerConfig, PeerConfig
from mpquic.config.multipath import Multipath, MultipathPath
from mpquic.config.reload import RELOADABLE, needs_restart
from mpquic.config.runtime import HostConditionError, interface_exists, interface_ipv4, preflight, remarks

__all__ = [
    "MARK_MASK",
    "RELOADABLE",
    "Bind",
    "Classifier",
    "ConfigError",
    "Dataplane",
    "DataplaneClass",
    "HostConditionError",
    "InstanceConfig",
    "LanRouting",
    "LegacyPeerConfig",
    "Multipath",
    "MultipathPath",
    "PeerConfig",
    "Scheduling",
    "between",
    "interface_exists",
    "interface_ipv4",
    "load",
    "needs_restart",
    "parse",
    "preflight",
    "remarks",
]
