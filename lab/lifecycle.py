# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a lab up and down."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import base, cgroups, network, services
from lab.errors import LabError
from lab.machines import Machine
from lab.paths import STATE, Paths
from lab.shell import note, require_tools, run, step
from lab.wires import Wire


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one command at a time make or remove labs (STATE), or change one lab (its own folder)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("waiting for another lab command to end")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def machines(paths: Paths) -> list[Machine]:
    """Every machine of the lab."""
    return [Machine(paths, host) for host in paths.topology.hosts.values()]


def machine(paths: Paths, name: str) -> Machine:
    """One machine, by name."""
    hosts = paths.topology.hosts
    if name not in hosts:
        raise LabError(f"{name}: no such host, expected one of {', '.join(hosts)}")
    return Machine(paths, hosts[name])


def wire(paths: Paths, name: str) -> Wire:
    """One wire, by the name of its WAN."""
    wans = paths.topology.wans
    if name not in wans:
        raise LabError(f"{name}: no such WAN, expected one of {', '.join(wans)}")
    return Wire(paths, wans[name])


def require_up(paths: Paths) -> None:
    """Refuse to act on a lab that is not there or is of another topology."""
    if not paths.ready.exists():
        raise LabError(f"{paths.topology.name} is not up")
    if paths.ready.read_text() != paths.topology.digest:
        raise LabError(f"{paths.topology.name} was brought up from another topology: run down, then up")


def whole(paths: Paths) -> bool:
    """Tell whether the network and the lab's own processes are as `up` left them."""
    if not paths.ready.exists():
        return False
    if paths.ready.read_text() != paths.topology.digest:
        return cgroups.populated(paths.services)  # its parts are not known here
    alive = cgroups.count(paths.services)
    wires = all(Wire(paths, wan).pid for wan in paths.topology.wans.values())
    return network.present(paths) and wires and alive >= expected_services(paths)


def expected_services(paths: Paths) -> int:
    """Count the lab's own processes: a wire and a DHCP server per WAN, the proxy, the HTTP server."""
    return 2 * len(paths.topology.wans) + 2


def up(paths: Paths) -> None:
    """Bring the whole lab up; on one that is up, switch on the machines that are off."""
    require_tools()
    STATE.mkdir(parents=True, exist_ok=True)
    with exclusive(STATE):
        if whole(paths):
            require_up(paths)
        else:
            if paths.ready.exists():  # this machine was booted anew, or something ended a process of the lab
                note("what is left of the lab is not whole: from the start")
            clear(paths)
            try:
                create(paths)
            except LabError:
                clear(paths)
                raise
        with exclusive(paths.state):
            boot(paths)
    note(f"{paths.topology.name} is up: ssh -F {paths.ssh_config} {next(iter(paths.topology.hosts))}")


def boot(paths: Paths) -> None:
    """Switch on what is off, all at once."""
    off = [each for each in machines(paths) if not cgroups.populated(each.cgroup)]
    if off:
        with step(f"boot {', '.join(each.host.name for each in off)}"):
            for each in off:
                each.start()
            for each in off:
                each.wait()
    paths.ready.write_text(paths.topology.digest)


def create(paths: Paths) -> None:
    """Make everything but the power of the machines."""
    network.check_management(paths)
    root = base.ensure()
    topology = paths.topology
    manifest = {
        "netns": [paths.netns(place) for place in topology.places],
        "links": [*(paths.port(host) for host in topology.hosts), paths.bridge],
    }
    taken = [name for name in manifest["netns"] if Path("/run/netns", name).exists()]
    taken += [name for name in manifest["links"] if Path("/sys/class/net", name).exists()]
    if taken:
        raise LabError(f"{taken[0]}: a namespace or link of this name exists and is not this lab's")
    paths.state.mkdir()
    paths.manifest.write_text(json.dumps(manifest))
    with step("networks, WANs and the internet"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {topology.name}", "-f", paths.ssh_key)
        network.create_netns(paths)
        network.create_management(paths)
        network.create_links(paths)
        services.start_http_server(paths)
        services.start_proxy(paths)
    for each in machines(paths):
        each.create(root)


def down(paths: Paths) -> None:
    """Switch everything off and leave nothing on this machine but the base root."""
    STATE.mkdir(parents=True, exist_ok=True)
    with exclusive(STATE):
        if not paths.state.exists() and not paths.cgroup.exists():
            note(f"{paths.topology.name} is not up")
            return
        with step(f"{paths.topology.name} down"):
            clear(paths)


def clear(paths: Paths) -> None:
    """Remove what any earlier `up` of this name made, whole or not, from this topology or another."""
    # The disks go as well, so nobody waits for an orderly end.
    cgroups.kill(paths.cgroup)
    if paths.manifest.exists():
        manifest = json.loads(paths.manifest.read_text())
        network.remove(manifest["netns"], manifest["links"])
    if paths.state.exists():
        shutil.rmtree(paths.state)


def purge(paths: Paths) -> None:
    """Bring the lab down and remove every file of it, the base root included unless another lab uses it."""
    down(paths)
    with exclusive(STATE):
        others = sorted(path.name for path in STATE.iterdir())
        if others:
            note(f"the base root stays, for the machines of other labs: {', '.join(others)}")
            return
        base.remove()
        STATE.rmdir()
