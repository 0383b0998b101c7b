# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system that all machines of all labs share: Debian 12 by mmdebstrap, built once."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from lab.errors import LabError
from lab.paths import STATE
from lab.shell import note, run, step

CACHE = Path("/var/cache/mpquic-lab")
PROVISIONING = Path(__file__).parent / "base"
SUITE = "bookworm"

# What a stock Debian 12 server has, and no more: a play has to install what it needs.
PACKAGES = [
    "ca-certificates",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tcpdump",
    "udev",
]
UNITS = ("ssh.service", "systemd-networkd.service", "lab-sysctl.service")

# The machines share the kernel and have no modules: modprobe of these succeeds as if they were built in.
MODULES = [
    "tun",
    "veth",
    "bridge",
    "nf_tables",
    "nf_conntrack",
    "nf_nat",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_numgen",
    "tcp_bbr",
    "sch_htb",
]


def sources() -> list[str]:
    """Debian's own archives as this machine's apt uses them, one `deb` line each."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    components: dict[tuple[str, str], set[str]] = {}
    for line in targets.splitlines():
        uri, suite, component = line.split()
        name = urlsplit(uri).path.rstrip("/").rpartition("/")[2]
        if suite.startswith(SUITE) and name in {"debian", "debian-security"}:
            components.setdefault((uri.rstrip("/"), suite), set()).add(component)
    if not components:
        raise LabError(f"/etc/apt: no source of Debian's {SUITE} found: expected its archive, such as deb.debian.org")
    return [f"deb {uri} {suite} {' '.join(sorted(names))}" for (uri, suite), names in sorted(components.items())]


def archive_hosts() -> list[str]:
    """Host names of the package archives: all that a lab may reach outside itself."""
    return sorted({urlsplit(line.split()[1]).hostname or "" for line in sources()})


def digest() -> str:
    """Digest of all that decides the content of the base root."""
    parts = [os.uname().release, *PACKAGES, *MODULES, *sources(), *UNITS, Path(__file__).read_text()]
    for path in sorted(PROVISIONING.rglob("*")):
        if path.is_file():
            parts += [str(path.relative_to(PROVISIONING)), path.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextmanager
def locked() -> Iterator[None]:
    """Hold the cache: one build at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure() -> Path:
    """Return the base root; build it if this content was never built."""
    with locked():
        root = CACHE / f"base-{digest()}"
        if not root.exists():
            with step("base root of Debian 12 (once, about a minute)"):
                build(root)
                remove_unused(root)
        return root


def remove_unused(newest: Path) -> None:
    """Remove base roots of earlier content that no machine stands on."""
    used = {link.resolve() for link in STATE.glob("*/hosts/*/base")} | {newest}
    for root in CACHE.glob("base-*"):
        if root not in used:
            shutil.rmtree(root)


def build(root: Path) -> None:
    """Build into a folder beside `root` and rename, so that a `root` that exists is whole."""
    part = root.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    # A machine that has to ignore the dates of the archive's files (a frozen mirror) passes that on.
    checks = [line.rstrip(";") for line in run("apt-config", "dump").splitlines() if line.startswith("Acquire::Check-")]
    options = [f"--aptopt={check}" for check in ('Acquire::Retries "3"', *checks)]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    try:
        run(*command, *options, SUITE, part, "-", stdin="\n".join(sources()))
        provision(part)
        part.rename(root)
    except LabError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def provision(root: Path) -> None:
    """Make the plain root one that boots here many times: no identity of its own, units on, the lab's files in."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")
    shutil.copytree(PROVISIONING, root, dirs_exist_ok=True)
    # A site with a certificate authority of its own reaches the archives through it.
    shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
    (root / "var/log/journal").mkdir(exist_ok=True)
    # The lists were cleaned; a recent time of the folder makes apt's cache_valid_time believe that they are fresh.
    os.utime(root / "var/lib/apt/lists", (0, 0))
    modules = root / "lib/modules" / os.uname().release
    (modules / "kernel").mkdir(parents=True)
    (modules / "modules.order").touch()
    (modules / "modules.builtin").write_text("".join(f"kernel/{name}.ko\n" for name in MODULES))
    run("chroot", root, "depmod", os.uname().release)
    run("chroot", root, "systemctl", "enable", *UNITS)


def remove() -> None:
    """Remove every base root and all else in the cache."""
    if CACHE.exists():
        with step("remove the base root"), locked():
            shutil.rmtree(CACHE)
    else:
        note("no base root")
