# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lab keeps what it makes, and how its objects on the machine are called."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.model import Topology

STATE = Path("/var/lib/mpquic-lab")


@dataclass(frozen=True)
class Paths:
    """Names and paths of one lab; every name on the machine begins with the lab's own."""

    topology: Topology

    @property
    def state(self) -> Path:
        """Folder of everything that lives as long as the lab."""
        return STATE / self.topology.name

    @cached_property
    def cgroup(self) -> Path:
        """The lab's subtree of the unified hierarchy, wherever this machine has it."""
        unified = Path("/sys/fs/cgroup/unified")
        root = unified if (unified / "cgroup.procs").exists() else Path("/sys/fs/cgroup")
        return root / f"mpquic-{self.topology.name}"

    @property
    def services(self) -> Path:
        """Cgroup of the lab's own processes."""
        return self.cgroup / "services"

    @property
    def commands(self) -> Path:
        """Cgroup of commands that `exec` runs outside of the machines; they end with the lab."""
        return self.cgroup / "commands"

    @property
    def bridge(self) -> str:
        """Bridge of the management network."""
        return f"{self.topology.name}-br"

    def port(self, host: str) -> str:
        """Name this machine's end of a host's management link; numbered, as 15 characters are all a link has."""
        return f"{self.topology.name}-h{list(self.topology.hosts).index(host) + 1}"

    def netns(self, place: str) -> str:
        """Name of the network namespace of a host, an ISP, a LAN client or the internet."""
        return f"{self.topology.name}-{place}"

    def netns_path(self, place: str) -> Path:
        """Path of that namespace."""
        return Path("/run/netns") / self.netns(place)

    def host(self, host: str) -> Path:
        """Folder of one machine's disk and console."""
        return self.state / "hosts" / host

    def host_cgroup(self, host: str) -> Path:
        """Cgroup of one machine."""
        return self.cgroup / f"host-{host}"

    @property
    def ssh_key(self) -> Path:
        """Private key that every machine lets in as root."""
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Host keys of all machines."""
        return self.state / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """Makes `ssh -F FILE HOST` work."""
        return self.state / "ssh_config"

    @property
    def http_log(self) -> Path:
        """One line per request of the internet's HTTP server."""
        return self.state / "http.log"

    @property
    def manifest(self) -> Path:
        """What the lab put on this machine, written before it does."""
        return self.state / "manifest.json"

    @property
    def ready(self) -> Path:
        """Exists when the lab was brought up whole; holds the digest of its topology."""
        return self.state / "ready"
