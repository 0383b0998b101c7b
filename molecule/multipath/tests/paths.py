# SPDX-License-Identifier: GPL-3.0-or-later
"""The multipath tunnel of the scenario: the examples of its page, its paths, and faults of its WANs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from conftest import INVENTORY, ROOT, instances, out, play, recap, run, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ENDS = ("client1", "vps1")
PAGE = ROOT / "docs" / "multipath.md"
#: WAN of the lab: its interface on the client, which is the name of its path.
WANS = {1: "enp7s3", 2: "enp7s4", 3: "enp7s5"}
NAME = "mp1"
LAN = "lan6"
PORT = 45017
#: Instances that have nothing to do with it.
OTHERS = {"client1": ("1", "5", "cr5", "df5"), "vps1": ("1", "5", "mt1")}

_applied: list[dict[str, Any]] = []


def example(heading: str) -> Any:
    """Return the first YAML block of the page below a heading."""
    found = re.search(rf"^#+ {re.escape(heading)}\n.*?^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{PAGE} has no example below {heading!r}"
    return yaml.safe_load(found[1])


def recipe(heading: str, **more: Any) -> dict[str, Any]:
    """Return the one tunnel of an example, with telemetry often enough for a test, and IPv6."""
    (tunnel,) = example(heading)["mpquic_multipath_tunnels"]
    return {**tunnel, "telemetry_interval": 2, "lan_cidrs": [*tunnel["lan_cidrs"], "fd00:6::/64"], **more}


@functools.cache
def _inventory() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mpquic-multipath-"))
    atexit.register(shutil.rmtree, folder)
    return Path(shutil.copytree(INVENTORY, folder / "inventory"))


def write(*tunnels: dict[str, Any]) -> Path:
    """Return an inventory with these multipath tunnels."""
    file = Path("host_vars") / "client1.yml"
    site = yaml.safe_load((INVENTORY / file).read_text())
    (_inventory() / file).write_text(yaml.safe_dump(site | {"mpquic_multipath_tunnels": list(tunnels)}))
    return _inventory()


def apply(*tunnels: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run the play for a site with these multipath tunnels."""
    result = play("--diff", inventory=write(*tunnels))
    recap(result)
    _applied[:] = tunnels
    return result


def ensure(*tunnels: dict[str, Any]) -> None:
    """Run the play, unless the machines have these tunnels from the last run."""
    if _applied != list(tunnels):
        apply(*tunnels)
    all_up(*(path.get("name", path["wan"]) for tunnel in tunnels for path in tunnel["paths"]))


def status(host: str = "client1") -> dict[str, dict[str, Any]]:
    """Return what an end says of each path, by its name."""
    entry = instances(host)[NAME]
    if host == "vps1":
        (entry,) = entry["peers"]
    return {path["name"]: path for path in entry["paths"]}


def states(host: str = "client1") -> dict[str, str]:
    return {name: path["state"] for name, path in status(host).items()}


def all_up(*names: str) -> None:
    """Wait until both ends have these paths and no others, all up."""
    wanted = dict.fromkeys(names or WANS.values(), "up")
    wait_for(lambda: [states(host) for host in ENDS] == [wanted] * 2, seconds=20, what=f"{', '.join(wanted)} up")


@contextlib.contextmanager
def black_hole(*wans: int) -> Iterator[None]:
    """Let the ISPs' routers swallow everything on these WANs, both ways; the carrier stays."""
    swallow = "table ip hole { chain swallow { type filter hook forward priority 0; counter drop; }; }"
    try:
        for wan in wans:
            run(f"isp{wan}", f"echo '{swallow}' | nft -f -")
        yield
    finally:
        for wan in wans:
            run(f"isp{wan}", "nft delete table ip hole")


@contextlib.contextmanager
def unplugged(wan: int) -> Iterator[None]:
    """Take the carrier of a WAN's interface away."""
    out("client1", f"ip link set dev {WANS[wan]} carrier off")
    try:
        yield
    finally:
        out("client1", f"ip link set dev {WANS[wan]} carrier on")


def others() -> dict[str, dict[str, list[Any]]]:
    """Return by what one sees that an instance has neither been started anew nor lost its session."""
    found = {host: instances(host) for host in ENDS}
    return {
        host: {name: [found[host][name].get(key) for key in ("pid", "session", "connects")] for name in OTHERS[host]}
        for host in ENDS
    }


class Carried:
    """How many inner packets each path carried, as seen by the client, while the block ran."""

    def __enter__(self) -> Self:
        self._before = status()
        return self

    def __exit__(self, *_: object) -> None:
        now = status()
        self.up, self.down = (
            {name: now[name][key] - self._before[name][key] for name in now} for key in ("tx_packets", "rx_packets")
        )
