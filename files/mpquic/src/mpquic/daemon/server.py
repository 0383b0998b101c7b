# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on the event loop: one socket on a fixed port, or several while its clients change over."""

from __future__ import annotations

import contextlib
import logging
import socket
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from mpquic.config import HostConditionError
from mpquic.core.roster import Member, Roster
from mpquic.core.server import ServerTunnel
from mpquic.core.types import text
from mpquic.daemon import dataplane, telemetry
from mpquic.daemon.figures import bundle_figures, path_figures
from mpquic.daemon.identity import own_pin
from mpquic.daemon.meter import Key, Reading, of_bundle, of_path
from mpquic.daemon.shell import Shell
from mpquic.daemon.status import counts, dropped, rtt_ms, since, told
from mpquic.io.resolve import local_address
from mpquic.io.udp import adopt_udp, open_udp
from mpquic.io.udpgroup import UdpGroup
from mpquic.quic import Identity, ServerEndpoint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Interface, IPv6Interface

    from mpquic.config import InstanceConfig
    from mpquic.core.session import Session
    from mpquic.core.strays import Strays
    from mpquic.core.types import Arrival, Change
    from mpquic.io.udp import UdpSocket

_LOG = logging.getLogger("mpquic")

#: Seconds between attempts to bind while the address or interface is not there, and between looks for a change of it.
BIND_RETRY = 1.0
#: Seconds that a process whose heir has taken over serves its clients, at most.
GRACE = 10.0
#: Clients that are asked at once to connect to the heir, and seconds until the next: each is a handshake.
ASKED, ASK_EVERY = 16, 0.1


class ServerShell(Shell):
    """Runs one server tunnel."""

    tunnel: ServerTunnel

    def __init__(self, config: InstanceConfig, loop: asyncio.AbstractEventLoop, notify: Callable[[str], None]) -> None:
        """Read the identity. Raises OSError or ValueError."""
        tunnel = ServerTunnel(_endpoint(config), _roster(config), loop.time(), rate=config.rate, own=_own(config))
        super().__init__(config, tunnel, loop, notify)
        self.identity = own_pin(config.tls_cert_file)
        self._bind_fault: str | None = None
        self._next_bind = 0.0
        self._bound: tuple[str, int] | None = None
        #: The sockets by their port.
        self._open: dict[int, UdpSocket] = {}

    def reload(self, config: InstanceConfig) -> None:
        """Take over identity, peers, ports and addresses. Who is no peer now is told so; the others notice nothing."""
        endpoint, roster, identity = _endpoint(config), _roster(config), own_pin(config.tls_cert_file)
        self.config, self.identity = config, identity
        self.tunnel.configure(endpoint, roster, self.loop.time(), own=_own(config))
        self._next_bind = 0.0
        self.tick()

    def status(self) -> dict[str, Any]:
        """Return this instance's line of ``mpquic status``, with its peers."""
        now = self.loop.time()
        peers = [{**_peer(session, now), **self._paths(session, now)} for session in self.tunnel.sessions.values()]
        refused = {"refusals": dict(self.tunnel.refusals), "last_refused": told(self.tunnel.refused, now)}
        return {**super().status(), **refused, "peers": peers}

    def readings(self) -> dict[Key, Reading]:
        """Return the counters of all peers, of their paths and classes, and the sum of all."""
        found: dict[Key, Reading] = {}
        for name, session in self.tunnel.sessions.items():
            if session.bundle is None:
                found[name, ""] = of_path(session.path)
            else:
                found |= of_bundle(session.bundle, session.counters, session.paths.values(), peer=name)
        peers = [reading for (_peer, part), reading in found.items() if not part]
        found["", ""] = Reading(sum([peer.tx_bytes for peer in peers]), sum([peer.rx_bytes for peer in peers]))
        return found

    def telemetry(self, now: float) -> list[str]:
        """Return the lines about paths and classes of the peers that have several paths."""
        lines = []
        for session in self.tunnel.sessions.values():
            found = self._paths(session, now)
            if "paths" in found:
                told = [*map(telemetry.path_line, found["paths"]), *map(telemetry.class_line, found["classes"])]
                lines += [f"{line} peer={session.member.name}" for line in told]
        return lines

    def ends(self, change: Change) -> str:
        """Return the addresses of the path that a change is about, as fields."""
        peer, _space, rest = change.detail.partition(" ")
        session = self.tunnel.sessions.get(peer.removeprefix("peer="))
        for path in session.paths.values() if session is not None else ():
            if path.connection is not None and rest.partition(" ")[0] == f"name={path.name}":
                return f" local={self.local() or '-'} remote={text(path.connection.peer)}"
        return ""

    def _paths(self, session: Session, now: float) -> dict[str, Any]:
        """Return the paths and classes of a peer, the figures of its path where it has no more than one."""
        bundle, policy = session.bundle, session.policy
        if bundle is None or policy is None:
            return {"figures": path_figures(session.path, now)}
        known = [spec for spec in policy.paths if spec.number in session.paths]
        paths = [telemetry.describe_path(session.paths[spec.number], spec, now) for spec in known]
        for spec, entry in zip(known, paths, strict=True):
            entry["bind"], entry["local"] = str(self.config.bind_ip), self.local()
            entry["rate_bps"] = spec.rate_down or self.config.rate
        classes = [telemetry.describe_class(counters) for counters in bundle.classes()]
        return {"paths": paths, "classes": classes, "reorder": bundle_figures(bundle)}

    def summary(self) -> str:
        """Return how many peers are up, where there may be more than one."""
        sessions = self.tunnel.sessions.values()
        if len(sessions) < 2:
            return super().summary()
        return f"{sum(session.guest is not None for session in sessions)} of {len(sessions)} peers up"

    def blocked(self) -> str | None:
        """Return why no port is bound."""
        return self._bind_fault

    def prepare(self, now: float) -> None:
        """Bind what is to be served and is not, and again after a while if that fails; close what is served no more."""
        ports = self._ports()
        if self._open.keys() == set(ports) or now < self._next_bind:
            return
        # Another instance may wait for one of these.
        for port in self._open.keys() - set(ports):
            self._serve({number: udp for number, udp in self._open.items() if number != port})
        fault = None
        for port in ports:
            if port not in self._open:
                fault = fault or self._bind(port)
        if fault is not None:
            if fault != self._bind_fault:
                _LOG.error('waiting reason="%s"', fault)
            self._next_bind = now + BIND_RETRY
            self.loop.call_later(BIND_RETRY, self.tick)
        self._bind_fault = fault

    def _ports(self) -> tuple[int, ...]:
        """Return the ports to serve, its own first."""
        config = self.config
        return (config.remote_port, *(config.also.ports if config.also is not None else ()))

    def _bind(self, port: int) -> str | None:
        """Serve one port more; return why that cannot be."""
        config = self.config
        try:
            place = self._place()
            udp = open_udp(
                place[0],
                port,
                device=config.bind_ip.interface,
                remote=None,
                drops=self.tunnel.counters.drops,
                take=self.plane.take_socket,
            )
        except (HostConditionError, OSError) as error:
            return f"{config.bind_ip} port {port}: {getattr(error, 'strerror', None) or error}"
        self._serve({**self._open, port: udp})
        _LOG.info("listening local=%s", text(udp.local))
        if config.bind_ip.interface is not None and self._bound is None:
            self.loop.call_later(BIND_RETRY, self._check_bind)
        self._bound = place
        return None

    def _serve(self, wanted: dict[int, UdpSocket]) -> None:
        """Serve by these sockets, by port, and close those that are not among them."""
        before = self.release_udp(self.tunnel)
        kept = [wanted[port] for port in self._ports() if port in wanted]
        if len(kept) == 1:
            self.serve(self.tunnel, kept[0])
        elif kept:
            self.serve(self.tunnel, UdpGroup(kept))
        if isinstance(before, UdpGroup):
            before.release()
        for port, udp in self._open.items():
            if port not in wanted:
                udp.close()
        self._open = wanted

    # --- when the instance changes hands, see Succession ------------------------------------------------------------

    def obstacle(self) -> str | None:
        """See Succession. A client without registration cannot be asked for another connection."""
        legacy = [name for name, session in self.tunnel.sessions.items() if session.legacy and session.guests]
        if legacy:
            return f"legacy peers are connected: {', '.join(legacy)}"
        return super().obstacle() if self._bind_fault is None else self._bind_fault

    def lend(self) -> tuple[int, ...]:
        """Return the TUN's descriptor and those of the sockets; the heir alone reads them."""
        assert self._device.tun is not None
        self.leave_reading()
        self.read_sockets(reading=False)
        return (self._device.tun.fileno(), *(udp.fileno() for udp in self._open.values()))

    def take_back(self) -> None:
        """Read everything again."""
        super().take_back()
        self.read_sockets(reading=True)

    def retire(self) -> None:
        """Ask every client for a connection to the heir, a few at a time, and serve them meanwhile."""
        self.retired = True
        self._retired_until = self.loop.time() + GRACE
        self._device.retire()
        self._ask()

    def idle(self) -> bool:
        """Tell whether every client is gone."""
        return self.tunnel.deserted or self.loop.time() >= self._retired_until

    def take_strays(self, datagrams: Sequence[Arrival], reads: Sequence[bytes]) -> None:
        """Serve connections of this process."""
        now = self.loop.time()
        frames = self.tunnel.receive(datagrams, now)
        if frames:
            self._deliver(frames)
        self.tunnel.send(reads, now)
        answers = self.tunnel.answers()
        if answers:
            self._deliver(answers)
        self._after(now)

    def inherit(self, tun: int, sockets: Sequence[int], strays: Strays) -> None:
        """Serve by the giver's socket, and leave to it what belongs to its connections."""
        self.tunnel.follow_on(strays)
        with contextlib.suppress(HostConditionError, OSError):
            self._bound = self._place()
        adopted = [adopt_udp(fd, self.tunnel.counters.drops, self.plane.take_socket) for fd in sockets]
        self._serve({udp.local[1]: udp for udp in adopted})
        if self.config.bind_ip.interface is not None:
            self.loop.call_later(BIND_RETRY, self._check_bind)
        self.start(tun)

    def alone(self) -> None:
        """See Succession."""
        super().alone()
        self.tunnel.follow_on(None)

    def _ask(self) -> None:
        """Ask for connections as long as this process is there: one that was on its way may still come up."""
        if self._stopped:
            return
        self.tunnel.ask_to_renew(ASKED)
        self.tick()
        self.loop.call_later(ASK_EVERY, self._ask)

    def _place(self) -> tuple[str, int]:
        """Return the address to bind to and the interface's index, 0 without one.

        A socket stays with the index: an interface that came back under its name and address is another one. Raises
        HostConditionError or OSError.
        """
        bind = self.config.bind_ip
        return local_address(bind), socket.if_nametoindex(bind.interface) if bind.interface is not None else 0

    def _check_bind(self) -> None:
        """Let go of a socket whose address or interface is no longer what ``bind_ip`` means."""
        if self._stopped or self.retired:
            return
        try:
            stays = self._place() == self._bound
        except (HostConditionError, OSError):
            stays = False
        if stays:
            self.loop.call_later(BIND_RETRY, self._check_bind)
            return
        # The client finds out by itself and connects anew: its connection is left to end of silence.
        self._bound = None
        self._serve({})
        self.tick()


def _own(config: InstanceConfig) -> list[IPv4Interface | IPv6Interface]:
    return [tun for tun in (config.tun_cidr, config.tun_cidr6) if tun is not None]


def _endpoint(config: InstanceConfig) -> ServerEndpoint:
    if config.tls_cert_file is None or config.tls_key_file is None:
        raise ValueError("a server needs tls_cert_file and tls_key_file")
    return ServerEndpoint(
        identity=Identity(config.tls_cert_file, config.tls_key_file),
        tun_mtu=config.tun_mtu,
        algorithm=config.congestion_algorithm,
        ca_file=config.tls_ca_file,
        legacy=bool(config.legacy_peers),
        protection=dataplane.choose(config.native).protection,
    )


def _roster(config: InstanceConfig) -> Roster:
    members = [
        Member(
            peer.name,
            peer.allowed,
            frozenset(peer.pins),
            frozenset(name.lower() for name in peer.cert_names),
            budget_rate=peer.budget_rate,
            budget_packets=peer.budget_packets,
            shared=peer.shared,
            outer_dscp=config.outer_dscp if peer.outer_dscp is None else peer.outer_dscp,
        )
        for peer in config.peers
    ]
    members += [
        Member(
            peer.name,
            (ip_network(peer.address), *peer.allowed),
            budget_rate=peer.budget_rate,
            budget_packets=peer.budget_packets,
            sources=peer.from_,
            outer_dscp=config.outer_dscp,
        )
        for peer in config.legacy_peers
    ]
    return Roster(members)


def _peer(session: Session, now: float) -> dict[str, Any]:
    guest = session.guest
    connection = guest.connection if guest is not None else None
    return {
        "name": session.member.name,
        "address": str(session.member.allowed[0].network_address),
        "allowed": [str(prefix) for prefix in session.member.allowed],
        "shared": [str(prefix) for prefix in session.member.shared],
        "outer_dscp": session.member.outer_dscp,
        "state": "up" if connection is not None else "waiting",
        "reason": session.reason,
        "since_s": since(session.since, now),
        "session": connection.session if connection is not None else None,
        "connects": session.connects,
        "outage_s": round(session.outage.seconds(now), 3),
        "falls": session.outage.falls,
        "last_fault": told(session.fault, now),
        "remote": text(connection.peer) if connection is not None else None,
        "rtt_ms": rtt_ms(connection),
        "datagram": connection.datagram_size if connection is not None else None,
        "mtu": session.mtu,
        "key": connection.claimed if connection is not None else None,
        "legacy": session.legacy,
        **counts(session.counters),
        "drops": dropped(session.totals().drops),
    }
