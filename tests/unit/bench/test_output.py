# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import picture, publish, table
from tests.bench.errors import BenchError
from tests.bench.floors import judge
from tests.bench.results import Problem, Sample, load, save
from tests.bench.svg import Drawing

BENCH = Path(__file__).resolve().parents[2] / "bench"


def shown(drawing):
    return [element.text for element in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]


def test_the_table_has_medians_and_ratios(results):
    rows = table.rows(results, "W2")
    assert rows[0] == ["", "mpquic", "wireguard-go, Debian 12", "OpenVPN"]
    assert rows[1] == ["TCP to the server, Mbit/s", "1100", "400 (2.75x)", "500 (2.20x)"]
    assert rows[2] == ["CPU per packet, TCP to the server, µs", "12.5", "12.5 (1.00x)", "12.5 (1.00x)"]


def test_the_table_names_what_failed_and_what_is_not_there(results):
    results.samples = [sample for sample in results.samples if sample.peer == "mpquic"]
    results.problems.append(Problem(1, "W2", "openvpn", "tcp", "it fell over"))
    results.unavailable["wireguard-go"] = "no package"
    assert table.rows(results, "W2")[1] == ["TCP to the server, Mbit/s", "1100", "not available", "failed"]
    assert "wireguard-go: not available: no package" in table.text(results, [])


def test_columns_of_the_text_line_up(results):
    lines = [line for line in table.text(results, []).splitlines() if "Mbit/s" in line or "OpenVPN" in line]
    assert len({len(line) for line in lines}) == 1


def test_markdown_has_a_row_for_each_figure_and_verdict(results):
    text = table.markdown(results, judge(results))
    assert "| TCP to the server, Mbit/s | 1100 | 400 (2.75x) | 500 (2.20x) |" in text
    assert "| FAIL | W2 TCP to the server to OpenVPN | 2.20x, at least 2.5x |" in text


def test_json_comes_back_as_it_was(results, tmp_path):
    results.problems.append(Problem(1, "W2", "openvpn", "tcp", "it fell over"))
    results.unavailable["wan"] = "no key rate"
    path = tmp_path / "sub" / "bench.json"
    save(results, path)
    assert load(path) == results


def test_json_of_something_else_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"about": {}}))
    with pytest.raises(ValueError, match="not the result of a benchmark"):
        load(path)


def test_the_picture_shows_every_figure(results):
    words = shown(picture.draw(results))
    assert "1,100 Mbit/s" in words
    assert "400 Mbit/s" in words
    assert words.count("12.5 µs") == 3
    assert "Small packets" not in words


def test_the_picture_shows_the_slower_direction(results):
    results.samples.append(Sample(3, "W2", "openvpn", "rtcp", {"mbit": 100.0}))
    results.samples.append(Sample(4, "W2", "openvpn", "rtcp", {"mbit": 100.0}))
    results.samples.append(Sample(5, "W2", "openvpn", "rtcp", {"mbit": 100.0}))
    assert "100 Mbit/s" in shown(picture.draw(results))


def test_the_picture_survives_a_peer_without_figures(results):
    results.samples = [sample for sample in results.samples if sample.peer == "mpquic"]
    results.problems.append(Problem(1, "W2", "openvpn", "tcp", "<it> & fell over"))
    results.unavailable["wireguard-go"] = "no package"
    words = shown(picture.draw(results))
    assert "failed" in words
    assert "not available" in words


def test_loss_in_the_picture_is_of_the_whole_offer(results):
    values = {"mbit": 200.0, "loss_percent": 50.0}
    results.samples.append(Sample(1, "W2", "mpquic", "udp", values))
    assert "75.0 %" in shown(picture.draw(results))


def test_text_in_the_picture_is_text():
    drawing = Drawing()
    drawing.text(0, 0, "<less> & more")
    assert shown(drawing.document(10, 10, "a & b")) == ["<less> & more"]


def test_the_page_keeps_what_is_around_the_figures():
    page = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"
    assert publish.insert(page, "new\n") == f"before\n{publish.BEGIN}\n\nnew\n\n{publish.END}\nafter\n"
    assert publish.insert(publish.insert(page, "one\n"), "new\n") == publish.insert(page, "new\n")


def test_a_page_without_marks_is_left_alone():
    with pytest.raises(BenchError, match="expected the lines"):
        publish.insert("nothing here", "new")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--wires", "W4"], "found 'W4', expected some of W1,W2,W3"),
        (["--rounds", "0"], "found '0', expected a whole number above 0"),
        (["soak", "--rate", "fast"], "found 'fast', expected bits per second such as 50M"),
        (["soak", "--minutes", "-1"], "found '-1', expected a whole number above 0"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(words, message):
    done = subprocess.run([sys.executable, BENCH, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert message in done.stderr
    assert "Traceback" not in done.stderr
