# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed files, links and folders come back as they were; keys are neither copied nor touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mpquic.host.guard import files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in {
        "etc/mpquic/mpquic.nft": "table inet mpquic {}\n",
        "etc/mpquic/instances/1.yaml": "role: client\n",
        "etc/mpquic/instances/1.env": "TUN_NAME=mpq1\n",
        "etc/mpquic/identity/key.pem": "secret\n",
        "etc/systemd/system/mpquic@.service": "[Service]\n",
        "etc/systemd/system/mpquic-guard.service": "[Service]\n",
        "etc/systemd/system/nftables.service.d/60-mpquic.conf": "[Service]\n",
        "etc/systemd/system/other.service": "[Service]\n",
        "etc/sysctl.d/60-mpquic.conf": "net.ipv4.ip_forward = 1\n",
        "etc/sysctl.d/50-site.conf": "net.ipv4.ip_forward = 0\n",
        "opt/mpquic/releases/old/venv/bin/mpquic": "old\n",
        "opt/mpquic/releases/new/venv/bin/mpquic": "new\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "mpquic@1.service").symlink_to("/etc/systemd/system/mpquic@.service")
    (tmp_path / "etc/mpquic/instances").chmod(0o750)
    (tmp_path / "etc/mpquic/instances/1.yaml").chmod(0o640)
    (tmp_path / "opt/mpquic/current").symlink_to("releases/old")
    return tmp_path


def test_what_a_play_writes_is_taken_back(root: Path):
    taken = files.load(json.loads(json.dumps(files.plain(files.read(root)))))
    (root / "etc/mpquic/instances/1.yaml").write_text("role: server\n")
    (root / "etc/mpquic/instances/1.env").chmod(0o666)
    (root / "etc/mpquic/instances/2.yaml").write_text("role: client\n")
    (root / "etc/mpquic/more").mkdir()
    (root / "etc/mpquic/more/deep").write_text("x")
    (root / "etc/mpquic/mpquic.nft").unlink()
    (root / "etc/systemd/system/multi-user.target.wants/mpquic@1.service").unlink()
    (root / "etc/systemd/system/multi-user.target.wants/mpquic@2.service").symlink_to("/nowhere")
    (root / "etc/systemd/networkd.conf.d").mkdir()
    (root / "etc/systemd/networkd.conf.d/60-mpquic.conf").write_text("[Network]\n")
    (root / "opt/mpquic/current").unlink()
    (root / "opt/mpquic/current").symlink_to("releases/new")

    report = files.restore(taken, root)

    assert files.read(root) == taken
    assert report.failed == []
    assert "put back /etc/mpquic/instances/1.yaml" in report.done
    assert "removed /etc/mpquic/instances/2.yaml" in report.done
    assert "put back /etc/systemd/system/multi-user.target.wants/mpquic@1.service" in report.done
    assert "put back /opt/mpquic/current" in report.done
    assert (root / "etc/mpquic/instances/1.yaml").stat().st_mode & 0o777 == 0o640
    again = files.restore(taken, root)
    assert (again.done, again.failed) == ([], [])


def test_files_of_others_keys_and_the_guard_itself_are_left_alone(root: Path):
    taken = files.read(root)
    assert not any("identity/" in path or "guard" in path or "other" in path or "50-site" in path for path in taken)
    assert "secret" not in json.dumps(files.plain(taken))
    for path in ("etc/mpquic/identity/key.pem", "etc/systemd/system/mpquic-guard.service", "etc/sysctl.d/50-site.conf"):
        (root / path).write_text("changed\n")
    assert files.restore(taken, root).done == []
    assert (root / "etc/mpquic/identity/key.pem").read_text() == "changed\n"


def test_an_identical_file_is_not_written_again(root: Path):
    taken = files.read(root)
    times = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    files.restore(taken, root)
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == times


def test_no_link_is_made_to_a_release_that_is_gone(root: Path):
    taken = files.read(root)
    (root / "opt/mpquic/current").unlink()
    (root / "opt/mpquic/current").symlink_to("releases/new")
    (root / "opt/mpquic/releases/old").rename(root / "opt/mpquic/releases/away")
    report = files.restore(taken, root)
    assert report.failed == ["put back /opt/mpquic/current: releases/old is gone"]
    assert str((root / "opt/mpquic/current").readlink()) == "releases/new"


def test_a_file_comes_back_to_its_owner_and_is_on_disk_before_it_is_in_place(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    path = root / "etc/mpquic/instances/1.yaml"
    os.chown(path, 1234, 4321)
    taken = files.read(root)
    path.write_text("role: server\n")
    os.chown(path, 0, 0)
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    files.restore(taken, root)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)
    assert synced == [(f"{path.parent}/.1.yaml.guard", "role: server\n")]
