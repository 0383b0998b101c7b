# SPDX-License-Identifier: GPL-3.0-or-later
"""The shaper file: what is taken, and what is said about what is not."""

from __future__ import annotations

import copy

import pytest
import yaml
from mpquic.host.errors import ConfigError
from mpquic.host.shaper import document
from shaper_link import LINK

GOOD = {"links": [LINK]}


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "shaper.yaml"

    def call(content):
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return document.load(path)

    return call


def test_no_file_wants_nothing(tmp_path):
    assert document.load(tmp_path / "none.yaml") == ()


def test_no_links_want_nothing(load):
    assert load("links: []") == ()


def test_a_good_file(load):
    (link,) = load(GOOD)
    assert (link.name, link.on.interface, link.rate, link.inner, link.rest) == ("mt1", "wan7", 20_000_000, 0x100, 0x1FF)
    assert [(entry.name, entry.minor) for entry in link.classes] == [("cr5", 0x101), ("bk5", 0x102), ("rest", 0x1FF)]


def test_an_address_and_hexadecimal_numbers(load):
    (link,) = load(
        "links: [{name: mt1, on: '2001:db8::0:1', rate: 20000000, inner: 0x100, "
        "classes: [{name: a, minor: 0x101, priority: 0, share: 1}]}]"
    )
    assert (link.on.address, link.inner, link.default) == ("2001:db8::1", 256, False)


# Where in the first link, what is put there, what is said.
WRONG = {
    "interface": (["on"], "if:", "links[0].on: found 'if:', expected if: and an interface name"),
    "any address": (["on"], "0.0.0.0", "links[0].on: found '0.0.0.0' (no interface has it), expected"),
    "rate as text": (["rate"], "20mbit", "links[0].rate: found '20mbit', expected bits per second"),
    "rate too low": (["rate"], 1000, "links[0].rate: found 1000, expected bits per second from 32000"),
    "odd inner": (["inner"], 0x101, "links[0].inner: found 257, expected a multiple of 0x100"),
    "reserved inner": (["inner"], 0x6D00, "links[0].inner: found 27904, expected"),
    "no class": (["classes"], [], "links[0].classes: found a list of 0, expected a list of classes"),
    "class is text": (["classes", 0], "cr5", "links[0].classes[0]: found 'cr5', expected a mapping"),
    "foreign minor": (
        ["classes", 0, "minor"],
        0x201,
        "links[0].classes[0].minor: found 0x201, expected 0x101 to 0x1ff",
    ),
    "same minor": (
        ["classes", 1, "minor"],
        0x101,
        "minor: found 0x101 as in links[0].classes[0].minor, expected it once",
    ),
    "name": (["classes", 1, "name"], "a b", "links[0].classes[1].name: found 'a b', expected 1 to 32 of A-Z"),
    "priority": (["classes", 0, "priority"], 8, "links[0].classes[0].priority: found 8, expected a priority from 0"),
    "share": (["classes", 0, "share"], 0, "links[0].classes[0].share: found 0, expected percent from 1 to 100"),
    "shares": (["classes", 0, "share"], 31, "links[0].classes: found shares of 101 percent together, expected at most"),
    "no rest": (["classes", 2, "minor"], 0x103, "links[0].default: found no class 6d71:1ff, expected one for what is"),
    "unknown": (["ratte"], 1, "links[0].ratte: unknown key, did you mean rate?"),
    "unknown in class": (["classes", 0, "x"], 1, "links[0].classes[0].x: unknown key, expected one of name, minor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_fault_is_named(load, case, tmp_path):
    keys, value, message = WRONG[case]
    content = copy.deepcopy(GOOD)
    place = content["links"][0]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ConfigError) as caught:
        load(content)
    assert str(caught.value).startswith(f"{tmp_path / 'shaper.yaml'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(load):
    content = copy.deepcopy(GOOD)
    del content["links"][0]["classes"][1]["share"]
    with pytest.raises(ConfigError, match=r"links\[0\].classes\[1\].share: missing, expected percent"):
        load(content)


def test_two_links_contradict_each_other(load):
    content = {"links": [GOOD["links"][0], copy.deepcopy(GOOD["links"][0])]}
    with pytest.raises(ConfigError) as caught:
        load(content)
    text = str(caught.value)
    assert "links[1].inner: found 0x100 as in links[0].inner, expected it once" in text
    assert "links[1].default: found true for if:wan7 as in links[0].default, expected it once" in text


@pytest.mark.parametrize("content", ["", "- a", "links: {}", "links: [", "a: 1\na: 2", "links: [1]", "\0"])
def test_what_is_no_shaper_file_is_an_error_of_one_kind(load, content):
    with pytest.raises(ConfigError, match=r"shaper\.yaml: "):
        load(content)
