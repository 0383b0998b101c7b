# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic mark``: what is not as the last play left it."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.cli import main
from mpquic.host import mark
from mpquic.host.instances import select
from mpquic.host.netlink import Kernel

if TYPE_CHECKING:
    from pathlib import Path

    from host_netns import Namespace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with some of the files."""
    for name in ("etc/mpquic/instances/4.yaml", "etc/mpquic/identity/key.pem", "etc/sysctl.d/60-mpquic.conf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for release in ("one", "two"):
        (tmp_path / "opt/mpquic/releases" / release).mkdir(parents=True)
    (tmp_path / "opt/mpquic/current").symlink_to("releases/one")
    return tmp_path


def test_what_was_changed_added_or_removed_shows(root: Path) -> None:
    left = mark.Mark("plan", {}, mark.files(root))
    assert not list(mark.differences(left, mark.files(root)))
    assert not any("key.pem" in name for name in left.files)
    (root / "etc/mpquic/instances/4.yaml").chmod(0o600)
    (root / "etc/mpquic/classes.yaml").touch()
    (root / "etc/sysctl.d/60-mpquic.conf").unlink()
    (root / "opt/mpquic/current").unlink()
    (root / "opt/mpquic/current").symlink_to("releases/two")
    assert list(mark.differences(left, mark.files(root))) == [
        f"{root}/etc/mpquic/classes.yaml: new",
        f"{root}/etc/mpquic/instances/4.yaml: changed",
        f"{root}/etc/sysctl.d/60-mpquic.conf: missing",
        f"{root}/opt/mpquic/current: changed",
    ]


def test_a_mark_is_read_as_it_was_written_and_a_broken_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "mark"
    left = mark.Mark("plan", {"vps1": ["sha256:00"]}, {"/etc/mpquic/mpquic.nft": "00"})
    assert mark.read(file) is None
    mark.write(left, file)
    assert mark.read(file) == left
    assert file.stat().st_mode & 0o777 == 0o600
    for text in ("", "[]", '{"plan": "x"}', '{"plan": "x", "pins": 1, "files": {}}'):
        file.write_text(text)
        assert mark.read(file) is None


@pytest.mark.parametrize("pins", ["x", "[]", '{"a": 1}'])
def test_pins_that_are_none_are_refused(pins: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mark", "set", "--plan", "x", "--pins", pins]) == 64
    assert "expected lists of keys by name in JSON" in capsys.readouterr().err


def _faults(site: Namespace, told: dict[str, dict[str, Any]]) -> set[str]:
    """Return what is wrong with a host whose daemons say this."""

    def work() -> int:
        with Kernel() as kernel:
            found = list(mark.faults(kernel, select(site.instances, "all"), told.get))
        sys.stdout.write(json.dumps(found))
        return 0

    out = site.folder / "faults"
    _, status = os.waitpid(site.fork(work, out=out), 0)
    assert status == 0
    return set(json.loads(out.read_text()))


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_host_whose_kernel_or_daemons_differ_is_not_as_it_was_left(site: Namespace) -> None:
    told = {item.id: {"config": item.digest} for item in select(site.instances, "all").known}
    # There are no units in a namespace.
    before = _faults(site, told)
    assert not any("does not run what its file says" in fault for fault in before)
    site.ip("rule del priority 504")
    (missing,) = _faults(site, told) - before
    assert "no '504: " in missing
    assert "instance 4 does not run what its file says" in _faults(site, {**told, "4": {"config": "other"}})
