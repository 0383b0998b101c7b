# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of links and addresses, in a network namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

#: Runs commands of ip(8), one after the other, and says what was told and found after each.
_WATCH = """
import asyncio, json, subprocess, sys
from mpquic.config import Bind, HostConditionError
from mpquic.io.linkwatch import LinkWatch, find

def found(text, address, interface):
    try:
        place = find(Bind(text, address, interface))
    except HostConditionError as error:
        return str(error)
    return [place.address, place.index > 0, place.owner > 0, place.running]

async def main():
    told = []
    watch = LinkWatch(asyncio.get_running_loop(), lambda: told.append(1))
    watch.start()
    for command in json.loads(sys.argv[1]):
        subprocess.run(["ip", *command.split()], check=True)
        await asyncio.sleep(0.15)
        by_name = found("if:w0", None, "w0")
        by_address = [found(text, text, None) for text in ("10.1.1.1", "fd00:1::1", "0.0.0.0")]
        print(json.dumps([len(told), by_name, *by_address]), flush=True)
        told.clear()
    watch.stop()

asyncio.run(main())
"""


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"mqlw{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def watched(namespace: str, *commands: str) -> list[list[Any]]:
    line = ["ip", "netns", "exec", namespace, sys.executable, "-c", _WATCH, json.dumps(commands)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=True)
    return [json.loads(text) for text in done.stdout.splitlines()]


def test_links_and_addresses_come_and_go(namespace: str) -> None:
    steps = watched(
        namespace,
        "link add w0 type veth peer name w1",
        "link set w1 up",
        "link set w0 up",
        "addr add 10.1.1.1/24 dev w0",
        "addr add fd00:1::1/64 dev w0 nodad",
        "link set w1 down",
        "link set w1 up",
        "addr del 10.1.1.1/24 dev w0",
        "link del w0",
    )
    none, anywhere = [False, False, True], ["0.0.0.0", False, False, True]
    owned = [False, True, True]
    missing = "interface w0 has no IPv4 address"
    assert [step[1:] for step in steps] == [
        [missing, ["10.1.1.1", *none], ["fd00:1::1", *none], anywhere],
        [missing, ["10.1.1.1", *none], ["fd00:1::1", *none], anywhere],
        [missing, ["10.1.1.1", *none], ["fd00:1::1", *none], anywhere],
        [["10.1.1.1", True, False, True], ["10.1.1.1", *owned], ["fd00:1::1", *none], anywhere],
        [["10.1.1.1", True, False, True], ["10.1.1.1", *owned], ["fd00:1::1", *owned], anywhere],
        ["interface w0 has no carrier", *[[text, False, True, False] for text in ("10.1.1.1", "fd00:1::1")], anywhere],
        [["10.1.1.1", True, False, True], ["10.1.1.1", *owned], ["fd00:1::1", *owned], anywhere],
        [missing, ["10.1.1.1", *none], ["fd00:1::1", *owned], anywhere],
        ["interface w0 does not exist", ["10.1.1.1", *none], ["fd00:1::1", *none], anywhere],
    ]
    # Every step was told of, none more often than four times at once, and then once in 20 ms.
    assert all(1 <= step[0] <= 12 for step in steps)


def test_an_interface_under_the_same_name_is_another_place(namespace: str) -> None:
    script = """
import subprocess
from mpquic.config import Bind
from mpquic.io.linkwatch import find
def place():
    for command in ("link add w0 type veth peer name w1",
        "link set w1 up", "link set w0 up", "addr add 10.1.1.1/24 dev w0"):
        subprocess.run(["ip", *command.split()], check=True)
    return find(Bind("if:w0", None, "w0")), find(Bind("10.1.1.1", "10.1.1.1", None))
bound, free = place()
subprocess.run(["ip", "link", "del", "w0"], check=True)
gone = find(Bind("10.1.1.1", "10.1.1.1", None))
bound2, free2 = place()
print(bound.holds(bound), bound.holds(bound2), free.holds(gone), gone.holds(free), free.holds(free2))
"""
    line = ["ip", "netns", "exec", namespace, sys.executable, "-c", script]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["True", "False", "False", "True", "True"]
