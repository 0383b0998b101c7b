# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: an empty namespace, a client site in it, and a monitor of its changes."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from host_netns import CLASSES, Monitor, Namespace, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def netns(tmp_path: Path) -> Iterator[Namespace]:
    with closing(Namespace(tmp_path)) as namespace:
        yield namespace


@pytest.fixture
def site(netns: Namespace) -> Namespace:
    """A client with tunnels 4 and 5 in order, and source-based policy routing of its own."""
    for number in (4, 5):
        netns.instance(number)
        netns.veth(f"lan{number}", f"172.16.{number}.1/30")
        netns.veth(f"wan{number}", f"100.64.{number}.2/24")
        netns.ip(f"rule add priority {1000 + number} from 172.16.{number}.0/30 lookup {100 + number}")
        netns.ip(f"rule add priority {1100 + number} from 100.64.{number}.2 lookup {100 + number}")
        netns.ip(f"route add default via 100.64.{number}.1 table {100 + number}")
    netns.ip("route add default via 100.64.4.1")
    done = netns.routing("fix")
    assert done.rc == 0, done
    return netns


@pytest.fixture
def classes(netns: Namespace) -> Namespace:
    """A client with three classes on one WAN, and a way out past them for both families."""
    netns.veth("wan5", "100.64.5.2/24")
    netns.ip("address add 2001:db8:5::2/64 dev wan5 nodad")
    netns.ip("route add default via 100.64.5.1")
    netns.ip("route add default via 2001:db8:5::1")
    netns.ip("neighbour add 100.64.5.1 lladdr 02:00:00:00:00:01 dev wan5")
    netns.ip("neighbour add 2001:db8:5::1 lladdr 02:00:00:00:00:01 dev wan5")
    for name in CLASSES:
        netns.class_instance(name)
    done = netns.routing("fix")
    assert done.rc == 0, done
    return netns


@pytest.fixture
def monitor(netns: Namespace, tmp_path: Path) -> Iterator[Monitor]:
    log = tmp_path / "monitor"
    with log.open("w") as file:
        process = subprocess.Popen(["ip", "-n", netns.name, "monitor", "link", "address", "route", "rule"], stdout=file)
        try:
            found = Monitor(netns, log)

            def listening() -> bool:
                netns.ip("rule add priority 30999 to 192.0.2.250 lookup 99")
                netns.ip("rule del priority 30999")
                return "30999" in log.read_text()

            assert eventually(listening)
            yield found
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a service manager of two commands: units are files with their state; restart starts one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "systemctl"
    script.write_text(
        f"""#!/bin/sh
cd {tmp_path}
verb=$1; shift
for unit; do case $unit in mpquic@*)
  case $verb in
    show)
      if [ -e $unit ]; then echo LoadState=loaded; echo ActiveState=$(cat $unit)
      else echo LoadState=not-found; echo ActiveState=inactive; fi
      echo ;;
    restart) echo $unit >>restarts; echo activating >$unit ;;
  esac ;;
esac; done
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "restarts").write_text("")
    return tmp_path
