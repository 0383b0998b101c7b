# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of metrics, and nothing that names others: code, rules, dashboard and documentation."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from mpquic.metrics import dashboard, document, rules, table
from mpquic.metrics.alerts import ALERTS

ROOT = Path(__file__).parents[4]
FILES = ROOT / "roles/monitoring/files"
NAMES = {metric.name for metric in table.METRICS}
TESTS = Path(__file__).with_name("rules_test.yml")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")


def named(text: str) -> set[str]:
    """Return the metrics that a text names, without what the parts of a histogram have at their end."""
    found = set(re.findall(r"\bmpquic_[a-z_0-9]+", text)) - {"mpquic_monitoring_address"}
    return {re.sub("_(bucket|sum|count)$", "", name) for name in found}


def test_names_follow_the_conventions() -> None:
    assert len(NAMES) == len(table.METRICS)
    for metric in table.METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric
        assert set(metric.labels) <= table.LABELS.keys(), metric
        assert metric.text.endswith("."), metric
        assert ("seconds" in metric.name or metric.unit != "s") or metric.name.endswith("_rtt_seconds"), metric


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("roles/monitoring/files/mpquic.rules.yml", rules.text),
        ("roles/monitoring/files/mpquic-dashboard.json", dashboard.text),
    ],
)
def test_files_are_those_of_the_table(path: str, made: object) -> None:
    assert callable(made)
    assert (ROOT / path).read_text(encoding="utf-8") == made(), "run scripts/make-metrics"


def test_the_page_is_that_of_the_table() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    mark = page.index(document.MARK)
    assert page[mark:] == document.text(), "run scripts/make-metrics"
    # Variables of the inventory, and a group of metrics.
    others = {"mpquic_metrics", "mpquic_metrics_address", "mpquic_metrics_from", "mpquic_monitoring"}
    others |= {"mpquic_class_", "mpquic_wan_"}
    assert named(page[:mark]) <= NAMES | others


def test_rules_and_dashboard_name_nothing_else() -> None:
    assert named(rules.text()) <= NAMES
    assert named(dashboard.text()) <= NAMES
    records = {rule["record"] for rule in yaml.safe_load(rules.text())["groups"][0]["rules"]}
    assert set(re.findall(r"mpquic:[\w:]+", dashboard.text())) <= records
    assert set(re.findall(r"mpquic:[\w:]+", rules.text())) == records


def test_a_rule_of_an_unknown_metric_is_refused() -> None:
    with pytest.raises(KeyError):
        rules.expression("{mpquic_nothing} > 1")


def test_panels_have_their_place() -> None:
    board = json.loads(dashboard.text())
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not mine & cells, panel["title"]
        assert max(x for x, _y in mine) < 24
        cells |= mine
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_alert_has_a_test() -> None:
    tests = yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
    assert fired == {alert.name for alert in ALERTS}


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(FILES / "mpquic.rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_rules_do_what_they_are_to_do() -> None:
    done = subprocess.run(["promtool", "test", "rules", str(TESTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
