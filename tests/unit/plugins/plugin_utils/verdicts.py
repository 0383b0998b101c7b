# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner makes of a site: refused with errors, or planned, with or without warnings."""

from __future__ import annotations

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan


def verdict(groups, hostvars):
    """Return all of it; a site is either refused or planned, and each message is one line."""
    plan = site_plan(groups, hostvars)
    assert bool(plan["errors"]) != bool(plan["hosts"])
    assert all("\n" not in line for line in plan["errors"] + plan["warnings"])
    return plan


def refused(groups, hostvars):
    """Return the errors; none where it is planned."""
    return verdict(groups, hostvars)["errors"]


def warned(groups, hostvars):
    """Return the warnings of a site that is planned."""
    plan = verdict(groups, hostvars)
    assert plan["errors"] == []
    return plan["warnings"]


def plan_of(groups, hostvars):
    """Return the hosts of a site that is planned."""
    plan = verdict(groups, hostvars)
    assert plan["errors"] == []
    return plan["hosts"]
