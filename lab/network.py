# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces, links and addresses between the machines."""

import json
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

from lab.errors import LabError
from lab.model import HOST_ON_LAN, HOST_ON_WAN, LAN_CLIENT, ROUTER, Host, Nic, Wan
from lab.paths import Paths
from lab.shell import run, spawn, succeeds
from lab.wires import Wire


def check_management(paths: Paths) -> None:
    """Refuse a management network that this machine already uses for something else."""
    network = paths.topology.management
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all")):
        if route["dst"] != "default" and network.overlaps(IPv4Network(route["dst"])):
            raise LabError(
                f"management network {network}: already used on this machine by {route.get('dev', 'a route')}"
            )


def create_netns(paths: Paths) -> None:
    """Make every namespace with its loopback up; routers forward."""
    topology = paths.topology
    routers = {*(wan.isp for wan in topology.wans.values()), "internet"}
    for place in topology.places:
        run("ip", "netns", "add", paths.netns(place))
        run("ip", "-n", paths.netns(place), "link", "set", "lo", "up")
        if place in routers:
            run("ip", "netns", "exec", paths.netns(place), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    if topology.server6:
        run("ip", "-n", paths.netns("internet"), "address", "add", f"{topology.server6}/128", "dev", "lo")


def create_management(paths: Paths) -> None:
    """Connect each host with this machine by a bridge; the hosts configure their ends themselves."""
    topology = paths.topology
    run("ip", "link", "add", paths.bridge, "type", "bridge")
    run("ip", "address", "add", f"{topology.management[ROUTER]}/{topology.management.prefixlen}", "dev", paths.bridge)
    run("ip", "link", "set", paths.bridge, "up")
    for host in topology.hosts:
        port = paths.port(host)
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "mgmt0", "netns", paths.netns(host))
        run("ip", "link", "set", port, "master", paths.bridge, "up")


def create_links(paths: Paths) -> None:
    """Connect every NIC of every host, and the ISPs with the internet."""
    topology = paths.topology
    internet = paths.netns("internet")
    run("ip", "-n", internet, "address", "add", f"{topology.server}/32", "dev", "lo")
    wires: list[tuple[Host, Nic, Wan]] = []
    for host, nic in topology.nics():
        if nic.end.name in topology.wans:
            wan = topology.wans[nic.end.name]
            Wire(paths, wan).start(host.name, nic)
            wires.append((host, nic, wan))
        elif nic.end.name in topology.lans:
            client = paths.netns(nic.end.name)
            veth(paths.netns(host.name), nic.name, nic.mac, client, "eth0")
            configure(client, "eth0", f"{nic.end.network[LAN_CLIENT]}/{nic.end.network.prefixlen}")
            run("ip", "-n", client, "route", "add", "default", "via", str(nic.address))
            if nic.network6:
                configure6(client, "eth0", f"{nic.network6[LAN_CLIENT]}/{nic.network6.prefixlen}")
                run("ip", "-n", client, "route", "add", "default", "via", str(nic.network6[HOST_ON_LAN]))
        else:
            veth(paths.netns(host.name), nic.name, nic.mac, internet, nic.end.name)
            configure(internet, nic.end.name, f"{nic.end.network[ROUTER]}/{nic.end.network.prefixlen}")
            if nic.network6:
                configure6(internet, nic.end.name, f"{nic.network6[ROUTER]}/{nic.network6.prefixlen}")
    for host, nic, wan in wires:
        Wire(paths, wan).wait()
        run("ip", "-n", paths.netns(host.name), "link", "set", nic.name, "address", nic.mac)
        create_isp(paths, wan, nic)


def create_isp(paths: Paths, wan: Wan, nic: Nic) -> None:
    """Make the router of one ISP: DHCP for its customer, masquerade behind its public address."""
    isp, internet, router = paths.netns(wan.isp), paths.netns("internet"), paths.topology.router
    configure(isp, "access", f"{wan.network[ROUTER]}/{wan.network.prefixlen}")
    run("ip", "-n", isp, "link", "add", "transit", "type", "veth", "peer", "name", wan.isp, "netns", internet)
    run("ip", "-n", isp, "address", "add", str(wan.public), "peer", str(router), "dev", "transit")
    run("ip", "-n", isp, "link", "set", "transit", "up")
    run("ip", "-n", isp, "route", "add", "default", "via", str(router))
    run("ip", "-n", internet, "address", "add", str(router), "peer", str(wan.public), "dev", wan.isp)
    run("ip", "-n", internet, "link", "set", wan.isp, "up")
    for place, device in ((isp, "transit"), (internet, wan.isp)):
        run("ip", "-n", place, "link", "set", device, "mtu", str(wan.mtu))
    # As a real ISP: a source that it did not give out goes nowhere.
    rules = f"""table ip isp {{
        chain forward {{
            type filter hook forward priority filter; policy accept;
            iifname "access" ip saddr != {wan.network} drop
        }}
        chain postrouting {{
            type nat hook postrouting priority srcnat; policy accept;
            oifname "transit" masquerade
        }}
    }}"""
    run("ip", "netns", "exec", isp, "nft", "-f", "-", stdin=rules)
    folder = paths.state / "dhcp"
    folder.mkdir(exist_ok=True)
    spawn(
        [
            *("ip", "netns", "exec", isp, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"),
            *("--interface=access", "--bind-interfaces", "--user=root", "--log-facility=-", "--log-dhcp"),
            f"--pid-file={folder / wan.isp}.pid",
            f"--dhcp-leasefile={folder / wan.isp}.leases",
            f"--dhcp-range={wan.network[HOST_ON_WAN]},static,{wan.network.netmask},10m",
            f"--dhcp-host={nic.mac},{nic.address}",
            "--dhcp-authoritative",
            "--dhcp-ignore-names",
            f"--dhcp-option=option:router,{wan.network[ROUTER]}",
        ],
        cgroup=paths.services,
        log=folder / f"{wan.isp}.log",
    )


def veth(netns: str, nic: str, mac: str, other: str, other_nic: str) -> None:
    """Connect two namespaces."""
    run(
        "ip", "-n", netns, "link", "add", nic, "address", mac, "type", "veth", "peer", "name", other_nic, "netns", other
    )


def configure(netns: str, nic: str, address: str) -> None:
    """Give a NIC its address and switch it on."""
    run("ip", "-n", netns, "address", "add", address, "dev", nic)
    run("ip", "-n", netns, "link", "set", nic, "up")


def configure6(netns: str, nic: str, address: str) -> None:
    """Give a NIC an IPv6 address; nobody else can have it."""
    run("ip", "-n", netns, "address", "add", address, "dev", nic, "nodad")


def remove(netns: list[str], links: list[str]) -> None:
    """Remove namespaces, with all that is in them, and links of this machine, as far as they exist."""
    for name in netns:
        if Path("/run/netns", name).exists():
            run("ip", "netns", "delete", name)
    for link in links:
        if Path("/sys/class/net", link).exists():
            with suppress(LabError):  # a veth may have gone with its other end just now
                run("ip", "link", "delete", link)


def present(paths: Paths) -> bool:
    """Tell whether every namespace and the bridge exist."""
    places = all(paths.netns_path(place).exists() for place in paths.topology.places)
    return places and succeeds("ip", "link", "show", paths.bridge)
