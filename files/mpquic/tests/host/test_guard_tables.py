# SPDX-License-Identifier: GPL-3.0-or-later
"""The nft tables of everybody come back as they were, and those that do not differ are not loaded again."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from guard_place import Place
from mpquic.host import programs
from mpquic.host.guard import tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns

OWN = """
table inet mpquic {
    set lans { type ipv4_addr; flags interval; elements = { 172.16.1.0/30, 172.16.2.0/30 } }
    chain guard { type filter hook forward priority filter - 10; ip saddr @lans counter drop comment "held back"; }
}
"""
FOREIGN = """
table inet filter {
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
    set admins { type ipv4_addr; elements = { 192.0.2.9 } }
    map ports { type inet_service : verdict; elements = { 22 : accept } }
    chain input { type filter hook input priority filter; policy accept;
        ct state established,related accept
        ip saddr @admins tcp dport 22 counter accept
        tcp dport vmap @ports
    }
}
table ip nat {
    chain post { type nat hook postrouting priority srcnat; oifname "up0" masquerade; }
}
"""


@pytest.fixture
def place() -> Iterator[Place]:
    with closing(Place()) as found:
        found.nft(OWN + FOREIGN)
        yield found


class Guarded:
    """The nft tables of a place when it was in order."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.file, self.said = place, folder / "state.json", folder / "said.json"
        self.before = place.nft("list ruleset", "-s")
        place.run(lambda: self.file.write_text(json.dumps(tables.read())))

    def _restore(self) -> None:
        report = tables.restore(json.loads(self.file.read_text()))
        self.said.write_text(json.dumps([report.done, report.failed]))

    def restore(self) -> tuple[list[str], list[str]]:
        self.place.run(self._restore)
        done, failed = json.loads(self.said.read_text())
        return done, failed

    def now(self) -> list[str]:
        """Return the tables, in an order of their own: one that was put back is the last."""
        return sorted(re.split(r"^}$", self.place.nft("list ruleset", "-s"), flags=re.MULTILINE))

    def then(self) -> list[str]:
        return sorted(re.split(r"^}$", self.before, flags=re.MULTILINE))


@pytest.fixture
def guarded(place: Place, tmp_path: Path) -> Guarded:
    return Guarded(place, tmp_path)


@contextmanager
def owned(place: Place) -> Iterator[None]:
    """Let a process own a table in the place."""
    text = "table inet held { flags owner; chain c { type filter hook forward priority 0; }; }\n"
    command = ["ip", "netns", "exec", place.name, "nft", "-i"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()
        while "inet held" not in place.nft("list tables"):
            assert process.poll() is None
        yield
        process.stdin.close()


def test_a_table_that_a_process_owns_is_left_alone(place: Place, tmp_path: Path):
    with owned(place):
        guarded = Guarded(place, tmp_path)
        assert "inet held" not in guarded.file.read_text()
        assert guarded.restore() == ([], [])
    assert "inet held" not in place.nft("list tables")
    assert guarded.restore() == ([], [])
    with owned(place):
        assert guarded.restore() == ([], [])


def test_a_table_is_known_by_its_name_whatever_nft_says_beside_it(monkeypatch: pytest.MonkeyPatch):
    said = "table inet a { # progname x\n\tflags dormant\n}\ntable inet b { # progname y\n\tflags dormant,owner\n}\n"
    monkeypatch.setattr(programs, "answer", lambda *_, **__: subprocess.CompletedProcess((), 0, said, ""))
    assert list(tables.read()) == ["inet a"]


def flat(texts: list[str]) -> list[str]:
    return sorted(text.strip() for text in texts)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("flush ruleset", "put back the nft table inet filter"),
        ("insert rule inet filter input tcp dport 22 drop", "put back the nft table inet filter"),
        ("delete element inet filter admins { 192.0.2.9 }", "put back the nft table inet filter"),
        ("delete table ip nat", "put back the nft table ip nat"),
        ("delete table inet mpquic", "put back the nft table inet mpquic"),
        (
            "table inet lockout { chain input { type filter hook input priority -5; tcp dport 22 drop; }; }",
            "removed the nft table inet lockout",
        ),
    ],
)
def test_damage_is_undone(place: Place, guarded: Guarded, damage: str, said: str):
    place.nft(damage)
    assert flat(guarded.now()) != flat(guarded.then())
    done, failed = guarded.restore()
    assert flat(guarded.now()) == flat(guarded.then())
    assert said in done
    assert failed == []
    assert guarded.restore() == ([], [])


def test_what_packets_add_to_a_set_is_no_difference(place: Place, guarded: Guarded):
    place.nft("add element inet filter seen { 192.0.2.77 timeout 30m }")
    assert guarded.restore() == ([], [])
    assert "192.0.2.77" in place.nft("list ruleset")


def test_only_the_table_that_differs_is_loaded(place: Place, guarded: Guarded):
    """A rule that is loaded again has another handle."""
    handles = place.nft("list table inet filter", "-a")
    place.nft("delete table ip nat")
    assert guarded.restore() == (["put back the nft table ip nat"], [])
    assert place.nft("list table inet filter", "-a") == handles


def test_a_table_that_nft_refuses_does_not_keep_the_others_away(place: Place, guarded: Guarded):
    broken = json.loads(guarded.file.read_text()) | {"inet odd": "table inet odd {\n\tnonsense\n}"}
    guarded.file.write_text(json.dumps(broken))
    place.nft("insert rule inet filter input tcp dport 22 drop")
    done, failed = guarded.restore()
    assert done == ["put back the nft table inet filter"]
    assert len(failed) == 1
    assert failed[0].startswith("put back the nft table inet odd: ")


def test_a_table_that_nft_would_misread_is_left_alone(place: Place, guarded: Guarded):
    text = "table ip filter {\n\tchain INPUT {\n\t\t# xt_recent accept\n\t}\n}"
    guarded.file.write_text(json.dumps(json.loads(guarded.file.read_text()) | {"ip filter": text}))
    done, failed = guarded.restore()
    assert done == []
    assert "rules of iptables" in failed[0]
    assert "ip filter" not in place.nft("list tables")
