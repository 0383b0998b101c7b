# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of its own for these tests: other name and management network, so it stands beside any other."""

import json
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "labtest"


class Lab:
    """The command line of one lab, as a user has it."""

    def __init__(self, topology):
        self.topology = topology
        self.state = Path("/var/lib/mpquic-lab") / NAME

    def run(self, *argv, check=True, timeout=120):
        done = subprocess.run(
            [ROOT / "lab/lab", "-t", self.topology, *argv], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def sh(self, place, command, *, check=True):
        return self.run("exec", place, "sh", "-c", command, check=check)

    def out(self, place, command):
        return self.sh(place, command).stdout.strip()

    def status(self):
        return json.loads(self.run("status", "--json", check=False).stdout)

    def ping(self, place, address="192.0.2.80", count=5):
        """Return (received, round trips in ms)."""
        done = self.sh(place, f"ping -n -i 0.05 -c {count} -W 1 {address}", check=False)
        trips = [float(word[5:]) for word in done.stdout.split() if word.startswith("time=")]
        return len(trips), trips

    def until(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "never happened"
            time.sleep(0.1)


def write_topology(folder, **changes):
    """Copy the reference topology under another name, with text replaced."""
    text = (ROOT / "lab/topology.yml").read_text()
    for old, new in {"name: lab ": f"name: {NAME} ", "198.18.0.": "198.18.97.", **changes}.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "topology.yml"
    path.write_text(text)
    if not (folder / "site").exists():
        (folder / "site").symlink_to(ROOT / "lab/site")
    return path


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    lab = Lab(write_topology(tmp_path_factory.mktemp("lab")))
    lab.run("down")
    try:
        lab.run("up", timeout=300)
        yield lab
    finally:
        lab.run("down")
