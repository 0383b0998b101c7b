# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines with systemd: their disks, power, and commands in them."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cgroups import freeze, joining, kill, populated
from lab.errors import LabError
from lab.model import ROUTER, Host
from lab.paths import Paths
from lab.services import PROXY_PORT
from lab.shell import note, run, spawn, wait_until
from lab.wires import Wire

HERE = Path(__file__).parent
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
MANAGEMENT_NETWORK = """[Match]
Name=mgmt0

[Network]
Address={address}/{length}
IPv6AcceptRA=no
LinkLocalAddressing=no
"""


@dataclass(frozen=True)
class Machine:
    """One machine of a lab."""

    paths: Paths
    host: Host

    @property
    def disk(self) -> Path:
        """Folder of the overlay, and of the console's log."""
        return self.paths.host(self.host.name)

    @property
    def cgroup(self) -> Path:
        """Everything of this machine is in here."""
        return self.paths.host_cgroup(self.host.name)

    @property
    def leader(self) -> int | None:
        """PID 1 of the machine, as seen from outside, if it runs."""
        try:
            return int((self.cgroup / "payload/init.scope/cgroup.procs").read_text().split()[0])
        except (OSError, IndexError):
            return None

    def create(self, base: Path) -> None:
        """Make the disk and what an installer would have put on it."""
        upper = self.disk / "upper"
        for folder in (upper, self.disk / "work", self.disk / "root"):
            folder.mkdir(parents=True)
        management = self.paths.topology.management
        proxy = f"http://{management[ROUTER]}:{PROXY_PORT}"
        texts = {
            "/etc/hostname": f"{self.host.name}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {self.host.name}\n::1 localhost\n",
            "/etc/machine-id": f"{secrets.token_hex(16)}\n",
            "/etc/resolv.conf": "# no name server: packages come by the proxy\n",
            "/etc/apt/apt.conf.d/90lab": f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n',
            "/etc/systemd/network/10-mgmt0.network": MANAGEMENT_NETWORK.format(
                address=self.host.management, length=management.prefixlen
            ),
            "/root/.ssh/authorized_keys": self.paths.ssh_key.with_suffix(".pub").read_text(),
        }
        for path, text in texts.items():
            provision(base, upper, path).write_text(text)
        for file in self.host.files:
            target = provision(base, upper, file.path)
            target.unlink(missing_ok=True)
            if file.is_link:
                target.symlink_to(file.content)
            else:
                target.write_text(file.content)
        key = provision(base, upper, "/etc/ssh/ssh_host_ed25519_key")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.host.name, "-f", key)
        kind, public, *_ = key.with_suffix(".pub").read_text().split()
        with self.paths.known_hosts.open("a") as known:
            known.write(f"{self.host.name},{self.host.management} {kind} {public}\n")
        with self.paths.ssh_config.open("a") as config:
            config.write(
                f"Host {self.host.name} {self.host.management}\n"
                f"  HostName {self.host.management}\n"
                f"  User root\n"
                f"  IdentityFile {self.paths.ssh_key}\n"
                f"  IdentitiesOnly yes\n"
                f"  UserKnownHostsFile {self.paths.known_hosts}\n"
                f"  StrictHostKeyChecking yes\n"
            )
        # An own node: the machine's systemd changes the mode of the one it sees.
        os.mknod(self.disk / "tun", 0o20666, os.makedev(10, 200))
        # Copies, as the checkout may change while the machine runs.
        for program in ("machine.sh", "power_loss.py"):
            shutil.copy(HERE / program, self.disk)
        (self.disk / "base").symlink_to(base)

    def start(self) -> None:
        """Switch it on; no effect on one that runs."""
        if populated(self.cgroup):
            return
        supply = spawn(
            [
                self.disk / "machine.sh",
                self.host.name,
                self.paths.netns_path(self.host.name),
                (self.disk / "base").resolve(),
                self.disk,
                self.disk / "tun",
                *self.power_loss(),
            ],
            cgroup=self.cgroup,
            log=self.disk / "console.log",
        )
        (self.disk / "supply.pid").write_text(str(supply))

    def stop(self) -> None:
        """Press the power button and wait; after 30 s pull the plug."""
        if populated(self.cgroup):
            os.kill(int((self.disk / "supply.pid").read_text()), signal.SIGTERM)
            try:
                wait_until(lambda: not populated(self.cgroup), 30, lambda: f"{self.host.name}: does not stop")
            except LabError as error:
                note(f"{error}: power cut")
        self.crash()

    def crash(self) -> None:
        """Pull the plug: nobody gets a farewell, as the sockets of killed processes would send."""
        freeze(self.cgroup)
        run("nsenter", f"--net={self.paths.netns_path(self.host.name)}", *self.power_loss())
        kill(self.cgroup)

    def power_loss(self) -> list[str]:
        """Return the command that takes from the machine's network what goes with its power."""
        return [sys.executable, str(self.disk / "power_loss.py"), "mgmt0", *(nic.name for nic in self.host.nics)]

    def state(self) -> str:
        """Return `off` or what systemd says: starting, running, degraded, ..."""
        if self.leader is None:
            return "starting" if populated(self.cgroup) else "off"
        done = subprocess.run(
            self.command(["systemctl", "is-system-running"]), capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or "starting"

    def wait(self) -> None:
        """Wait until systemd, SSH and every NIC's address are there."""

        def why() -> str:
            lines = (self.disk / "console.log").read_text(errors="replace").split("\n")
            last = [line.strip() for line in lines if line.strip()][-1:]
            return f"{self.host.name}: not up after 60 s ({self.state()}): {self.missing() or last}"

        def up() -> bool:
            if not populated(self.cgroup):
                raise LabError(f"{self.host.name}: died at boot, see {self.disk / 'console.log'}")
            return self.state() in {"running", "degraded"} and self.answers() and not self.missing()

        wait_until(up, 60, why)
        if self.state() == "degraded":
            failed = run(*self.command(["systemctl", "--failed", "--plain", "--no-legend"])).split("\n")
            note(f"{self.host.name}: failed units: {' '.join(line.split()[0] for line in failed if line)}")

    def answers(self) -> bool:
        """Tell whether sshd greets."""
        try:
            with socket.create_connection((str(self.host.management), 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def missing(self) -> str:
        """Name the NICs that wait for their address."""
        links = json.loads(run("ip", "-n", self.paths.netns(self.host.name), "-json", "address"))
        found = {(link["ifname"], entry["local"]) for link in links for entry in link["addr_info"]}
        # A WAN that is cut gives no address by DHCP.
        dark = {wan.name for wan in self.paths.topology.wans.values() if Wire(self.paths, wan).read()[1]}
        wanted = [(nic.name, str(nic.address)) for nic in self.host.nics if nic.end.name not in dark]
        return ", ".join(f"{nic} has no {address}" for nic, address in wanted if (nic, address) not in found)

    def command(self, argv: list[str]) -> list[str]:
        """Return the command that runs `argv` as root in the machine, in its namespaces and its cgroup."""
        leader = self.leader
        if leader is None:
            raise LabError(f"{self.host.name}: is off")
        # The caller's capabilities reach beyond the machine: drop those.
        inside = [
            *("nsenter", f"--target={leader}", "--all", "--wd", "--"),
            *("setpriv", "--bounding-set=-sys_time,-sys_module,-sys_rawio", "--inh-caps=-all"),
            *("env", "-i", f"TERM={os.environ.get('TERM', 'dumb')}"),
            *(f"{key}={value}" for key, value in ENVIRONMENT.items()),
            *argv,
        ]
        return joining(self.cgroup / "payload", inside)


def provision(base: Path, upper: Path, path: str) -> Path:
    """Return where a file of the machine is written, its folders made as they are in the base root."""
    folder = upper
    upper.chmod(0o755)
    for part in Path(path).parts[1:-1]:
        folder /= part
        if not folder.exists():
            folder.mkdir()
            below = base / folder.relative_to(upper)
            private = part == ".ssh"
            folder.chmod(below.stat().st_mode & 0o7777 if below.exists() else 0o700 if private else 0o755)
    return folder / Path(path).name
