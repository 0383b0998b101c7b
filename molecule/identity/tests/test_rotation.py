# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of both ends change while packets flow: none is lost, no daemon is restarted, the old keys are forgotten."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml
from conftest import ROOT, TUNNELS, WEB, all_up, instances, out, play, recap, run, start, wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

ENDS = ("client1", "vps1")
ROTATE = "playbooks/rotate.yml"


def keys(host: str) -> set[str]:
    """Return the keys that the instances of a host show."""
    return {instances(host)[str(i)]["identity"] for i in TUNNELS}


def listed(host: str) -> set[str]:
    """Return the keys that a host accepts of the other end."""
    found: set[str] = set()
    for i in TUNNELS:
        config = yaml.safe_load(out(host, f"cat /etc/mpquic/instances/{i}.yaml"))
        for peer in config.get("peers", []):
            found.update(peer["pins"])
        found.update(config.get("tls_server_pin", []))
    return found


def pids() -> dict[str, list[int]]:
    return {host: [instances(host)[str(i)]["pid"] for i in TUNNELS] for host in ENDS}


def unchanged() -> bool:
    """Run the play again, and tell whether it changes nothing."""
    return all(host["changed"] == 0 for host in recap(play()).values())


@contextlib.contextmanager
def steady(lan: int, log: Path) -> Iterator[None]:
    """Send 50 packets per second from a LAN to the internet; afterwards, every one must have been answered."""
    pid = log.with_suffix(".pid")
    ping = start(f"lan{lan}", f"echo $$ > {pid}; exec ping -i 0.02 {WEB} > {log}")
    wait_for(lambda: log.exists() and "icmp_seq=50 " in log.read_text(), seconds=20, what="packets flow")
    try:
        yield
    finally:
        out(f"lan{lan}", f"kill -INT $(cat {pid})")
        ping.communicate(timeout=20)
    answers = [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl=", log.read_text())]
    assert sorted(answers) == list(range(1, max(answers) + 1)), "packets were lost or doubled"
    assert len(answers) > 500


def test_a_rotation_loses_nothing(tmp_path):
    wait_for(all_up, seconds=30, what="all six tunnels pass packets")
    before, processes = {host: keys(host) for host in ENDS}, pids()
    with steady(1, tmp_path / "lan1"), steady(5, tmp_path / "lan5"):
        recap(play("-e", "mpquic_rotate=client1,vps1", playbook=ROTATE))
    after = {host: keys(host) for host in ENDS}
    assert all(not before[host] & after[host] for host in ENDS)
    assert all(len(found) == 1 for found in after.values())
    assert (listed("vps1"), listed("client1")) == (after["client1"], after["vps1"])
    assert pids() == processes


def staged(host: str) -> bool:
    return run(host, "test -e /etc/mpquic/identity/next-key.pem", check=False).returncode == 0


@pytest.mark.slow
def test_an_interrupted_rotation_is_abandoned_or_finished(tmp_path):
    """Cut off after the next key was staged: the site accepts both, and the tunnels stay as they are."""
    before, processes = keys("client1"), pids()
    out("client1", "mpquic identity stage")
    with steady(1, tmp_path / "lan1"):
        recap(play())
        assert len(listed("vps1") - before) == 1
        recap(play("-e", "mpquic_rotate=client1", "-e", "mpquic_rotate_abandon=true", playbook=ROTATE))
        assert not staged("client1")
        assert keys("client1") == listed("vps1") == before
        # Cut off after the promotion, before any daemon was told.
        out("client1", "mpquic identity stage")
        recap(play())
        out("client1", "mpquic identity promote")
        recap(play("--limit", "vps1"))
        assert listed("vps1") > before, "the key in use is forgotten"
        recap(play())
        recap(play())
    assert keys("client1") == listed("vps1") != before
    assert pids() == processes


def test_a_rotation_that_could_not_be_finished_is_refused():
    before = keys("client1")
    result = play("--limit", "client1", playbook=ROTATE)
    assert result.returncode != 0
    assert "its new key has to be accepted by vps1, which --limit leaves out" in result.stdout
    assert not staged("client1")
    assert keys("client1") == before


@pytest.fixture
def away(request, tmp_path):
    """Return a host, and an inventory with an address for it at which nobody answers; its tunnels stay up."""
    inventory = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories" / "lab", inventory)
    path = inventory / "hosts.yml"
    text = path.read_text()
    path.write_text(re.sub(rf"({request.param}:\s+ansible_host: )\S+", r"\g<1>198.18.0.99", text))
    assert path.read_text() != text
    return request.param, inventory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("away", "other", "limited"),
    [("client1", "vps1", True), ("vps1", "client1", False)],
    indirect=["away"],
)
def test_a_host_that_cannot_be_reached_stays_let_in(away, other, limited):
    unreachable, inventory = away
    before = listed(other)
    result = play(*(["--limit", other] if limited else []), inventory=inventory)
    # A client does not change when its VPS, which the run is for, cannot be told.
    left_alone = other == "client1" and not limited
    assert (f"{other}: left as it is, because its VPS {unreachable} cannot be reached" in result.stdout) == left_alone
    assert f"{unreachable} cannot be reached: {other} keeps accepting the keys that it knows of it" in result.stdout
    assert counts(result)[other] == (0, int(left_alone))
    assert listed(other) == before
    assert all_up()


def counts(result: subprocess.CompletedProcess[str]) -> dict[str, tuple[int, int]]:
    """Return what changed and failed by host, of a run that may end with an error because of another host."""
    lines = re.findall(r"^(\S+)\s+: .*?changed=(\d+).*?failed=(\d+)", result.stdout, re.MULTILINE)
    return {host: (int(changed), int(failed)) for host, changed, failed in lines}


@pytest.mark.slow
@pytest.mark.parametrize("away", ["client1"], indirect=True)
def test_a_vps_keeps_its_key_as_long_as_a_client_does_not_know_the_next_one(away):
    unreachable, inventory = away
    before = keys("vps1")
    result = play("-e", "mpquic_rotate=vps1", playbook=ROTATE, inventory=inventory)
    assert result.returncode != 0
    assert f"the next one is not accepted yet by {unreachable}" in result.stdout
    assert keys("vps1") == before
    assert staged("vps1")
    assert all_up()


@pytest.mark.slow
def test_such_a_rotation_is_finished_by_running_it_again():
    before, processes = keys("vps1"), pids()
    assert staged("vps1")
    recap(play("-e", "mpquic_rotate=vps1", playbook=ROTATE))
    assert listed("client1") == keys("vps1") != before
    assert pids() == processes
    assert unchanged()
