# SPDX-License-Identifier: GPL-3.0-or-later
"""Where metrics are offered, and to whom."""

from __future__ import annotations

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from sites import reference
from verdicts import refused

CLIENT = {"mpquic_metrics_address": "198.51.100.20"}
WATCH = {"mpquic_monitoring_address": "198.51.100.5"}
ADDRESS = "expected an address of one host such as 198.51.100.5 or 2001:db8::5"
NETWORK = "an IPv4 network of /8 to /32 or an IPv6 network of /16 to /128 such as 198.51.100.0/24"
SOCKET = {"enabled": True, "address": "", "port": 45900, "from": [], "target": {}}


def monitored(**variables):
    """Return the reference site with a host that monitors it, and its client with these variables."""
    groups, hostvars = reference()
    groups["mpquic_monitoring"] = ["watch1"]
    hostvars["watch1"] = dict(WATCH)
    hostvars["client1"] |= CLIENT | variables
    return groups, hostvars


def exporters(groups, hostvars):
    plan = site_plan(groups, hostvars)
    assert (plan["errors"], plan["warnings"]) == ([], [])
    return plan["exporters"]


def test_nothing_is_on_a_network_unless_it_is_said():
    assert exporters(*reference()) == {"client1": SOCKET, "vps1": SOCKET}


def test_hosts_that_monitor_may_ask():
    assert exporters(*monitored()) == {
        "client1": {
            "enabled": True,
            "address": "198.51.100.20",
            "port": 45900,
            "from": ["198.51.100.5"],
            "target": {"host": "client1", "address": "198.51.100.20:45900"},
        },
        "vps1": SOCKET,
    }


def test_a_host_says_itself_who_may_ask():
    variables = {"mpquic_metrics_address": "2001:db8::20", "mpquic_metrics_port": 9000}
    found = exporters(*monitored(**variables, mpquic_metrics_from=["2001:db8::5", "198.51.100.0/24"]))["client1"]
    assert found["from"] == ["2001:db8::5/128", "198.51.100.0/24"]
    assert found["target"] == {"host": "client1", "address": "[2001:db8::20]:9000"}


def test_a_host_without_metrics_is_not_asked():
    found = exporters(*monitored(mpquic_metrics=False))["client1"]
    assert (found["enabled"], found["target"]) == (False, {})


def test_what_is_not_ours_has_no_exporter():
    groups, hostvars = monitored(mpquic_legacy_from=["198.51.100.0/24"])
    assert list(exporters(groups, hostvars)) == ["vps1"]


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"mpquic_metrics": "yes"}, "mpquic_metrics: found 'yes', expected true or false"),
        ({"mpquic_metrics_address": "0.0.0.0"}, f"mpquic_metrics_address: found '0.0.0.0', {ADDRESS}"),
        ({"mpquic_metrics_address": "::"}, f"mpquic_metrics_address: found '::', {ADDRESS}"),
        ({"mpquic_metrics_address": ["198.51.100.20"]}, f"mpquic_metrics_address: found ['198.51.100.20'], {ADDRESS}"),
        ({"mpquic_metrics_port": 80}, "mpquic_metrics_port: found 80, expected an integer from 1024 to 65535"),
        (
            {"mpquic_metrics_from": []},
            "mpquic_metrics_from: found [], expected a list of at least one network such as [198.51.100.0/24]",
        ),
        ({"mpquic_metrics_from": ["watch1"]}, f"mpquic_metrics_from[0]: found 'watch1/32', expected {NETWORK}"),
    ],
)
def test_what_is_wrong_is_said(variables, error):
    assert refused(*monitored(**variables)) == [f"client1: {error}"]


def test_somebody_may_ask():
    groups, hostvars = monitored()
    del hostvars["watch1"]["mpquic_monitoring_address"]
    (error,) = refused(groups, hostvars)
    assert error.startswith("client1: mpquic_metrics_from: not set, expected who may ask, or mpquic_monitoring_address")


def test_a_slip_is_mentioned():
    groups, hostvars = monitored(mpquic_metric_port=9000)
    assert site_plan(groups, hostvars)["warnings"] == [
        "client1: mpquic_metric_port: unknown variable, did you mean mpquic_metrics_port?"
    ]
