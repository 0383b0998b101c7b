# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of one instance file.

A field's description is what its error message says was expected; a list's title is the same for one entry of it. The
text below a field is what docs/reference says that it is for.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from mpquic.config.base import Model, Remembering
from mpquic.config.dataplane import SCHEDULING, Dataplane, SchedulingField
from mpquic.config.fields import (
    BindField,
    DscpField,
    FileName,
    HostField,
    InterfaceName,
    NameField,
    NativeField,
    PathField,
    PeerNameField,
    PinField,
    PinsField,
    RateField,
    TunAddress,
    TunAddress6,
)
from mpquic.config.multipath import Multipath, MultipathPath
from mpquic.config.prefixes import Network, PeerAddress, PeerNetwork

#: The bits of a packet's mark that say into which class tunnel it goes; all others are the operator's.
MARK_MASK = 0x0FFF0000


class LanRouting(Model):
    """How LAN traffic gets into the tunnel (client), or which LAN prefixes lie behind it (server).

    A client has either an interface, whose traffic from the prefixes enters the tunnel, or a mark, and then whatever
    carries it does; the prefixes are those that it registers.
    """

    interface: Annotated[InterfaceName | None, Field(description="an interface name of 1 to 15 characters")] = None
    """Of a client: the LAN's interface. What comes in there from `cidrs` enters the tunnel."""
    mark: Annotated[
        int | None,
        Field(
            ge=0x10000,
            le=MARK_MASK,
            multiple_of=0x10000,
            description="a mark from 0x00010000 to 0x0fff0000 that ends in 0000",
        ),
    ] = None
    """Of a client, in the place of `interface`: the mark of the packets that enter it, in the bits 0x0fff0000."""
    cidrs: Annotated[
        tuple[Network, ...],
        Field(
            strict=False,
            title="a prefix such as 172.16.4.0/30",
            description="a list of prefixes such as 172.16.4.0/30",
        ),
    ]
    """The LAN's prefixes: what enters the tunnel at a client, what is routed back into it at a server."""
    # 0 is "unspec", 253 to 255 are default, main and local (linux/rtnetlink.h).
    table: Annotated[int | None, Field(ge=1, le=4294967295, description="a table from 1 to 4294967295")] = None
    """Routing table of the tunnel on a client."""
    standby: Annotated[bool, Field(description="true or false")] = False
    """All is ready, and nothing is led into the tunnel. A play that moves a LAN does that for a moment."""
    # 0 is the rule of table local, 32766 and 32767 those of main and default.
    priority: Annotated[int | None, Field(ge=1, le=32765, description="a rule priority from 1 to 32765")] = None
    """Priority of the tunnel's rule on a client."""


_PeerName = Annotated[PeerNameField, Field(description="1 to 64 of A-Z a-z 0-9 . _ -")]
_BudgetRate = Annotated[RateField | None, Field(description="a rate from 32kbit to 100gbit such as 500mbit")]
_DSCP = "a DSCP from 0 to 63, or copy"
_BudgetPackets = Annotated[
    int | None, Field(ge=1, le=1_000_000_000, description="UDP datagrams per second from 1 to 1000000000")
]
# What it may send from, and gets packets for.
_Prefixes = Annotated[
    tuple[PeerNetwork, ...],
    Field(
        strict=False,
        min_length=1,
        title="a prefix of the peer's own such as 10.200.4.1/32",
        description="a list of the peer's own prefixes such as 10.200.4.1/32",
    ),
]


class PeerConfig(Remembering):
    """A client that may connect to this server, and what is inside the tunnel to it."""

    name: _PeerName
    """What the server calls this client, in logs and counters."""
    pins: Annotated[
        tuple[PinField, ...],
        Field(strict=False, title="sha256: and 64 hex digits", description="a list of sha256: and 64 hex digits each"),
    ] = ()
    """Fingerprints of its key: two during a rotation."""
    cert_names: Annotated[
        tuple[NameField, ...], Field(strict=False, title="a DNS name", description="a list of DNS names")
    ] = ()
    """Names that `tls_ca_file` vouches for, in lower case."""
    allowed: _Prefixes
    """What it may send from, and gets packets for."""
    shared: Annotated[
        tuple[PeerNetwork, ...],
        Field(
            strict=False,
            title="a prefix behind several peers such as 172.16.4.0/30",
            description="a list of prefixes behind several peers such as 172.16.4.0/30",
        ),
    ] = ()
    """Prefixes that several peers may send from. A packet to one goes to the peer that carried its flow."""
    outer_dscp: Annotated[DscpField | None, Field(description=_DSCP)] = None
    """DSCP of the UDP packets that are sent to it; as that of the instance if it is left out."""
    budget_rate: _BudgetRate = None
    """The most that is taken from it, in bits per second; whatever arrives if it is left out."""
    budget_packets: _BudgetPackets = None
    """The same in UDP datagrams."""


class LegacyPeerConfig(Remembering):
    """A client of the older implementation (ALPN mpquic-ip): it has no key, its UDP source is all that is known."""

    name: _PeerName
    """What the server calls this client, in logs and counters."""
    address: Annotated[PeerAddress, Field(description="the IPv4 address of the peer's TUN such as 10.200.4.1")]
    """That of its TUN, and one of its prefixes."""
    from_: Annotated[
        tuple[Network, ...],
        Field(
            alias="from",
            strict=False,
            min_length=1,
            title="a network such as 198.51.100.0/24",
            description="a list of networks such as 198.51.100.0/24",
        ),
    ]
    """UDP source networks that it may come from."""
    allowed: Annotated[
        tuple[PeerNetwork, ...],
        Field(strict=False, title="a prefix of the peer's own", description="a list of the peer's own prefixes"),
    ] = ()
    """Prefixes beside its address."""
    budget_rate: _BudgetRate = None
    """The most that is taken from it, in bits per second; whatever arrives if it is left out."""
    budget_packets: _BudgetPackets = None
    """The same in UDP datagrams."""


class Also(Model):
    """What a server serves beside its own for a while, so that both ends can change one after the other."""

    ports: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65535)], ...],
        Field(strict=False, title="a UDP port from 1 to 65535", description="a list of UDP ports"),
    ] = ()
    """UDP ports beside `remote_port`."""
    tun_cidrs: Annotated[
        tuple[TunAddress, ...],
        Field(
            strict=False,
            title="a host address with its prefix such as 10.200.4.2/30",
            description="a list of host addresses with their prefixes such as 10.200.4.2/30",
        ),
    ] = ()
    """Addresses of its TUN beside `tun_cidr`."""


class InstanceConfig(Remembering):
    """One tunnel end, as its YAML file describes it."""

    role: Annotated[Literal["client", "server"], Field(description="client or server")]
    """Which end of the tunnel this is."""
    bind_ip: Annotated[BindField, Field(description="an IP address or if:<interface>")]
    """Where the UDP socket is bound; of an interface its IPv4 address, which may change at any time."""
    remote_addr: Annotated[HostField | None, Field(description="an IP address or a host name")] = None
    """Of a client: where its server is."""
    remote_port: Annotated[int, Field(ge=1, le=65535, description="a UDP port from 1 to 65535")]
    """Of a client the server's UDP port, of a server its own."""
    tun_name: Annotated[
        InterfaceName, Field(description="an interface name of 1 to 15 characters without / : % or space")
    ]
    """The TUN device, which is there before the daemon starts."""
    tun_cidr: Annotated[TunAddress, Field(description="a host address with its prefix such as 10.200.4.1/30")]
    """Its address."""
    tun_cidr6: Annotated[
        TunAddress6 | None, Field(description="an IPv6 host address with its prefix such as fd6d:7071:10::1/128")
    ] = None
    """Its IPv6 address, if the tunnel carries IPv6."""
    tun_peer: Annotated[
        PeerAddress | None, Field(description="the IPv4 address of the server's TUN such as 10.200.10.254")
    ] = None
    """Of a client: the server's address on its TUN, which the host asks for an echo. A /30 needs no such key."""
    # 576: what every IPv4 host must take in one piece (RFC 791 section 3.1). 9000: jumbo Ethernet.
    tun_mtu: Annotated[int, Field(ge=576, le=9000, description="bytes from 576 to 9000")] = 1300
    """The largest IP packet in the tunnel, where the path carries it."""
    log_level: Annotated[Literal["debug", "info", "error"], Field(description="debug, info or error")] = "info"
    """What the daemon writes to the journal."""
    congestion_algorithm: Annotated[Literal["tunnel", "cubic", "reno"], Field(description="tunnel, cubic or reno")] = (
        "tunnel"
    )
    """`tunnel` leaves congestion to the flows inside, which have control of their own; the others hold back as well."""
    rate: Annotated[
        RateField | None, Field(description="a rate from 32kbit to 100gbit such as 500kbit, 20mbit or 1gbit")
    ] = None
    """What this end sends at most, on the wire, in bits per second. The other direction is the other end's."""
    outer_dscp: Annotated[DscpField, Field(description=_DSCP)] = 0
    """DSCP of the UDP packets around what this end sends; `copy`: that of the packet inside."""
    tls_cert_file: Annotated[PathField | None, Field(description="an absolute path of a PEM certificate")] = None
    """The certificate of this host."""
    tls_key_file: Annotated[PathField | None, Field(description="an absolute path of a PEM private key")] = None
    """Its key, which only its owner may read."""
    tls_ca_file: Annotated[PathField | None, Field(description="an absolute path of PEM CA certificates")] = None
    """Certificates of the CA that vouches for the other end."""
    tls_server_name: Annotated[HostField, Field(description="a DNS name or an IP address")] = "mpquic-server"
    """Of a client with `tls_ca_file`: the name that the server's certificate has to have."""
    tls_server_pin: Annotated[
        PinsField | None, Field(description="sha256: and 64 hex digits, or a list of such pins")
    ] = None
    """Of a client: fingerprints of the server's key."""
    legacy_server: Annotated[bool, Field(description="true or false")] = False
    """Of a client: speak ALPN `mpquic-ip`, to a server of the Go implementation."""
    multi_conn_enabled: Annotated[bool, Field(description="true or false")] = False
    """Of a server: more than one peer."""
    peers: Annotated[tuple[PeerConfig, ...], Field(description="a list of mappings of name, pins, allowed")] = ()
    """Of a server: who may connect."""
    legacy_peers: Annotated[
        tuple[LegacyPeerConfig, ...], Field(description="a list of mappings of name, address, from")
    ] = ()
    """Of a server: clients of the Go implementation, known by their addresses alone."""
    also: Annotated[Also | None, Field(description="a mapping of ports, tun_cidrs")] = None
    """Of a server: what it serves beside its own for a while, so that both ends can change one after the other."""
    lan_routing: Annotated[
        LanRouting | None, Field(description="a mapping of interface or mark, cidrs, table, priority")
    ] = None
    """How the LAN's traffic gets into the tunnel, or which prefixes lie behind it."""

    # A client's: one tunnel by several paths. Its bind_ip, remote_addr and remote_port are then those of the first.
    multipath_enabled: Annotated[bool, Field(description="true or false")] = False
    """Of a client: one tunnel by several paths, those of `multipath_paths`."""
    multipath_policy: Annotated[SchedulingField, Field(description=SCHEDULING)] = "priority"
    """How packets choose among the paths."""
    # mpquic.config.paths reads the entries.
    multipath_paths: Annotated[
        tuple[MultipathPath, ...], Field(description="a list of mappings of name, bind_ip, remote_addr, remote_port")
    ] = ()
    """The paths."""
    # mpquic.config.classes reads it, and the file.
    dataplane: Annotated[Dataplane | None, Field(description="a mapping of default_class, classes, classifiers")] = None
    """Classes of the tunnel's traffic, and what belongs to them."""
    dataplane_config_file: Annotated[
        FileName | None, Field(description="a path, from the folder of this file if it is not absolute")
    ] = None
    """A file with the same keys, which come before those of `dataplane`."""
    telemetry_interval: Annotated[int, Field(ge=0, le=3600, description="seconds from 1 to 3600, or 0 for none")] = 10
    """Seconds between two lines about each path and class in the journal; 0 for none."""

    native: Annotated[NativeField, Field(description="auto or off")] = "auto"
    """What carries packets: the native library where it can be used, or pure Python."""

    _instance_id: str = PrivateAttr(default="")
    _digest: str = PrivateAttr(default="")

    @property
    def instance_id(self) -> str:
        """The file's name without its suffix: ``4`` for ``/etc/mpquic/instances/4.yaml``."""
        return self._instance_id

    @property
    def multipath(self) -> Multipath | None:
        """The paths and classes of a tunnel over several WANs, None if this is not one."""
        if not self.multipath_enabled or self.dataplane is None:
            return None
        return Multipath(self.multipath_policy, self.multipath_paths, self.dataplane)

    @property
    def digest(self) -> str:
        """SHA-256 of the file this was read from, and of its ``dataplane_config_file`` if there is one, in hex.

        A daemon runs what the file says if it reports this digest of the configuration it runs. One that takes over a
        changed file while it runs takes over the digest with it; one that cannot (``needs_restart``) keeps the old one.
        What the key, certificate and CA files hold is not part of it.
        """
        return self._digest
