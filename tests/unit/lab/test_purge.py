# SPDX-License-Identifier: GPL-3.0-or-later
"""What purge removes, in folders of the test's own: no lab is brought up."""

import pytest

from lab import base, cli, lifecycle, paths


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return where labs and base roots are, and a topology file of a lab that is not up."""
    state, cache, topology = tmp_path / "state", tmp_path / "cache", tmp_path / "topology.yml"
    (cache / "base-1").mkdir(parents=True)
    monkeypatch.setattr(lifecycle, "STATE", state)
    monkeypatch.setattr(paths, "STATE", state)
    monkeypatch.setattr(base, "CACHE", cache)
    text = cli.TOPOLOGY.read_text()
    assert "name: lab " in text
    topology.write_text(text.replace("name: lab ", "name: purged "))
    (tmp_path / "site").symlink_to(cli.TOPOLOGY.parent / "site")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return state, cache, ["-t", str(topology)]


def test_the_last_lab_takes_the_base_root_along(folders):
    state, cache, arguments = folders
    assert cli.main([*arguments, "purge"]) == 0
    assert not state.exists()
    assert not cache.exists()


def test_the_base_root_stays_while_another_lab_stands_on_it(folders, capsys):
    state, cache, arguments = folders
    (state / "other").mkdir(parents=True)
    assert cli.main([*arguments, "purge"]) == 0
    assert (state / "other").is_dir()
    assert (cache / "base-1").is_dir()
    assert "the base root stays, for the machines of other labs: other" in capsys.readouterr().err
