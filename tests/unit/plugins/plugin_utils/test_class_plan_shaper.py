# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner wants shaped, the shaper takes, with the same numbers as the packets are marked with."""

from __future__ import annotations

import yaml
from ansible.plugins.filter.core import to_nice_yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from class_sites import CLASSES, MARKED, WAN5, classified, link
from mpquic.host.shaper import document, plan
from mpquic.host.shaper.state import FQ_CODEL, classid


def test_both_ends_are_taken(tmp_path):
    rates = WAN5 | {"enp7s8": {"rate_up": "32kbit"}}
    eight = [{**CLASSES[0], "name": f"c{n}", "match": [{"protocol": n}], "outer_dscp": n + 1} for n in range(7)]
    links = [link(classes=MARKED), link(id=25, wan="enp7s8", classes=[*eight, {"name": "df", "default": True}])]
    found = site_plan(*classified(*links, mpquic_wans=rates))
    assert found["errors"] == []
    for host, names in (("client1", ["mt1", "mt25"]), ("vps1", ["mt1"])):
        content = found["hosts"][host]["shaper"]
        path = tmp_path / f"{host}.yaml"
        # As the template of the role writes it.
        path.write_text(to_nice_yaml(content, sort_keys=False, indent=2))
        assert yaml.safe_load(path.read_text()) == content
        taken = document.load(path)
        assert [item.name for item in taken] == names
        classes = {classid(minor) for item in taken for minor in plan.tree([item], FQ_CODEL).classes}
        assert {packets["classid"] for packets in found["hosts"][host]["nft"]["shape"]} <= classes
        assert [item.default for item in taken] == [host == "client1"] * len(names)
