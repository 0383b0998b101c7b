# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about programs of the system that fail, are missing or take too long."""

from __future__ import annotations

import pytest
from mpquic.host import programs
from mpquic.host.errors import HostError


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("sh", "-c", "echo one >&2; echo two >&2; exit 3"), "load it: one"),
        (("sh", "-c", "echo not an error; exit 1"), "load it: refused"),
        (("no-such-program", "-f", "file"), "load it: no-such-program does not answer"),
        (("sleep", "60"), "load it: sleep does not answer"),
    ],
)
def test_a_failure_is_one_line(command: tuple[str, ...], message: str) -> None:
    with pytest.raises(HostError) as found:
        programs.demand(*command, patience=0.5, task="load it", fault="refused")
    assert str(found.value) == message


def test_success_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    programs.demand("echo", "well", patience=5, task="load it", fault="refused")
    assert capfd.readouterr() == ("", "")
    done = programs.answer("echo", "well", patience=5)
    assert done is not None
    assert done.stdout == "well\n"
