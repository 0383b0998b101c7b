# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic explain``: what it prints and how it ends."""

from __future__ import annotations

import json
import os

import pytest
from explain_site import UP, ip
from mpquic.cli import explain, main

pytestmark = pytest.mark.netns

CALL = "--src 172.16.5.2 --dst 198.51.100.7 --proto udp --sport 4000 --dport 5060 --dscp ef --iif enp7s1"


@pytest.fixture
def command(site, monkeypatch, capsys):
    """Run the command on the host; its daemons say that they are up."""
    monkeypatch.setattr(explain, "ask", lambda path, command: UP)

    def run(words=CALL, *more):
        capsys.readouterr()
        code = main(["explain", *words.split(), "--instances", str(site.instances), *more])
        return code, *capsys.readouterr()

    return run


def test_text_is_for_people(command):
    code, out, err = command()
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0] == "packet  udp 172.16.5.2:4000 -> 198.51.100.7:5060, dscp ef, in by enp7s1"
    assert lines[-1] == "tunnel cr5, as planned"


def test_json_is_for_programs(command):
    code, out, _err = command(CALL, "--json")
    found = json.loads(out)
    assert (code, found["verdict"], found["class"], found["as_planned"], found["certain"]) == (
        0,
        "tunnel",
        "cr5",
        True,
        True,
    )
    assert found["steps"][0] == {
        "step": "packet",
        "text": "udp 172.16.5.2:4000 -> 198.51.100.7:5060, dscp ef, in by enp7s1",
    }


def test_what_differs_exits_with_2(command):
    ip("rule del priority 200 fwmark 0x110000/0xfff0000")
    code, out, _err = command()
    assert code == 2
    assert "[FAIL] rule_differs: decided by '32766: from all lookup 254', the plan has '200: from all fwmark" in out
    assert out.splitlines()[-1] == "dropped, not as planned"


@pytest.mark.parametrize(
    "words",
    [
        "--src 172.16.5.2 --dst x",
        "--src 172.16.5.2",
        "--src 172.16.5.2 --dst 198.51.100.7",
        "--src 172.16.5.2 --dst 198.51.100.7 --iif nothing0",
        "--src 172.16.5.2 --dst 198.51.100.7 --iif enp7s1 --dport many",
    ],
)
def test_bad_arguments_exit_with_64(command, capsys, words):
    try:
        code, _out, err = command(words)
    except SystemExit as stop:
        code, err = stop.code, capsys.readouterr().err
    assert code == 64
    assert err
    assert "Traceback" not in err


def test_without_root_it_says_so(command, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, _out, err = command()
    assert code == 1
    assert "can only be read by root" in err


def test_a_broken_plan_exits_with_78(command, site):
    (site.folder / "classes.yaml").write_text("links: 5")
    code, _out, err = command()
    assert code == 78
    assert "classes.yaml" in err
