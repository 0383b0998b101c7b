# SPDX-License-Identifier: GPL-3.0-or-later
"""The wireguard-go of Debian 13, from the mirror that this machine's apt uses, kept for the next time."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.errors import BenchError, UnavailableError
from tests.bench.leftovers import scratch
from tests.bench.shell import run

CACHE = Path("/var/cache/mpquic-bench")
PROGRAM = CACHE / "wireguard-go"
_VERSION = CACHE / "wireguard-go.version"
_SUITE = "trixie"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def version() -> str:
    """Return the version of the package in the cache."""
    return _VERSION.read_text().strip()


def fetch() -> None:
    """Put the program into the cache if it is not there. Raises UnavailableError, naming the step that failed."""
    try:
        if not PROGRAM.exists():
            with scratch() as where:
                _download(where)
        run(PROGRAM, "--version")
    except (BenchError, OSError) as error:
        # apt's own words, without the command line before them.
        raise UnavailableError(str(error).rpartition("E: ")[2]) from error


def _download(where: Path) -> None:
    mirror = _mirror()
    for name in ("state/lists/partial", "cache/archives/partial", "tree"):
        (where / name).mkdir(parents=True)
    sources = where / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {mirror} {_SUITE} main\n")
    # An apt of its own: it sees only the other release and changes nothing that this machine's apt knows.
    options = {
        "Dir::State": where / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": where / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }
    words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    run("apt-get", *words, "-qq", "update", timeout=180)
    # apt-get download writes into its working directory; so does this.
    run("env", "--chdir", where, "apt-get", *words, "-qq", "download", "wireguard-go", timeout=180)
    package = next(iter(where.glob("*.deb")))
    run("dpkg-deb", "-x", package, where / "tree")
    CACHE.mkdir(parents=True, exist_ok=True)
    _VERSION.write_text(run("dpkg-deb", "-f", package, "Version"))
    part = PROGRAM.with_suffix(".part")
    shutil.copyfile(where / "tree/usr/bin/wireguard-go", part)
    part.chmod(0o755)
    part.rename(PROGRAM)


def _mirror() -> str:
    """Return the address of the Debian archive in this machine's apt sources."""
    lines = run(
        "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"
    )
    for line in lines.splitlines():
        origin, label, component, address = line.split("|", 3)
        # Debian-Security has the same origin and another label.
        if (origin, label, component) == ("Debian", "Debian", "main"):
            return address
    raise BenchError("no Debian archive in the sources of apt")
