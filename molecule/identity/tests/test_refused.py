# SPDX-License-Identifier: GPL-3.0-or-later
"""A client whose key the VPS does not list gets nothing through, and the VPS says who it was."""

from __future__ import annotations

import re

from conftest import WEB, all_up, instances, out, run, wait_for

PATH = "/etc/mpquic/instances/3.yaml"
STRANGER = "sha256:" + "5a" * 32


def digest() -> str:
    return out("vps1", f"sha256sum < {PATH}").split()[0]


def refusals(since: str) -> list[str]:
    journal = out("vps1", f"journalctl -u mpquic@3 --since=@{since} -o cat")
    return [line for line in journal.splitlines() if re.search(r"\brefused\b", line)]


def test_a_key_that_is_not_listed_gets_nothing_through():
    key = instances("client1")["3"]["identity"]
    pids = {host: instances(host)["3"]["pid"] for host in ("client1", "vps1")}
    since = out("vps1", "date +%s").strip()
    assert key in out("vps1", f"cat {PATH}")
    out("vps1", f"cp -p {PATH} /run/3.yaml")
    try:
        out("vps1", f"sed -i s/{key}/{STRANGER}/ {PATH}; systemctl reload mpquic@3")
        wait_for(lambda: instances("vps1")["3"]["config"] == digest(), seconds=10, what="the VPS took the change over")
        wait_for(lambda: bool(refusals(since)), seconds=40, what="the VPS refused the client")
        carried = instances("vps1")["3"]["rx_packets"]
        said = run("lan3", f"ping -q -c 50 -i 0.1 -W 1 {WEB}", check=False).stdout
        assert "50 packets transmitted, 0 received" in said
        assert instances("vps1")["3"]["rx_packets"] == carried
        assert all(re.search(rf"remote=\S+ key={key} .*reason=\".+\"", line) for line in refusals(since))
    finally:
        out("vps1", f"cp -p /run/3.yaml {PATH}; rm /run/3.yaml; systemctl reload mpquic@3")
    wait_for(all_up, seconds=60, what="all six tunnels pass packets again")
    assert {host: instances(host)["3"]["pid"] for host in ("client1", "vps1")} == pids
