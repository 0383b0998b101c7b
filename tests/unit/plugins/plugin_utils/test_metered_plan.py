# SPDX-License-Identifier: GPL-3.0-or-later
"""WANs that are paid for by volume: what the plan says of them, and how it keeps their paths for the worst case."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_plan import site_plan
from mpquic.host.history import wan
from multipath_sites import DATAPLANE, PATHS, multipath, tunnel
from verdicts import refused

MP = "client1: mpquic_multipath_tunnels[0] (id 1)"
LTE = "client1: mpquic_wans[enp7s5]"
QUOTA = "bytes from 1M to 1000T such as 500M, 50G or 1.5T (or 50GiB), both directions together"
WARN = "a list of rising percentages from 1 to 99 such as [80, 95]"


def planned(site):
    plan = site_plan(*site)
    assert plan["errors"] == []
    return plan["hosts"]["client1"]


def classes(site):
    (found,) = [item["config"] for item in planned(site)["instances"] if item["id"] == "mp1"]
    return {name: item.get("preferred_paths") for name, item in found.get("dataplane", {}).get("classes", {}).items()}


def lte(**keys):
    return multipath(mpquic_wans={"enp7s5": keys})


def test_what_is_counted_is_what_the_daemon_reads(tmp_path) -> None:
    site = lte(quota="50G", billing_day=12, warn=[50, 90], metered=True)
    file = tmp_path / "wans.yaml"
    file.write_text(str(planned(site)["wans"]))
    assert wan.load(file) == (wan.Wan("enp7s5", 50 * 10**9, 12, (50, 90), metered=True),)
    file.write_text(str(planned(lte(quota="1.5TiB"))["wans"]))
    assert wan.load(file) == (wan.Wan("enp7s5", 3 * 2**39, 1, wan.WARN, metered=False),)


def test_nothing_is_planned_for_wans_of_which_only_rates_are_known() -> None:
    assert "wans" not in planned(lte(rate="20mbit"))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"quota": 50}, f"{LTE}: quota: found 50, expected {QUOTA}"),
        ({"quota": "0G"}, f"{LTE}: quota: found '0G', expected {QUOTA}"),
        ({"quota": "50gbit"}, f"{LTE}: quota: found '50gbit', expected {QUOTA}"),
        ({"quota": "1G", "billing_day": 32}, f"{LTE}: billing_day: found 32, expected an integer from 1 to 31"),
        ({"quota": "1G", "warn": [95, 80]}, f"{LTE}: warn: found [95, 80], expected {WARN}"),
        ({"quota": "1G", "warn": [100]}, f"{LTE}: warn: found [100], expected {WARN}"),
        ({"quota": "1G", "warn": 80}, f"{LTE}: warn: found 80, expected {WARN}"),
        ({"metered": "yes"}, f"{LTE}: metered: found 'yes', expected true or false"),
        ({"metered": True, "warn": [80]}, f"{LTE}: quota: not set, expected one such as 50G, because it has warn"),
        (
            {"billing_day": 2},
            f"{LTE}: quota: not set, expected one such as 50G, or metered, because it has billing_day",
        ),
        ({"quotta": "1G"}, f"{LTE}: quotta: unknown key, did you mean quota?"),
    ],
)
def test_what_is_wrong_is_said(keys, line) -> None:
    assert refused(*lte(**keys)) == [line]


def test_a_metered_wan_is_a_backup_without_and_with_classes() -> None:
    unmetered = ["enp7s3", "enp7s4"]
    assert classes(multipath()) == {}
    assert classes(lte(quota="1G")) == {}
    assert classes(lte(metered=True)) == {"default": unmetered}
    dataplane = multipath(tunnel(dataplane=DATAPLANE), mpquic_wans={"enp7s4": {"metered": True}})
    # What the operator prefers stays, what is excluded is not preferred.
    assert classes(dataplane) == {"calls": ["enp7s3"], "bulk": ["enp7s3"], "rest": ["enp7s3", "enp7s5"]}


def test_a_path_may_differ_from_its_wan_and_with_nothing_but_metered_ones_nothing_is_preferred() -> None:
    paths = copy.deepcopy(PATHS)
    paths[2]["metered"] = False
    assert classes(multipath(tunnel(paths=paths), mpquic_wans={"enp7s5": {"metered": True}})) == {}
    for path in paths:
        path["metered"] = True
    assert classes(multipath(tunnel(paths=paths, dataplane=DATAPLANE)))["rest"] is None
    wrong = multipath(tunnel(paths=[{"wan": "enp7s3", "metered": 1}, {"wan": "enp7s4"}]))
    assert refused(*wrong) == [f"{MP}: paths[0]: metered: found 1, expected true or false"]


def test_the_interval_of_pings_goes_to_the_daemon() -> None:
    paths = [{"wan": "enp7s3"}, {"wan": "enp7s4", "ping_interval": 20}]
    (found,) = [item["config"] for item in planned(multipath(tunnel(paths=paths)))["instances"] if item["id"] == "mp1"]
    assert [path.get("ping_interval") for path in found["multipath_paths"]] == [None, 20]
    wrong = multipath(tunnel(paths=[{"wan": "enp7s3"}, {"wan": "enp7s4", "ping_interval": 30}]))
    assert refused(*wrong) == [f"{MP}: paths[1]: ping_interval: found 30, expected an integer from 1 to 20"]
