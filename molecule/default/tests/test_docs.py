# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation says to look at: the commands that only read, run on the machines."""

from __future__ import annotations

import itertools
import shlex
import sys

import pytest
from conftest import ROOT, play, run

# The quick tests collect the commands; a second copy of that would only drift.
sys.path.insert(0, str(ROOT / "tests/unit/docs"))

from doc_pages import all_commands, inner
from doc_reading import reads, whole

EVERY = [words for command in all_commands() for words in (command.words, inner(command.words)) if words]
READING = sorted({words for words in EVERY if reads(words) and whole(words)})
#: What stands on the pages for something of the reader's, and tunnels that this site does not have.
ABSENT = {"FILE", "ID", "OLD.yaml", "mp1"}


def line(words):
    """Return words for a shell, which is to find the files that a pattern means."""
    return " ".join(word if "*" in word else shlex.quote(word) for word in words)


def without_inventory(words):
    """Return words without the reader's inventory, in whose place is that of the lab."""
    return tuple(word for before, word in itertools.pairwise(words) if "-i" not in {before, word})


PLAYS = sorted({without_inventory(words) for words in EVERY if words[0] == "ansible-playbook" and "--check" in words})


def absent(words):
    return any(word in ABSENT or "ID." in word for word in words)


@pytest.mark.parametrize("words", READING, ids=" ".join)
@pytest.mark.parametrize("host", ["client1", "vps1"])
def test_commands_that_read_end_in_good_order(host, words):
    if host == "vps1" and "--iif" in words:
        pytest.skip("a packet of a LAN comes in at the client")
    result = run(host, line(words), check=False)
    said = result.stdout + result.stderr
    assert "Traceback" not in said
    if absent(words):
        assert result.returncode in {0, 1, 2, 78}, said
        assert said.strip()
    else:
        assert result.returncode in {0, 2}, said
        assert result.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("words", PLAYS, ids=" ".join)
def test_previews_of_playbooks_run(words):
    (book,) = (word for word in words if word.endswith(".yml"))
    result = play(*(word for word in words if word != book), playbook=book)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
