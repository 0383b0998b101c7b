# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may see the page: hashes, files and headers that are right and wrong, and what failing costs."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from mpquic.host.errors import ConfigError, UsageError
from mpquic.page import certificate, password

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "correct horse battery"


class Clock:
    """Stands still unless it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def header(word: str, user: str = "mpquic") -> str:
    return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()


@pytest.fixture(scope="module")
def made() -> password.Hash:
    return password.Hash.of(GOOD)


def test_a_hash_is_salted_and_fits_its_password_alone(made: password.Hash) -> None:
    other = password.Hash.of(GOOD)
    assert (other.salt, other.digest) != (made.salt, made.digest)
    assert made.fits(GOOD)
    assert not made.fits(GOOD + " ")
    assert GOOD not in made.line()


@pytest.mark.parametrize("word", ["", "short", "x" * 257, "two\nlines of words", "a zero \0 in it ..."])
def test_what_can_be_no_password(word: str) -> None:
    with pytest.raises(UsageError, match="expected 12 to 256 printable characters"):
        password.Hash.of(word)


def test_only_a_hash_that_its_owner_alone_may_read_is_taken(made: password.Hash, tmp_path: Path) -> None:
    path = tmp_path / "password"
    with pytest.raises(ConfigError, match="No such file"):
        password.load(path)
    path.write_text(made.line())
    for mode, shared in ((0o644, False), (0o640, False), (0o604, True)):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="expected 0600"):
            password.load(path, shared=shared)
    path.chmod(0o440)
    assert password.load(path, shared=True) == made
    path.chmod(0o600)
    assert password.load(path) == made


@pytest.mark.parametrize(
    "text",
    [
        *("", "word", "scrypt:16384:8:1:00:00", "scrypt:9999999:8:1:{0}:{0}{0}", "scrypt:1000000:8:1:{0}:{0}{0}"),
        *("scrypt:4194304:8:1:{0}:{0}{0}", "scrypt:16384:0:1:{0}:{0}{0}", "\xff" * 2000),
    ],
)
def test_what_is_no_hash(text: str, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(text.format("ab" * 16), encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="found"):
        password.load(path)


def test_who_knows_the_password_is_let_in_and_remembered(made: password.Hash) -> None:
    gate = password.Gate(made, Clock())
    assert not gate.known(header(GOOD))
    assert gate.tries("a", header(GOOD))
    assert gate.known(header(GOOD))
    assert not gate.known(header("something else"))
    assert not gate.known(None)


@pytest.mark.parametrize(
    "wrong",
    [
        header("something else"),
        header(GOOD, user="root"),
        header(GOOD, user=""),
        "Basic",
        "Basic ====",
        "Basic " + "A" * 5000,
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(GOOD.encode()).decode(),
        "Bearer " + header(GOOD)[6:],
        "Basic \udcff",
    ],
)
def test_everything_else_is_refused(made: password.Hash, wrong: str) -> None:
    gate = password.Gate(made, Clock())
    assert not gate.tries("a", wrong)
    assert not gate.known(wrong)


def test_who_fails_often_waits_and_others_do_not(made: password.Hash) -> None:
    clock = Clock()
    gate = password.Gate(made, clock)
    for _failure in range(password._FREE):
        assert not gate.tries("a", header("wrong wrong wrong"))
        assert gate.wait("a") == 0
    waits = []
    for _failure in range(9):
        assert not gate.tries("a", header("wrong wrong wrong"))
        waits.append(gate.wait("a"))
        # The right one is not even looked at before its time.
        assert not gate.tries("a", header(GOOD))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert gate.wait("b") == 0
    assert gate.tries("a", header(GOOD))
    assert gate.wait("a") == 0


def test_no_more_addresses_are_remembered_than_fit(made: password.Hash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "_ADDRESSES", 3)
    monkeypatch.setattr(password.Hash, "fits", lambda *_words: False)
    clock = Clock()
    gate = password.Gate(made, clock)
    for number in range(10):
        clock.now += 1
        gate.tries(str(number), header("wrong wrong wrong"))
    assert list(gate._failures) == ["7", "8", "9"]
    clock.now += password._FORGOTTEN
    gate.tries("later", header("wrong wrong wrong"))
    assert list(gate._failures) == ["later"]


def mpquic(*arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "mpquic", "page", *map(str, arguments)]
    return subprocess.run(line, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_writes_a_hash_once(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    planned = mpquic("password", "--secrets", folder, "--check", given=f"{GOOD}\n")
    assert (planned.returncode, folder.exists()) == (2, False)
    first = mpquic("password", "--secrets", folder, "--json", given=f"{GOOD}\n")
    assert (first.returncode, first.stdout) == (0, '{"changed": true}\n')
    path = folder / "password"
    assert [stat.S_IMODE(found.stat().st_mode) for found in (folder, path)] == [0o700, 0o600]
    before = path.read_text()
    assert mpquic("password", "--secrets", folder, "--json", given=GOOD).stdout == '{"changed": false}\n'
    assert path.read_text() == before
    assert mpquic("password", "--secrets", folder, given="short").returncode == 64
    assert mpquic("password", "--secrets", folder, given="another good one").returncode == 0
    assert not password.load(path).fits(GOOD)


def test_the_command_makes_a_certificate_once_for_each_address(tmp_path: Path) -> None:
    first = mpquic("certificate", "192.0.2.1", "--secrets", tmp_path)
    assert first.returncode == 0
    assert certificate.fingerprint(tmp_path) in first.stdout
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    before = (tmp_path / "cert.pem").read_bytes()
    assert "make a key" not in mpquic("certificate", "192.0.2.1", "--secrets", tmp_path).stdout
    assert (tmp_path / "cert.pem").read_bytes() == before
    assert "make a key" in mpquic("certificate", "2001:db8::1", "--secrets", tmp_path).stdout
    assert (tmp_path / "cert.pem").read_bytes() != before
    assert mpquic("certificate", "example.org", "--secrets", tmp_path).returncode == 64
