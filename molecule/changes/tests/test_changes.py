# SPDX-License-Identifier: GPL-3.0-or-later
"""What both ends of a tunnel share changes under load, step after step of one story, and the others notice nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import INVENTORY, ROOT, TUNNELS, WEB, all_up, instances, out, play, recap, start, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = Path("host_vars") / "client1.yml"
#: Seconds between packets of each LAN.
EVERY = 0.05
MULTIPATH = {
    "id": 1,
    "lan": "enp7s2",
    "lan_cidrs": ["172.16.6.0/30"],
    "paths": [{"wan": "enp7s7"}, {"wan": "enp7s8"}],
}


@dataclass
class Loss:
    """What became of the packets of one LAN."""

    #: Packets that were not answered, and the longest time without an answer (s).
    lost: int
    gap: float


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """Yield an inventory to be changed; bring the first one back afterwards."""
    copy = tmp_path_factory.mktemp("site") / "inventory"
    shutil.copytree(INVENTORY, copy)
    yield copy
    recap(play())
    assert {counts["changed"] for counts in recap(play()).values()} == {0}


def tunnels() -> list[dict[str, Any]]:
    """Return the tunnels of the scenario, by id from 1 on."""
    found: list[dict[str, Any]] = yaml.safe_load((INVENTORY / VARIABLES).read_text())["mpquic_tunnels"]
    return found


def write(inventory: Path, *wanted: dict[str, Any], **more: Any) -> None:
    """Change the inventory to these tunnels, and to more variables."""
    (inventory / VARIABLES).write_text(yaml.safe_dump({"mpquic_tunnels": list(wanted), **more}))


@contextlib.contextmanager
def load() -> Iterator[dict[int, Loss]]:
    """Send packets from every LAN all the time; afterwards there is what was lost of them."""
    found: dict[int, Loss] = {}
    with tempfile.TemporaryDirectory() as folder:
        # Into files: nobody would empty pipes meanwhile, and a ping that cannot speak sends nothing.
        files = {i: Path(folder) / f"lan{i}" for i in TUNNELS}
        running = [start(f"lan{i}", f"exec ping -n -D -i {EVERY} {WEB} >{file}") for i, file in files.items()]
        try:
            yield found
        finally:
            for process in running:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=10)
            found |= {i: _loss(file.read_text()) for i, file in files.items()}


def _loss(text: str) -> Loss:
    lines = re.findall(r"^\[([\d.]+)\].* icmp_seq=(\d+) ttl", text, re.MULTILINE)
    seen = [(float(at), int(number)) for at, number in lines]
    assert len(seen) > 100, text[-500:]
    # The end of the last packets is not waited for.
    lost = seen[-1][1] - len({number for _at, number in seen})
    return Loss(lost, max(later - earlier for (earlier, _), (later, _) in itertools.pairwise(seen)))


def sessions(*changed: str) -> dict[str, Any]:
    """Return what tells whether tunnels stayed, without those that were to change."""
    found = {(host, name): item for host in ("client1", "vps1") for name, item in instances(host).items()}
    return {key: (item["session"], item["pid"]) for key, item in found.items() if key[1] not in changed}


def beside() -> str:
    """Return what is left of any change on both ends."""
    look = "grep -lE 'also:|standby' /etc/mpquic/instances/*.yaml; true"
    return out("client1", look) + out("vps1", look)


def listens(port: int) -> bool:
    return f":{port} " in out("vps1", "ss -Hlun")


def test_port_and_network_of_one_tunnel(inventory):
    four = {**tunnels()[3], "port": 46004, "tun_cidr": "10.99.4.0/30"}
    write(inventory, *(four if item["id"] == 4 else item for item in tunnels()))
    before = sessions("4")
    with load() as found:
        recap(play(inventory=inventory))
        wait_for(all_up, seconds=10, what="all LANs have the internet")
    assert sessions("4") == before
    assert {i: loss.lost for i, loss in found.items() if i != 4} == dict.fromkeys(set(TUNNELS) - {4}, 0)
    # A new daemon is connected to the new port before the old one goes.
    assert found[4].lost <= 2, found
    assert beside() == ""
    assert (listens(46004), listens(45004)) == (True, False)
    assert "10.99.4.2/30" in (addresses := out("vps1", "ip -br address show mpq4"))
    assert "10.200.4.2" not in addresses


def test_a_lan_moves_to_several_paths_while_two_tunnels_swap_their_ports(inventory):
    one, two, three, four, five, _six = tunnels()
    four |= {"port": 46004, "tun_cidr": "10.99.4.0/30"}
    one, two = {**one, "port": 45002}, {**two, "port": 45001}
    write(inventory, one, two, three, four, five, mpquic_multipath_tunnels=[MULTIPATH])
    before = sessions("1", "2", "6")
    with load() as found:
        recap(play(inventory=inventory))
        wait_for(all_up, seconds=10, what="all LANs have the internet")
    assert sessions("1", "2", "6", "mp1") == before
    assert {i: found[i].lost for i in (3, 4, 5)} == {3: 0, 4: 0, 5: 0}
    assert found[6].lost <= 2, found
    assert beside() == ""
    assert "6" not in {**instances("client1"), **instances("vps1")}
    assert "mpq6" not in out("client1", "ip -br link") + out("vps1", "ip -br link; ip route")


def test_a_play_that_dies_between_the_ends_is_finished_by_the_next(inventory):
    four = {**tunnels()[3], "port": 47004, "tun_cidr": "10.98.4.0/30"}
    write(inventory, *(four if item["id"] == 4 else item for item in tunnels()))
    with load() as found:
        _die_at(inventory, "PLAY [Run the clients]")
    assert {loss.lost for i, loss in found.items() if i not in {1, 2}} == {0}
    # The VPS serves what was and what will be.
    assert "4.yaml" in beside()
    assert (listens(46004), listens(47004)) == (True, True)
    with load() as found:
        recap(play(inventory=inventory))
        wait_for(all_up, seconds=10, what="all LANs have the internet")
    assert (found[3].lost, found[5].lost) == (0, 0)
    assert found[4].gap < 1, found
    assert found[6].lost <= 2, found
    assert beside() == ""
    assert (listens(46004), listens(47004)) == (False, True)
    assert "mp1" not in {**instances("client1"), **instances("vps1")}


def _die_at(inventory: Path, line: str) -> None:
    """Begin a play, and kill it and all that it started when it says this."""
    command = ["ansible-playbook", "-i", str(inventory), "site.yml"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        said = next((text for text in running.stdout if text.startswith(line)), None)
        for number in _family(running.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        assert said is not None


def _family(parent: int) -> list[int]:
    """Return a process and all its descendants."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        number, above = map(int, line.split())
        children.setdefault(above, []).append(number)
    found = [parent]
    for number in found:
        found += children.get(number, [])
    return found
