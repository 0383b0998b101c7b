# SPDX-License-Identifier: GPL-3.0-or-later
"""The play is idempotent, adds only what is ours, and survives as units."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import yaml
from conftest import ROOT, TUNNELS, out, play, recap

OURS = re.compile(r"\bproto(col)? 109\b|\bmpq\d+\b")


def foreign(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if not OURS.search(line)]


@pytest.mark.parametrize("host", ["client1", "vps1"])
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("rules", "ip rule show"),
        ("rules6", "ip -6 rule show"),
        ("routes", "ip route show table all"),
        ("addresses", "ip -br address show"),
    ],
)
def test_rules_routes_and_addresses_of_the_site_stay(host, name, command):
    before = out(host, f"cat /var/tmp/before/{name}")
    assert before.strip()
    assert foreign(out(host, command)) == foreign(before)


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_nft_rules_of_the_site_stay(host):
    before = out(host, "cat /var/tmp/before/ruleset")
    after = out(host, "nft -s list ruleset")
    tables = re.findall(r"table inet (mpquic\S*)", out(host, "nft list tables"))
    assert "mpquic" in tables
    for table in tables:
        ours = out(host, f"nft -s list table inet {table}").strip()
        assert ours in after
        after = after.replace(ours, "")
    assert after.split() == before.split()


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_units_run_and_come_back_at_boot(host):
    for i in TUNNELS:
        assert out(host, f"systemctl is-active mpquic@{i}; systemctl is-enabled mpquic@{i}").split() == [
            "active",
            "enabled",
        ]


@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_the_daemon_has_no_capability(host):
    pid = out(host, "systemctl show -P MainPID mpquic@1").strip()
    status = dict(re.findall(r"^(\w+):\s+(\S+)", out(host, f"cat /proc/{pid}/status"), re.MULTILINE))
    assert int(status["Uid"]) != 0
    assert {int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("mpquic@1", 2.0),
        ("mpquic-keeper", 2.0),
        ("mpquic-nftables", 2.0),
        ("mpquic-watch", 2.5),
        ("mpquic-recorder", 2.5),
    ],
)
def test_the_sandbox_is_tight(unit, most):
    exposure = out("client1", f"systemd-analyze security {unit}.service --no-pager | tail -n 1")
    assert float(re.search(r": ([0-9.]+)", exposure)[1]) <= most


def test_check_and_diff_on_a_converged_site_show_nothing():
    result = play("--check", "--diff")
    assert all(counts["changed"] == 0 for counts in recap(result).values())
    assert not re.search(r"^(---|\+\+\+) ", result.stdout, re.MULTILINE)


def test_the_installed_collection_is_the_same(tmp_path):
    """Built and installed without Galaxy, far from the checkout, it finds nothing to change."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)}
    environment.pop("ANSIBLE_CONFIG", None)
    # The recap is read.
    environment.pop("ANSIBLE_FORCE_COLOR", None)
    environment["ANSIBLE_NOCOLOR"] = "1"
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    archive = tmp_path / f"mpquic-tunnel-{version}.tar.gz"
    for command in (
        ["ansible-galaxy", "collection", "build", "--output-path", tmp_path, ROOT],
        ["ansible-galaxy", "collection", "install", "--no-deps", "--offline", "-p", tmp_path, archive],
    ):
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=60)
    result = subprocess.run(
        ["ansible-playbook", "-i", ROOT / "inventories" / "lab", "mpquic.tunnel.site"],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert {host: counts["changed"] for host, counts in recap(result).items()} == {"client1": 0, "vps1": 0}


def test_keys_stay_on_their_host():
    keys = {
        host: out(host, "stat -c '%a %U' /etc/mpquic/identity/key.pem; sha256sum < /etc/mpquic/identity/key.pem")
        for host in ("client1", "vps1")
    }
    assert all(text.splitlines()[0] == "600 mpquic" for text in keys.values())
    assert len({text.splitlines()[1] for text in keys.values()}) == 2


def test_the_report_tells_of_every_tunnel(tmp_path):
    file = tmp_path / "report.html"
    recap(play("-e", f"mpquic_report_file={file}", playbook="playbooks/report.yml"))
    page = file.read_text()
    assert "6 of 6 up" in page
    assert "site.yml would change" not in page
    for i in TUNNELS:
        assert f">tunnel {i} · mpq{i}<" in page
        assert f"10.200.{i}.1/30" in page
    assert "it did not say" not in page
    # It is about all hosts, whoever can be reached.
    away = play("-e", f"mpquic_report_file={file}", "-e", '{"ansible_port": 1}', playbook="playbooks/report.yml")
    recap(away)
    assert "client1 cannot be reached: " in file.read_text()
