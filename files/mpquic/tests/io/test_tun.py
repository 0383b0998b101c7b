# SPDX-License-Identifier: GPL-3.0-or-later
"""Real TUN devices in network namespaces that end with their process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

# The device goes away after the look at its name and before the attach, which makes a new one.
_REMOVED_BETWEEN_LOOK_AND_ATTACH = """
import os, socket, subprocess
from collections import Counter
from mpquic.io.tun import TunError, open_tun

def ip(action):
    subprocess.run(["ip", "tuntap", action, "dev", "mqt0", "mode", "tun"], check=True)

def exists():
    return "mqt0" in [name for _, name in socket.if_nameindex()]

ip("add")
open_tun("mqt0", Counter()).close()
assert exists(), "opening and closing removed a persistent device"

really_open = os.open
def open_after_removal(*arguments):
    ip("del")
    assert not exists()
    return really_open(*arguments)

os.open = open_after_removal
try:
    open_tun("mqt0", Counter())
except TunError as error:
    print(error)
assert not exists(), "a device was made and left behind"
"""


def test_a_device_that_would_not_last_is_refused() -> None:
    command = ["unshare", "--net", sys.executable, "-c", _REMOVED_BETWEEN_LOOK_AND_ATTACH]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "TUN device mqt0 is not persistent, create it with: mpquic tun ensure --name mqt0" in done.stdout
