# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts have a status page, and where."""

from __future__ import annotations

import json

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from sites import reference
from verdicts import refused

NONE = {"enabled": False, "address": "127.0.0.1", "port": 45901, "from": []}
SECRET = "correct horse battery"
NETWORK = "an IPv4 network of /8 to /32 or an IPv6 network of /16 to /128 such as 198.51.100.0/24"
PASSWORD = "12 to 256 printable characters, best from a vault"


def paged(**variables):
    """Return the reference site with a page on its client, with these variables."""
    groups, hostvars = reference()
    hostvars["client1"] |= {"mpquic_page": True, "mpquic_page_password": SECRET} | variables
    return groups, hostvars


def pages(groups, hostvars):
    plan = site_plan(groups, hostvars)
    assert (plan["errors"], plan["warnings"]) == ([], [])
    assert SECRET not in json.dumps(plan)
    return plan["pages"]


def test_there_is_none_unless_it_is_said():
    assert pages(*reference()) == {"client1": NONE, "vps1": NONE}


def test_it_is_for_the_host_itself_unless_it_is_said():
    assert pages(*paged())["client1"] == NONE | {"enabled": True}
    assert pages(*paged(mpquic_page_address="::1"))["client1"]["address"] == "::1"


def test_it_is_where_it_is_said_to_be():
    variables = {"mpquic_page_address": "198.51.100.20", "mpquic_page_port": 8443}
    found = pages(*paged(**variables, mpquic_page_from=["198.51.100.5", "2001:db8::/64"]))["client1"]
    assert found == {
        "enabled": True,
        "address": "198.51.100.20",
        "port": 8443,
        "from": ["198.51.100.5/32", "2001:db8::/64"],
    }


def test_what_is_not_ours_has_none():
    groups, hostvars = reference()
    hostvars["client1"]["mpquic_legacy_from"] = ["198.51.100.0/24"]
    assert list(pages(groups, hostvars)) == ["vps1"]


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"mpquic_page": "yes"}, "mpquic_page: found 'yes', expected true or false"),
        (
            {"mpquic_page_address": "0.0.0.0"},
            "mpquic_page_address: found '0.0.0.0', expected an address of one host such as 198.51.100.5 or 2001:db8::5",
        ),
        ({"mpquic_page_port": 443}, "mpquic_page_port: found 443, expected an integer from 1024 to 65535"),
        (
            {"mpquic_page_from": ["me"]},
            f"mpquic_page_from[0]: found 'me/32', expected {NETWORK}",
        ),
        ({"mpquic_page_password": None}, f"mpquic_page_password: not set, expected {PASSWORD}"),
        ({"mpquic_page_password": "short"}, f"mpquic_page_password: found 'something else', expected {PASSWORD}"),
        ({"mpquic_page_password": 123456789012}, f"mpquic_page_password: found 'something else', expected {PASSWORD}"),
        (
            {"mpquic_page_password": "two\nlines of it"},
            f"mpquic_page_password: found 'something else', expected {PASSWORD}",
        ),
    ],
)
def test_what_is_wrong_is_said_and_no_password_repeated(variables, error):
    assert refused(*paged(**variables)) == [f"client1: {error}"]
