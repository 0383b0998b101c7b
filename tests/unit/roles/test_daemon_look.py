# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is left alone only where the collection is the one that it was set up by, to the byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[3]
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: mpquic.tunnel.daemon
        tasks_from: look.yml
    - ansible.builtin.copy:
        content: "{{ daemon_collection | to_json }}"
        dest: "{{ playbook_dir }}/found"
        mode: "0600"
"""


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Return a collection with little in it."""
    here = tmp_path / "collections" / "ansible_collections" / "mpquic" / "tunnel"
    shutil.copytree(TREE / "roles" / "daemon", here / "roles" / "daemon")
    for name in ("playbooks/site.yml", "plugins/modules/one.py", "files/mpquic/src/mpquic/one.py"):
        (here / name).parent.mkdir(parents=True)
        (here / name).write_text("first\n")
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "ansible.cfg").touch()
    return here


def digest(collection: Path) -> str:
    """Return what the play says that the collection is."""
    folder = collection.parents[3]
    own = {"ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"), "ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
    python = f"ansible_python_interpreter={sys.executable}"
    line = ["ansible-playbook", "-c", "local", "-i", "localhost,", "-e", python, str(folder / "play.yml")]
    ran = subprocess.run(line, env={**os.environ, **own}, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: str = json.loads((folder / "found").read_text())
    return found


def test_what_is_in_the_files_counts_and_what_is_built_of_them_does_not(collection: Path) -> None:
    first = digest(collection)
    assert re.fullmatch("[0-9a-f]{64}", first)
    source = collection / "files" / "mpquic" / "src" / "mpquic"
    (source / "one.cpython-311.pyc").write_text("")
    (source / "libmpquic.so").write_text("")
    assert digest(collection) == first
    (source / "one.py").write_text("other\n")
    assert digest(collection) != first
