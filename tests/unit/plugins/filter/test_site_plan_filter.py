# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter as Ansible finds and calls it."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mpquic.tunnel.plugins.filter import site_plan as face


def test_it_returns_the_plan():
    site_plan = face.FilterModule().filters()["site_plan"]
    assert site_plan({}, {})["errors"][0].startswith("group mpquic_clients")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(face, "MISSING", ImportError("No module named 'netaddr'", name="netaddr"))
    site_plan = face.FilterModule().filters()["site_plan"]
    with pytest.raises(AnsibleFilterError, match="needs the Python package netaddr on the controller"):
        site_plan({}, {})
