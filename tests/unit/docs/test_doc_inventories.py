# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages say to write into an inventory makes a plan without errors, in the example's site."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import (
    class_inventory,
    classes,
    dataplane,
    inventory,
    lans,
    matches,
    multipath_inventory,
    multipath_paths,
    site_plan,
    wans,
)
from doc_pages import PAGES, ROOT, Block, blocks, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST_VARS = ROOT / "inventories/example/host_vars"
#: Variables of a client whose examples are whole.
WHOLE = {"mpquic_tunnels", "mpquic_class_tunnels", "mpquic_multipath_tunnels", "mpquic_wans"}
#: What stands for something that the reader knows.
LEFT_OUT = "[...]"

BLOCKS = [block for page in PAGES for block in blocks(page)]
DIFFS = [block for block in BLOCKS if block.info == "diff"]


def place(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


def problems(client: dict[str, Any]) -> list[str]:
    """Return what the plan has against the example's site with these variables of its client."""
    server = yaml.safe_load((HOST_VARS / "vps1.yml").read_text(encoding="utf-8"))
    groups = {"mpquic_clients": ["client1"], "mpquic_vps": ["vps1"]}
    return list(site_plan(groups, {"client1": client, "vps1": server})["errors"])


def example() -> str:
    return (HOST_VARS / "client1.yml").read_text(encoding="utf-8")


def edited(block: Block) -> str:
    """Return the example's file with the edit that a block shows; the lines before it have to be there, once."""
    lines = [(line[:1], line[1:]) for line in block.text.splitlines()]
    before = "".join(f"{text}\n" for sign, text in lines if sign != "+")
    after = "".join(f"{text}\n" for sign, text in lines if sign != "-")
    assert example().count(before) == 1, f"{place(block)}: not in the example"
    return example().replace(before, after)


@pytest.mark.parametrize("block", DIFFS, ids=place)
def test_edits_fit_the_example(block: Block) -> None:
    assert not problems(yaml.safe_load(edited(block)))


def variables() -> Iterator[tuple[Block, dict[str, Any]]]:
    for block in BLOCKS:
        if block.info == "yaml" and LEFT_OUT not in block.text:
            for found in yaml.safe_load_all(textwrap.dedent(block.text)):
                if isinstance(found, dict) and (own := {key: found[key] for key in WHOLE & set(found)}):
                    yield block, own


VARIABLES = list(variables())


@pytest.mark.parametrize(("block", "own"), VARIABLES, ids=[place(block) for block, _own in VARIABLES])
def test_variables_fit_the_example(block: Block, own: dict[str, Any]) -> None:
    tunnels = yaml.safe_load(example())["mpquic_tunnels"]
    lans = {entry.get("lan") for entry in own.get("mpquic_multipath_tunnels", ())}
    # A LAN has one tunnel: in the place of its old one.
    client = {"mpquic_tunnels": [entry for entry in tunnels if entry["lan"] not in lans], **own}
    assert not problems(client)


def test_dataplanes_of_the_recipes_fit_their_tunnel() -> None:
    page = ROOT / "docs/guides/bonding.md"
    (edit,) = (block for block in DIFFS if block.page == page)
    parts = [
        yaml.safe_load(textwrap.dedent(block.text)) for block in BLOCKS if block.page == page and block.info == "yaml"
    ]
    assert len(parts) == 2
    for part in parts:
        client = yaml.safe_load(edited(edit))
        client["mpquic_multipath_tunnels"][0] |= part
        assert not problems(client)


def test_every_key_of_an_inventory_is_explained() -> None:
    keys = {
        *inventory.REQUIRED,
        *inventory.OPTIONAL,
        *class_inventory.REQUIRED,
        *class_inventory.OPTIONAL,
        *classes.KEYS,
        *matches.KEYS,
        *lans._KEYS,
        *multipath_inventory.REQUIRED,
        *multipath_inventory.OPTIONAL,
        *multipath_paths.KEYS,
        *dataplane.KEYS,
        *dataplane.CLASS_KEYS,
        *dataplane.CLASSIFIER_KEYS,
        *wans.KEYS,
    }
    page = tokens(ROOT / "docs/inventory.md")
    explained = {child.content for token in page for child in token.children or () if child.type == "code_inline"}
    # Those of an entry of `lans` stand in an example.
    assert keys - explained <= {"cidrs"}
