# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is found without a word on why it matters and what mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mpquic import host
from mpquic.cli import SUBCOMMANDS
from mpquic.host.doctor.advice import advice, known
from mpquic.host.doctor.finding import Level, finding
from mpquic.io.symptoms import cause

_FOLDER = Path(host.__file__).parent
#: Speak for themselves: mpquic explain is about one packet.
_APART = _FOLDER / "explain"


def test_every_problem_has_advice() -> None:
    sources = [path for path in _FOLDER.rglob("*.py") if _APART not in path.parents]
    named = {code for path in sources for code in re.findall(r'Problem\(\s*"([a-z_0-9]+)"', path.read_text())}
    assert len(named) > 30
    assert named <= known()


def test_every_finding_of_the_doctor_has_advice() -> None:
    sources = "".join(path.read_text() for path in (_FOLDER / "doctor").glob("*.py"))
    named = set(re.findall(r'finding\(\s*[^",]*(?:"[^"]*")?,\s*"([a-z_]+)"', sources))
    named |= set(re.findall(r'Symptom\("([a-z_]+)"', sources))
    assert {"loss", "dns_silent", "log"} <= named
    assert named <= known()


def test_commands_that_mend_exist() -> None:
    for code in known():
        mend = advice(code).mend or ""
        Level(advice(code).level)
        assert all(name in SUBCOMMANDS for name in re.findall(r"(?<![-\w])mpquic ([a-z-]+)", mend)), code


def test_names_are_put_into_the_command() -> None:
    assert finding("tunnel 4", "rule_missing", "", id="4").mend == "mpquic routing fix 4"
    assert finding("host", "nobody_knows", "").level is Level.FAIL


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("server key sha256:00 is not the pinned one", "wrong_key"),
        ("server refused: key sha256:00 is no peer here", "wrong_key"),
        ("vps.example:45004: Temporary failure in name resolution", "dns_failed"),
        ("no answer, port closed", "port_closed"),
        ("no answer", "no_answer"),
        ("interface wan2 has no carrier", "wan_no_carrier"),
        ("told to stop", None),
    ],
)
def test_the_cause_behind_a_reason(reason: str, code: str | None) -> None:
    assert cause(reason) == code
