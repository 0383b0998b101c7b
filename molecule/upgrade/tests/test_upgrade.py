# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases come and go while packets flow."""

from __future__ import annotations

import re
import shutil

import pytest
from conftest import ROOT, out, play, recap, wait_for
from flows import RATE, load

HOSTS = ("client1", "vps1")
LANS = ("lan1", "lan2", "lan6")
UPGRADE, ROLLBACK = "playbooks/upgrade.yml", "playbooks/rollback.yml"


def source(folder, path, text):
    """Return a copy of the daemon's source with something added to the end of a file."""
    copy = folder / "mpquic"
    shutil.copytree(
        ROOT / "files" / "mpquic", copy, ignore=shutil.ignore_patterns("tests", "__pycache__", "*.egg-info")
    )
    file = copy / "src" / "mpquic" / path
    file.write_text(file.read_text() + text)
    return copy


def releases(host):
    """Return the releases of the processes of a host."""
    lines = out(host, "for p in $(pgrep -f 'mpquic run'); do tr '\\0' ' ' </proc/$p/cmdline; echo; done")
    return set(re.findall(r"^/opt/mpquic/releases/([0-9a-f]+)/", lines, re.MULTILINE))


def current(host):
    return out(host, "readlink /opt/mpquic/current").strip().removeprefix("releases/")


def said(result):
    return " ".join(result.stdout.split())


def test_there_is_no_way_back_before_there_was_an_upgrade():
    for host in HOSTS:
        out(host, "rm -f /opt/mpquic/previous")
    result = play(playbook=ROLLBACK)
    assert result.returncode
    assert "found no release to go back to" in said(result)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory):
    """Look at the preview, then upgrade, while LANs are busy."""
    copy = source(tmp_path_factory.mktemp("new"), "__init__.py", "# another release\n")
    chosen = ("-e", f"daemon_source={copy}")
    found = {"old": current("client1")}
    found["preview"] = play("--check", "--diff", *chosen, playbook=UPGRADE)
    found["untouched"] = {host: (current(host), releases(host)) for host in HOSTS}
    with load(*LANS) as flows:
        found["result"] = play(*chosen, playbook=UPGRADE)
    return {**found, "flows": flows, "new": current("client1")}


def test_the_preview_says_what_goes_over_and_touches_nothing(upgraded):
    recap(upgraded["preview"])
    old, new = upgraded["old"], upgraded["new"]
    for host in HOSTS:
        assert f"{host}: release {old} -> {new}, tunnel by tunnel: 1, 2, mp1" in said(upgraded["preview"])
        assert upgraded["untouched"][host] == (old, {old})


def test_every_instance_runs_the_new_release(upgraded):
    recap(upgraded["result"])
    assert upgraded["new"] != upgraded["old"]
    assert {host: releases(host) for host in HOSTS} == {host: {upgraded["new"]} for host in HOSTS}


def test_packets_keep_crossing(upgraded):
    lost = {lan: found["lost"] for lan, found in upgraded["flows"].items()}
    assert lost["lan6"] == 0
    assert max(lost["lan1"], lost["lan2"]) < 0.3 * RATE


def test_one_command_goes_back(upgraded):
    with load(*LANS) as flows:
        result = play(playbook=ROLLBACK)
    recap(result)
    assert {host: releases(host) for host in HOSTS} == {host: {upgraded["old"]} for host in HOSTS}
    assert flows["lan6"]["lost"] == 0
    assert max(flows["lan1"]["lost"], flows["lan2"]["lost"]) < 0.3 * RATE


def test_one_that_does_not_start_is_taken_back(upgraded, tmp_path):
    copy = source(tmp_path, "daemon/main.py", "\nraise SystemExit('this release does not start')\n")
    with load(*LANS) as flows:
        result = play("-e", f"daemon_source={copy}", playbook=UPGRADE)
    assert result.returncode
    assert f"is back on release {upgraded['old']}" in said(result)
    wait_for(lambda: releases("vps1") == {upgraded["old"]}, seconds=20, what="the release of before everywhere")
    assert releases("client1") == {upgraded["old"]}
    assert {lan: found["lost"] for lan, found in flows.items()} == dict.fromkeys(LANS, 0)
    # It stopped at the VPS: the client still has the new one as its current one, and runs none of it.
    recap(play(playbook=ROLLBACK))
    assert [current(host) for host in HOSTS] == [upgraded["old"]] * 2
    again = play(playbook=ROLLBACK)
    assert [recap(again)[host]["changed"] for host in HOSTS] == [0, 0]
    assert f"client1: release {upgraded['old']} is the current one already" in said(again)


def test_one_that_carries_nothing_is_taken_back_with_what_had_gone_over(upgraded, tmp_path):
    copy = source(tmp_path, "daemon/shell.py", "\n\nShell._from_tun = lambda self, _now: bool(self._device.pause())\n")
    result = play("-e", f"daemon_source={copy}", playbook=UPGRADE)
    assert result.returncode
    assert f"is back on release {upgraded['old']}" in said(result)
    for host in HOSTS:
        # The one that was there before ends when nothing is on its way to it any more.
        wait_for(lambda host=host: releases(host) == {upgraded["old"]}, seconds=20, what=f"the old release on {host}")
    recap(play(playbook=ROLLBACK))
    assert [current(host) for host in HOSTS] == [upgraded["old"]] * 2
