# SPDX-License-Identifier: GPL-3.0-or-later
"""Down leaves nothing; last, as it takes the lab away."""

import subprocess
from pathlib import Path

import pytest
from conftest import NAME

pytestmark = pytest.mark.lab


def processes():
    """Return (pid, start time) of everything in a cgroup of the lab."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"/mpquic-{NAME}/" in (entry / "cgroup").read_text():
                found.add((entry.name, (entry / "stat").read_text().rpartition(")")[2].split()[19]))
        except OSError:
            continue
    return found


def alive(process):
    try:
        state, *values = Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return state != "Z" and values[18] == process[1]  # a zombie waits for this machine's init alone


def output(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def traces():
    """Return every line about this machine that names the lab."""
    mounts = "".join(path.read_text() for path in [Path("/proc/self/mounts"), Path("/proc/1/mounts")])
    cgroups = "\n".join(str(path) for path in Path("/sys/fs/cgroup").rglob(f"mpquic-{NAME}"))
    commands = output("ps", "-eo", "args")
    rest = output("ip", "netns") + output("ip", "link") + output("ip", "route") + output("nft", "list", "ruleset")
    folders = "\n".join(str(path) for path in Path("/var/lib/mpquic-lab").glob("*"))
    text = f"{mounts}\n{cgroups}\n{commands}\n{rest}\n{folders}"
    return [line for line in text.splitlines() if NAME in line and "pytest" not in line]


def test_down_leaves_nothing(lab):
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    lab.sh("lan1", "sleep 1000 >/dev/null 2>&1 &")  # a command left behind
    before = processes()
    assert len(before) > 20
    assert traces()
    lab.run("down")
    assert traces() == []
    assert [process for process in before if alive(process)] == []
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forward
    assert lab.status()["state"] == "down"
    lab.run("down")


def test_what_is_left_after_half_an_up_is_cleaned(lab):
    lab.run("up")
    subprocess.run(["ip", "netns", "delete", f"{NAME}-isp3"], check=True)
    done = lab.run("up")
    assert "not whole" in done.stderr
    assert lab.out("lan3", "curl -s -m 10 http://192.0.2.80/ip") == "198.51.100.3"
