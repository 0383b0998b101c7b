# SPDX-License-Identifier: GPL-3.0-or-later
"""Why each finding matters, and the command that mends it."""

from __future__ import annotations

from typing import NamedTuple

FAIL, WARN, NOTE = "fail", "warn", "note"


class Advice(NamedTuple):
    """`level` as of mpquic.host.doctor.finding; `mend` has {id} for the instance and {wan} for its WAN."""

    level: str
    why: str
    mend: str | None


_ROUTING = "mpquic routing fix {id}"
_PLAY = "ansible-playbook site.yml (on the controller)"
_RESTART = "systemctl restart mpquic@{id}"
_LOOK_WAN = "ip -br addr show {wan}; networkctl status {wan}"
_UNKNOWN = Advice(FAIL, "a check of this program says so", "mpquic health fix")

_ADVICE = {
    # WAN
    "wan_missing": Advice(FAIL, "without the interface nothing leaves by this WAN", "ip -br link; " + _PLAY),
    "wan_down": Advice(FAIL, "nothing leaves by an interface that is down", "ip link set {wan} up"),
    "wan_no_carrier": Advice(FAIL, "the cable or the modem behind it is off", "ethtool {wan}; look at cable and modem"),
    "wan_no_ipv4": Advice(FAIL, "without an address nothing leaves by this WAN", "networkctl renew {wan}"),
    "path_down": Advice(FAIL, "the tunnel lives on its other paths, with less to spare", _LOOK_WAN),
    "dns_failed": Advice(
        FAIL,
        "the tunnel's server has a name, and cannot be found at its next connection",
        "resolvectl status; cat /etc/resolv.conf",
    ),
    "dns_silent": Advice(
        WARN, "users have no names, whatever the tunnels do", "cat /etc/resolv.conf; resolvectl query example.net"
    ),
    "quota_low": Advice(
        WARN,
        "its quota is nearly used up: what goes beyond may cost extra, or be slowed down",
        "mpquic top (who uses {wan}); metered: true for {wan} in mpquic_wans, then " + _PLAY,
    ),
    "quota_full": Advice(
        FAIL,
        "its quota is used up: everything until the next period may cost extra, or be slowed down",
        "mpquic top (who uses {wan}); buy more and raise its quota in mpquic_wans, or let other WANs"
        " come first by metered: true, then " + _PLAY,
    ),
    # The path, as the daemon sees it
    "no_answer": Advice(
        FAIL,
        "datagrams leave and nothing comes back: the WAN has no way to the server, something"
        " drops UDP, or the server is off",
        "mpquic status (on the server); ping -I {wan} SERVER",
    ),
    "port_closed": Advice(
        FAIL, "the server's host is there, its daemon is not", "systemctl start mpquic@{id} (on the server)"
    ),
    "wrong_key": Advice(
        FAIL,
        "the ends do not know each other's keys, so nobody is let in",
        "mpquic identity ensure --check (on both ends), then " + _PLAY,
    ),
    "refused": Advice(
        WARN,
        "somebody was not let in: a peer whose key or address is not that of the plan, or a stranger",
        "journalctl -u mpquic@{id} -p err -n 20; " + _PLAY,
    ),
    "loss": Advice(
        FAIL,
        "every lost packet is repeated by its sender: transfers become slow, calls break up",
        "mpquic top; tc -s qdisc show dev {wan}",
    ),
    "rtt_high": Advice(
        WARN,
        "the WAN takes a longer way, or its queues are full",
        "mpquic top; set rate of the WAN if it happens under load",
    ),
    "mtu_fell": Advice(
        WARN,
        "packets are smaller than they were: something on the way carries less",
        "ip link show {wan}; tracepath -n SERVER",
    ),
    "held": Advice(FAIL, "so much was lost that the daemon sends less until it gets through", "mpquic top"),
    "path_unsteady": Advice(WARN, "each fall costs the packets on their way", "journalctl -u mpquic@{id} --since -1h"),
    "last_fault": Advice(NOTE, "it is over", "journalctl -u mpquic@{id} --since -1h"),
    # Daemon and unit
    "unit_inactive": Advice(FAIL, "without its daemon the tunnel carries nothing", "systemctl start mpquic@{id}"),
    "daemon_silent": Advice(FAIL, "the daemon hangs", _RESTART),
    "not_up": Advice(FAIL, "the tunnel carries nothing", "journalctl -u mpquic@{id} -n 20"),
    "no_reply": Advice(FAIL, "the tunnel seems to be there, and carries nothing", "mpquic health fix {id}"),
    "peer_away": Advice(
        FAIL, "no client is connected: look at the client's WAN first", "mpquic doctor (on the client)"
    ),
    "unit_disabled": Advice(WARN, "it does not come back after a reboot", "systemctl enable mpquic@{id}"),
    "unit_masked": Advice(WARN, "it cannot be started", "systemctl unmask mpquic@{id}"),
    "unit_not_reread": Advice(WARN, "systemd runs what was written before", "systemctl daemon-reload"),
    "unit_differs": Advice(WARN, "somebody changed what the play installed", _PLAY),
    "watch_stopped": Advice(WARN, "nobody repairs what is taken away from the tunnels", "systemctl start mpquic-watch"),
    "log": Advice(NOTE, "the last error that it logged", "journalctl -u mpquic@{id} -p err -n 20"),
    # Configuration
    "config_wrong": Advice(
        FAIL, "the tunnel does not start again with this file", "mpquic check-config FILE; " + _PLAY
    ),
    "config_stale": Advice(WARN, "what was changed does not count yet", "systemctl reload mpquic@{id}"),
    "config_refused": Advice(WARN, "what was changed does not count before a restart", _RESTART),
    "release_old": Advice(WARN, "it still runs the release before", "mpquic handover {id}"),
    "file_changed": Advice(WARN, "somebody changed what the play wrote, and the next play changes it back", _PLAY),
    "guard_armed": Advice(
        WARN, "the host goes back to its earlier state unless a play confirms", "mpquic guard status"
    ),
    "guard_failed": Advice(WARN, "the host did not go back to all of its earlier state", "mpquic guard status"),
    # TUN, rules, routes
    "tun_missing": Advice(FAIL, "LAN packets have no way into the tunnel", _ROUTING),
    "tun_down": Advice(FAIL, "LAN packets have no way into the tunnel", _ROUTING),
    "tun_address": Advice(FAIL, "the far end answers to another address", _ROUTING),
    "tun_settings": Advice(WARN, "packets may not fit, or wait too long", _ROUTING),
    "tun_foreign": Advice(FAIL, "another program has an interface of this name", "ip -d link show; " + _PLAY),
    "tun_detached": Advice(FAIL, "packets into the TUN get nowhere", _RESTART),
    "rule_missing": Advice(FAIL, "LAN packets do not find their tunnel; the guard drops them", _ROUTING),
    "rule_wrong": Advice(FAIL, "LAN packets take another way than planned", _ROUTING),
    "route_missing": Advice(FAIL, "LAN packets do not find their tunnel", _ROUTING),
    "route_wrong": Advice(FAIL, "LAN packets take another way than planned", _ROUTING),
    "standing_route_missing": Advice(WARN, "LAN packets could leave in plain when the TUN is gone", _ROUTING),
    "stale_rule": Advice(WARN, "it may catch packets of others", "mpquic routing fix all"),
    "stale_route": Advice(WARN, "it may catch packets of others", "mpquic routing fix all"),
    "stale": Advice(WARN, "it belongs to no tunnel, and may catch packets", "mpquic routing fix all"),
    "foreign_conflict": Advice(
        FAIL, "another program's rule or route takes the packets of the LAN", "ip rule; ip route show table all"
    ),
    "interface_missing": Advice(WARN, "the LAN's interface is not there", "ip -br link"),
    "lan_interface_missing": Advice(WARN, "the LAN's interface is not there", "ip -br link"),
    "main_rule_missing": Advice(FAIL, "the host itself reaches nobody", "ip rule add priority 32766 lookup main"),
    "ipv6_off": Advice(WARN, "the tunnel carries no IPv6", "sysctl net.ipv6.conf.all.disable_ipv6"),
    "two_defaults": Advice(WARN, "either of two default routes may win", "ip -6 route show default"),
    "address_missing": Advice(FAIL, "the far end answers to another address", _ROUTING),
    # nft, sysctl, shaper
    "nft_missing": Advice(
        FAIL, "LAN packets may leak, and a server translates no addresses", "systemctl restart mpquic-nftables"
    ),
    "nft_differs": Advice(WARN, "somebody changed the rules against leaks", "systemctl restart mpquic-nftables"),
    "nft_new": Advice(WARN, "nobody knows what the table should be like", "systemctl restart mpquic-watch"),
    "setting_wrong": Advice(FAIL, "the kernel does not forward as it should", "sysctl --system"),
    "not_forwarding": Advice(FAIL, "the host forwards no packet of a LAN", "sysctl --system"),
    "class_missing": Advice(WARN, "classes of traffic share a WAN as they like", "mpquic shaper fix"),
    "class_wrong": Advice(WARN, "classes of traffic share a WAN otherwise than planned", "mpquic shaper fix"),
    "queue_wrong": Advice(WARN, "packets wait otherwise than planned", "mpquic shaper fix"),
    "stale_class": Advice(WARN, "it takes a share of the WAN for nobody", "mpquic shaper fix"),
    "foreign_qdisc": Advice(WARN, "another program shapes this WAN", "tc qdisc show"),
    "shaper_missing": Advice(WARN, "the WAN is not shaped", "mpquic shaper fix"),
    # Identity
    "identity_broken": Advice(FAIL, "without its key this host is let in nowhere", "mpquic identity ensure"),
    "identity_stale": Advice(WARN, "the daemon shows another key than the host has", "systemctl reload mpquic@{id}"),
    "certificate_expires": Advice(WARN, "peers that trust the CA let nobody in after that", "mpquic identity request"),
    "certificate_expired": Advice(FAIL, "peers that trust the CA let nobody in", "mpquic identity request"),
    # This program
    "fix_failed": Advice(FAIL, "the repair itself fails", "mpquic routing fix {id}"),
    "hold_failed": Advice(WARN, "the second guard against leaks is missing", "systemctl restart mpquic-watch"),
    "restart_failed": Advice(FAIL, "systemd does not restart it", "systemctl status mpquic@{id}"),
    "check_failed": Advice(WARN, "so nobody knows whether this is as it should be", "journalctl -n 20"),
}


def advice(code: str) -> Advice:
    """Return what there is to say about a code; something general for one that is not known."""
    return _ADVICE.get(code, _UNKNOWN)


def known() -> frozenset[str]:
    """Return the codes that have advice of their own."""
    return frozenset(_ADVICE)
