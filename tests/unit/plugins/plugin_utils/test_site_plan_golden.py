# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites without class tunnels are planned to the letter as before there were any: no file on a host changes.

A golden file holds ``groups``, ``hostvars`` and the ``plan``. A plan that has to change is written anew by hand:
what differs is what every site's next run changes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("more", [{}, {"mpquic_class_tunnels": []}], ids=["without", "with none"])
def test_the_plan_is_the_same_to_the_letter(path, more):
    golden = json.loads(path.read_text())
    hostvars = {
        host: {**variables, **more} if host in golden["groups"]["mpquic_clients"] else variables
        for host, variables in golden["hostvars"].items()
    }
    plan = site_plan(golden["groups"], hostvars)
    # The text, because the order of keys in a file counts as well.
    assert json.dumps(plan, indent=1) == json.dumps(golden["plan"], indent=1)


def test_there_are_golden_files():
    assert [path.stem for path in GOLDEN] == ["mixed", "reference"]
