# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA vouches for the hosts: from requests to tunnels, a new certificate, a new key, and back to pinned keys.

The openssl commands are those of docs/identity.md.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from conftest import ROOT, TUNNELS, all_up, instances, lab, out, play, recap, wait_for

if TYPE_CHECKING:
    from pathlib import Path

HOSTS = ("client1", "vps1")

pytestmark = pytest.mark.slow


def example(name: str) -> str:
    """Return the commands of an example in the documentation: the block below the line ``# NAME``."""
    text = (ROOT / "docs" / "identity.md").read_text()
    return text.partition(f"# {name}\n")[2].partition("```")[0]


class Authority:
    """A CA in a folder, and an inventory of the lab in which it vouches for the hosts."""

    def __init__(self, folder: Path) -> None:
        self.inventory = folder / "mysite"
        shutil.copytree(ROOT / "inventories" / "lab", self.inventory)
        self.shell(example("make the CA, once"))

    def shell(self, commands: str) -> None:
        subprocess.run(["bash", "-euc", commands], cwd=self.inventory, check=True, capture_output=True)

    def sign(self) -> None:
        self.shell(example("sign every request"))

    def switch(self) -> None:
        variables = example("group_vars/all.yml")
        (self.inventory / "group_vars").mkdir()
        (self.inventory / "group_vars" / "all.yml").write_text(f"---\n{variables}")

    def play(self, *arguments: str, playbook: str = "site.yml") -> dict[str, dict[str, int]]:
        return recap(play(*arguments, inventory=self.inventory, playbook=playbook))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Put the site under a CA, and bring it back to pinned keys afterwards."""
    result = Authority(tmp_path_factory.mktemp("site"))
    result.play(playbook="playbooks/requests.yml")
    result.sign()
    result.switch()
    result.play()
    yield result
    recap(play())
    wait_for(all_up, seconds=60, what="all six tunnels pass packets with pinned keys")


def config(host: str, i: int) -> dict:
    return yaml.safe_load(out(host, f"cat /etc/mpquic/instances/{i}.yaml"))


def pids() -> dict[str, list[int]]:
    return {host: [instances(host)[str(i)]["pid"] for i in TUNNELS] for host in HOSTS}


def test_certificates_take_the_place_of_pins(authority):
    wait_for(all_up, seconds=60, what="all six tunnels pass packets with certificates")
    for i in TUNNELS:
        (peer,) = config("vps1", i)["peers"]
        assert ("pins" in peer, peer["cert_names"]) == (False, ["client1"])
        client = config("client1", i)
        assert ("tls_server_pin" in client, client["tls_server_name"]) == (False, "vps1")


def connects() -> list[int]:
    return [instances(host)[str(i)]["connects"] for host in HOSTS for i in TUNNELS]


def meet_again() -> None:
    """Have a handshake in every tunnel, and nothing restarted: both ends show what they have in memory."""
    before = connects()
    try:
        for i in TUNNELS:
            lab("cut", f"wan{i}")
        wait_for(
            lambda: all(instances("client1")[str(i)]["state"] != "up" for i in TUNNELS),
            seconds=30,
            what="the client gave up all six connections",
        )
    finally:
        for i in TUNNELS:
            lab("restore", f"wan{i}")
    wait_for(
        lambda: all(now > then for now, then in zip(connects(), before, strict=True)),
        seconds=60,
        what="all six tunnels have another connection",
    )


def test_a_new_certificate_is_taken_over(authority):
    """Another CA signs it, and the former one is taken out before the ends meet again: an old certificate is no use."""
    before = pids()
    authority.shell("mv pki/ca.pem pki/former.pem")
    authority.shell(example("make the CA, once"))
    authority.shell("cp pki/ca.pem pki/next.pem && cat pki/former.pem >> pki/ca.pem")
    authority.play()
    authority.sign()
    counts = authority.play()
    assert all(counts[host]["changed"] > 0 for host in HOSTS)
    assert all_up()
    authority.shell("mv pki/next.pem pki/ca.pem")
    authority.play()
    meet_again()
    wait_for(all_up, seconds=60, what="all six tunnels pass packets with the certificates of the new CA")
    assert pids() == before


def test_a_new_key_is_taken_over(authority):
    before, processes = {host: instances(host)["1"]["identity"] for host in HOSTS}, pids()
    authority.play("-e", "mpquic_requests_next=true", "--limit", "client1", playbook="playbooks/requests.yml")
    authority.sign()
    authority.play(playbook="playbooks/rotate.yml")
    after = {host: instances(host)["1"]["identity"] for host in HOSTS}
    assert (after["client1"] != before["client1"], after["vps1"]) == (True, before["vps1"])
    assert {peer["key"] for i in TUNNELS for peer in instances("vps1")[str(i)]["peers"]} == {after["client1"]}
    assert all(counts["changed"] == 0 for counts in authority.play().values())
    assert all_up()
    assert pids() == processes
