# SPDX-License-Identifier: GPL-3.0-or-later
"""The live nft table as the kernel has it: its chains, rules and sets, in the JSON of libnftables-json(5)."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable

FAMILY, NAME = "inet", "mpquic"
_PATIENCE = 10
_HANDLE = re.compile(r"^\s*(.*\S)\s+# handle (\d+)$", re.MULTILINE)
_COUNTED = re.compile(r"\bcounter packets \d+ bytes \d+")


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule: its statements, the comment that it carries, and how nft writes it."""

    statements: tuple[dict[str, Any], ...]
    comment: str | None
    text: str


@dataclass(slots=True)
class Chain:
    """One chain; `hook` is None unless the kernel enters it by itself."""

    name: str
    hook: str | None = None
    kind: str | None = None
    priority: int = 0
    policy: str = "accept"
    rules: list[NftRule] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """Our table, empty when it is not loaded; `foreign` has hook and name of others' base chains, not examined here."""

    loaded: bool
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, list[Any]] = field(default_factory=dict)
    foreign: tuple[tuple[str, str], ...] = ()

    def hooked(self, hook: str) -> list[Chain]:
        """Return the chains of a hook, in the order in which the kernel enters them."""
        return sorted((c for c in self.chains.values() if c.hook == hook), key=lambda chain: chain.priority)


def read() -> Table:
    """Return the live table.

    Raises:
        HostError: not root, or nft is missing or answers with something else.

    """
    if os.geteuid() != 0:
        raise HostError("explain: the nft table can only be read by root, run it with sudo")
    table = _chains(_json("list", "chains"))
    if not table.loaded:
        return table
    texts = {int(handle): _COUNTED.sub("counter", text) for text, handle in _HANDLE.findall(_nft("-a", *_LIST))}
    return fill(table, _json(*_LIST), texts)


_LIST = ("list", "table", FAMILY, NAME)


def _chains(objects: Iterable[dict[str, Any]]) -> Table:
    """Tell whether our table is there, and which base chains others have."""
    objects = list(objects)
    chains = [entry["chain"] for entry in objects if "chain" in entry]
    foreign = tuple(
        (found["hook"], f"{found['family']} {found['table']} {found['name']}")
        for found in chains
        if "hook" in found and not _ours(found)
    )
    return Table(any(map(_ours, chains)), foreign=foreign)


def _ours(found: dict[str, Any]) -> bool:
    return (found["family"], found["table"]) == (FAMILY, NAME)


def fill(table: Table, objects: Iterable[dict[str, Any]], texts: dict[int, str]) -> Table:
    """Put chains, sets and rules into a table; `texts` has what nft prints for each rule, by handle."""
    for entry in objects:
        if found := entry.get("chain"):
            table.chains[found["name"]] = Chain(
                found["name"], found.get("hook"), found.get("type"), found.get("prio", 0), found.get("policy", "accept")
            )
        elif found := entry.get("set") or entry.get("map"):
            table.sets[found["name"]] = found.get("elem", [])
        elif found := entry.get("rule"):
            comment = found.get("comment")
            text = texts.get(found["handle"]) or f"rule with handle {found['handle']}"
            rule = NftRule(tuple(found.get("expr", ())), comment, text)
            table.chains[found["chain"]].rules.append(rule)
    return table


def _json(*arguments: str) -> list[dict[str, Any]]:
    text = _nft("-j", *arguments)
    try:
        found = json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, list):
        raise HostError(f"nft -j {' '.join(arguments)}: answered with something else than its JSON")
    return found


def _nft(*arguments: str) -> str:
    command = ["nft", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise HostError("nft: no such command, install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{' '.join(command)}: no answer within {_PATIENCE} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise HostError(f"{' '.join(command)}: {lines[0] if lines else f'exit code {done.returncode}'}")
    return done.stdout
