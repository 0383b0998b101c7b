# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/report.yml from end to end: hosts that answer, one that does not, and hostile words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests/unit/plugins/plugin_utils"))

import report_site as hosts  # noqa: E402 - what hosts answer
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan  # noqa: E402

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to put a command in place")]

COMMAND = """#!/bin/sh
file="$ANSWERS/$1.json"
[ -e "$file" ] || { echo "mpquic: $1: nothing there" >&2; exit 1; }
cat "$file"
"""


@pytest.fixture
def site(tmp_path):
    """An inventory: client1 and vps1 are this machine, nobody listens where client2 is."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o BatchMode=yes"}
    tunnel = {"wan": "enp7s3", "lan": "enp6s20"}
    found = {
        "client1": {**local, "mpquic_tunnels": [{"id": 1, **tunnel}]},
        "client2": {**away, "mpquic_tunnels": [{"id": 2, **tunnel, "lan_cidrs": ["172.16.2.0/30"]}]},
        "vps1": {**local, "mpquic_public_address": "203.0.113.10"},
    }
    groups = {"mpquic_clients": ["client1", "client2"], "mpquic_vps": ["vps1"]}
    children = {group: {"hosts": {name: found[name] for name in names}} for group, names in groups.items()}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))
    return site_plan(groups, found)


def run(folder, *options):
    """Run the play with a command that says what is in the files of a folder."""
    (folder / "mpquic").write_text(COMMAND)
    play = f"ansible-playbook -i {folder}/hosts.yml {ROOT}/playbooks/report.yml {' '.join(options)}"
    # In a mount namespace of its own, so that no such command stays.
    script = f"mount -t tmpfs none /usr/local/bin && install {folder}/mpquic /usr/local/bin/mpquic && exec {play}"
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_BECOME": "false",
        "ANSIBLE_NOCOLOR": "1",
        "ANSWERS": str(folder),
        "PWD": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    extra = ["-e", "ansible_become=false"]
    line = ["unshare", "--mount", "sh", "-c", f"{script} {' '.join(extra)}"]
    return subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def test_the_report_is_written_whoever_is_away(site, tmp_path):
    status = hosts.client_status(site["hosts"]["client1"])
    status["instances"][0]["last_fault"] = {"reason": "<b>{{ 7 * 7 }}</b> {% raw %}", "ago_s": 60}
    (tmp_path / "status.json").write_text(json.dumps(status))
    for name, told in hosts.well().items():
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    file = tmp_path / "build/report.html"
    assert file.stat().st_mode & 0o777 == 0o600
    html = file.read_text()
    assert "&lt;b&gt;{{ 7 * 7 }}&lt;/b&gt; {% raw %}" in html
    assert "client2 cannot be reached: " in html
    assert "it did not say what it recorded: history: nothing there" in html
    assert "site.yml would change" in html  # there are no files of ours on this machine
    assert "tunnel 1: new, on enp7s3 for enp6s20" in html


def test_it_goes_where_it_is_told_to_and_an_error_writes_nothing(site, tmp_path):
    done = run(tmp_path, "-e mpquic_report_file=here.html", "--limit vps1")
    assert done.returncode == 0, done.stdout + done.stderr
    html = (tmp_path / "here.html").read_text()
    assert "client1 was not asked" in html
    assert "it did not say how its tunnels are: status: nothing there" in html
    inventory = yaml.safe_load((tmp_path / "hosts.yml").read_text())
    del inventory["all"]["children"]["mpquic_vps"]["hosts"]["vps1"]["mpquic_public_address"]
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    done = run(tmp_path)
    assert done.returncode == 2
    assert "mpquic_public_address" in done.stdout
    assert not (tmp_path / "build").exists()
