# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a topology file and check it whole."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import combinations
from pathlib import Path
from string import Template
from typing import Any, NoReturn

import yaml

from lab.errors import TopologyError
from lab.model import (
    KINDS,
    MTUS,
    QUALITY_KEYS,
    RESERVED_NICS,
    ROUTER,
    File,
    Host,
    Lan,
    Nic,
    Quality,
    Subnet,
    Topology,
    Wan,
)


class Reader:
    """Takes typed values out of the file's data; each error names the file, the key and what was expected."""

    def __init__(self, path: Path) -> None:
        """Take the path that errors name."""
        self.path = path

    def fail(self, key: str, text: str) -> NoReturn:
        """Raise the error of one key."""
        raise TopologyError(f"{self.path}: {key}: {text}")

    def mapping(
        self, key: str, value: Any, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Check a mapping; with `required` or `optional` its keys as well."""
        if not isinstance(value, dict):
            self.fail(key, f"expected a mapping, found {value!r}")
        for name in required:
            if name not in value:
                self.fail(f"{key}.{name}".lstrip("."), "missing")
        for name in value:
            if not isinstance(name, str):
                self.fail(f"{key}.{name}".lstrip("."), "expected a name")
            if (required or optional) and name not in required + optional:
                self.fail(f"{key}.{name}".lstrip("."), f"unknown key, expected one of {', '.join(required + optional)}")
        return value

    def matching(self, key: str, value: Any, pattern: str, expected: str) -> str:
        """Check a text by a pattern."""
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            self.fail(key, f"expected {expected}, found {value!r}")
        return value

    def place(self, key: str, value: Any) -> str:
        """Check the name of a namespace."""
        return self.matching(key, value, r"[a-z][a-z0-9-]{0,14}", "a name of 1 to 15 small letters, digits and dashes")

    def network(self, key: str, value: Any, longest: int) -> IPv4Network:
        """Check an IPv4 network that has room for its machines."""
        try:
            network = IPv4Network(value) if isinstance(value, str) and "/" in value else None
        except ValueError:
            network = None
        if network is None or not 8 <= network.prefixlen <= longest:
            self.fail(key, f"expected an IPv4 network of /8 to /{longest} such as 100.64.1.0/24, found {value!r}")
        return network

    def networks(self, key: str, value: Any, longest: int) -> tuple[IPv4Network, IPv6Network | None]:
        """Check an IPv4 network, or a list of one and an IPv6 network."""
        if not isinstance(value, list):
            return self.network(key, value, longest), None
        if len(value) != 2:
            self.fail(key, f"expected an IPv4 network and an IPv6 network, found {value!r}")
        try:
            six = IPv6Network(value[1]) if isinstance(value[1], str) and "/" in value[1] else None
        except ValueError:
            six = None
        if six is None or not 16 <= six.prefixlen <= 64:
            self.fail(key, f"expected an IPv6 network of /16 to /64 such as fd00:5::/64, found {value[1]!r}")
        return self.network(key, value[0], longest), six

    def address6(self, key: str, value: Any) -> IPv6Address:
        """Check an IPv6 address."""
        try:
            address = IPv6Address(value) if isinstance(value, str) else None
        except ValueError:
            address = None
        if address is None:
            self.fail(key, f"expected an IPv6 address, found {value!r}")
        return address

    def address(self, key: str, value: Any) -> IPv4Address:
        """Check an IPv4 address."""
        try:
            address = IPv4Address(value) if isinstance(value, str) else None
        except ValueError:
            address = None
        if address is None:
            self.fail(key, f"expected an IPv4 address, found {value!r}")
        return address


def load(path: Path) -> Topology:
    """Read and check a topology file."""
    try:
        text = path.read_text()
        data = yaml.safe_load(text)
    except OSError as error:
        raise TopologyError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise TopologyError(f"{path}:{line} not YAML: {getattr(error, 'problem', None) or error}") from error
    reader = Reader(path)
    top = reader.mapping("", data, ("name", "management", "hosts", "internet"), ("wans", "lans"))
    name = reader.matching("name", top["name"], "[a-z][a-z0-9]{0,7}", "1 to 8 small letters and digits")
    management = reader.network("management", top["management"], 29)
    wans = {key: read_wan(reader, key, value) for key, value in reader.mapping("wans", top.get("wans", {})).items()}
    lans = {
        reader.place(f"lans.{key}", key): Lan(key, *reader.networks(f"lans.{key}", value, 30))
        for key, value in reader.mapping("lans", top.get("lans", {})).items()
    }
    internet = reader.mapping("internet", top["internet"], ("server", "router", "subnets"), ("server6",))
    subnets = {
        reader.place(f"internet.subnets.{key}", key): Subnet(
            key, *reader.networks(f"internet.subnets.{key}", value, 28)
        )
        for key, value in reader.mapping("internet.subnets", internet["subnets"]).items()
    }
    ends: dict[str, Wan | Lan | Subnet] = {**wans, **lans, **subnets}
    if len(ends) < len(wans) + len(lans) + len(subnets):
        reader.fail("wans, lans, internet.subnets", "expected a name of its own for each network")
    hosts = {key: read_host(reader, key, value, ends) for key, value in reader.mapping("hosts", top["hosts"]).items()}
    topology = Topology(
        name=name,
        digest="",
        management=management,
        hosts=hosts,
        wans=wans,
        lans=lans,
        subnets=subnets,
        server=reader.address("internet.server", internet["server"]),
        server6=reader.address6("internet.server6", internet["server6"]) if "server6" in internet else None,
        router=reader.address("internet.router", internet["router"]),
    )
    check(reader, topology)
    return replace(topology, digest=hashlib.sha256(repr(topology).encode()).hexdigest()[:12])


def read_wan(reader: Reader, name: str, value: Any) -> Wan:
    """Read one entry of `wans`."""
    where = f"wans.{name}"
    data = reader.mapping(where, value, ("isp", "network", "public"), ("mtu", *QUALITY_KEYS))
    mtu = data.get("mtu", MTUS[-1])
    if type(mtu) is not int or mtu not in MTUS:
        reader.fail(f"{where}.mtu", f"expected a number from {MTUS[0]} to {MTUS[-1]}, found {mtu!r}")
    quality = {key: data[key] for key in QUALITY_KEYS if key in data}
    return Wan(
        name=name,
        isp=reader.place(f"{where}.isp", data["isp"]),
        network=reader.network(f"{where}.network", data["network"], 28),
        public=reader.address(f"{where}.public", data["public"]),
        mtu=mtu,
        quality=Quality().changed(quality, f"{reader.path}: {where}.", TopologyError),
    )


def read_host(reader: Reader, name: str, value: Any, ends: dict[str, Wan | Lan | Subnet]) -> Host:
    """Read one entry of `hosts`."""
    where = f"hosts.{reader.place(f'hosts.{name}', name)}"
    data = reader.mapping(where, value, ("management", "nics"), ("files",))
    nics: list[Nic] = []
    for nic, end in reader.mapping(f"{where}.nics", data["nics"]).items():
        reader.matching(
            f"{where}.nics.{nic}", nic, r"[A-Za-z][A-Za-z0-9_.-]{0,14}", "a NIC's name of 1 to 15 characters"
        )
        if nic in RESERVED_NICS:
            reader.fail(f"{where}.nics.{nic}", "this name is the lab's own")
        if not isinstance(end, str) or end not in ends:
            reader.fail(f"{where}.nics.{nic}", f"expected the name of a WAN, a LAN or a subnet, found {end!r}")
        count = sum(type(other.end) is type(ends[end]) for other in nics)
        digest = hashlib.sha256(f"{name}/{nic}".encode()).hexdigest()
        nics.append(Nic(nic, ends[end], count + 1, ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])))
    entries = data.get("files", [])
    if not isinstance(entries, list):
        reader.fail(f"{where}.files", f"expected a list, found {entries!r}")
    shared = {"hostname": name, "wan_nics": ", ".join(f'"{nic.name}"' for nic in nics if nic.kind == "wan")}
    files = [
        file
        for i, entry in enumerate(entries)
        for file in read_file(reader, f"{where}.files[{i}]", entry, nics, shared)
    ]
    return Host(name, reader.address(f"{where}.management", data["management"]), tuple(nics), tuple(files))


def read_file(reader: Reader, where: str, value: Any, nics: list[Nic], shared: dict[str, str]) -> Iterator[File]:
    """Read one entry of `files` and fill its templates."""
    data = reader.mapping(where, value, ("path",), ("template", "link", "each"))
    path = reader.matching(f"{where}.path", data["path"], r"(/[^/]+)+", "an absolute path")
    if ("template" in data) == ("link" in data):
        reader.fail(where, "expected either template or link")
    if "link" in data:
        yield File(path, reader.matching(f"{where}.link", data["link"], r"[^\0]+", "a path"), is_link=True)
        return
    template = reader.path.parent / reader.matching(f"{where}.template", data["template"], r"[^\0]+", "a path")
    each = data.get("each")
    if each is not None and each not in KINDS:
        reader.fail(f"{where}.each", f"expected one of {', '.join(KINDS)}, found {each!r}")
    try:
        text = template.read_text()
        for variables in [nic.variables for nic in nics if nic.is_kind(each)] if each else [{}]:
            values = {**shared, **variables}
            yield File(Template(path).substitute(values), Template(text).substitute(values), is_link=False)
    except OSError as error:
        reader.fail(f"{where}.template", f"{template}: {error.strerror}")
    except KeyError as error:
        reader.fail(f"{where}.template", f"{template}: unknown variable ${error.args[0]}")
    except ValueError as error:
        reader.fail(f"{where}.template", f"{template}: {error}")


def check(reader: Reader, topology: Topology) -> None:
    """Refuse what only the whole shows."""
    names = (*topology.places, *topology.subnets)
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.fail(name, "two hosts, ISPs, LANs or subnets have this name (internet is the lab's own)")
    check_ends(reader, topology)
    for host in topology.hosts.values():
        check_host(reader, topology, host)
    check_addresses(reader, topology)


def check_ends(reader: Reader, topology: Topology) -> None:
    """Refuse a network with two NICs or none."""
    used: dict[str, str] = {}
    for host, nic in topology.nics():
        end = nic.end.name
        if end in used:
            reader.fail(f"hosts.{host.name}.nics.{nic.name}", f"{end} is already the end of {used[end]}")
        used[end] = f"{host.name} {nic.name}"
    for end in (*topology.wans, *topology.lans, *topology.subnets):
        if end not in used:
            reader.fail(end, "no NIC of any host names this network")


def check_host(reader: Reader, topology: Topology, host: Host) -> None:
    """Refuse networks of one machine that overlap, and a management address outside of its network."""
    network = topology.management
    if not network[ROUTER] < host.management < network.broadcast_address:
        reader.fail(f"hosts.{host.name}.management", f"expected an address of {network} after the first")
    networks = [("management", network), *((nic.end.name, nic.end.network) for nic in host.nics)]
    for (one, first), (other, second) in combinations(networks, 2):
        if first.overlaps(second):
            reader.fail(f"hosts.{host.name}", f"the networks of {one} ({first}) and {other} ({second}) overlap")


def check_addresses(reader: Reader, topology: Topology) -> None:
    """Refuse an address that two own."""
    owned = [(f"hosts.{host.name}.management", host.management) for host in topology.hosts.values()]
    owned += [(f"wans.{wan.name}.public", wan.public) for wan in topology.wans.values()]
    owned += [("internet.server", topology.server), ("internet.router", topology.router)]
    for (one, address), (other, same) in combinations(owned, 2):
        if address == same:
            reader.fail(other, f"{same} is already the address of {one}")
