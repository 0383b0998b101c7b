# SPDX-License-Identifier: GPL-3.0-or-later
"""What the keeper understands: one request, and nothing that is only nearly one."""

from __future__ import annotations

import json
import os
import random
import re

import pytest
from mpquic.host.keeper import MAX_REQUEST, RefusedError, Request, parse

GOOD = {"command": "set-mtu", "name": "mpq1", "mtu": 1361}
#: More on demand: MPQUIC_FUZZ=1000000 pytest ...
INPUTS = int(os.environ.get("MPQUIC_FUZZ", "20000"))
SEED = 4


def line(**changes):
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not None}).encode()


def refusal(data):
    with pytest.raises(RefusedError) as caught:
        parse(data)
    return caught.value.answer


@pytest.mark.parametrize("mtu", [576, 1361, 9000])
@pytest.mark.parametrize("name", ["m", "mpq1", "a.b-c_D9", "x" * 15])
def test_a_request(name, mtu):
    assert parse(line(name=name, mtu=mtu)) == Request(name, mtu)


@pytest.mark.parametrize("mtu", [None, 575, 9001, 0, -1361, 10**200, 1361.0, True, "1361", [1361], {"mtu": 1361}])
def test_other_mtus(mtu):
    answer = refusal(line(mtu=mtu))
    assert (answer["error"], answer["where"], answer["expected"]) == ("bad-mtu", "mtu", "576 to 9000")


@pytest.mark.parametrize(
    "name", [None, "", ".", "..", "x" * 16, "a b", "a/b", "../mpq1", "mpq1\n", "mpq1\0", "m\u00fc", "%d", 1, ["mpq1"]]
)
def test_other_names(name):
    answer = refusal(line(name=name))
    assert (answer["error"], answer["where"]) == ("bad-name", "name")


@pytest.mark.parametrize("command", [None, "", "set_mtu", "SET-MTU", "set-mtu ", 1, ["set-mtu"], {}])
def test_other_commands(command):
    answer = refusal(line(command=command))
    assert answer == {
        "error": "unknown-command",
        "where": "command",
        "found": ascii(command),
        "expected": "set-mtu",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b"1361",
        b'"set-mtu"',
        b"[" * MAX_REQUEST,
        b'{"command":' * 20,
        line(up=True),
        line()[:-1],
        line() + b"}",
        line() + line(),
        b"\xef\xbb\xbf" + line(),
        line().decode().encode("utf-16"),
        line().replace(b"mpq1", "mpqü".encode()),
        b'{"command": "set-mtu", "name": "mpq1", "name": "mpq2", "mtu": 1361}',
    ],
)
def test_what_is_no_request_at_all(data):
    assert refusal(data)["error"] == "malformed"


def test_what_was_found_is_told_in_one_short_line():
    found = refusal(line(name="a\nb\u2028" + "c" * 150))["found"]
    assert found.startswith("'a\\nb\\u2028c")
    assert len(found) == 60


WORDS = [*(f'"{key}"'.encode() for key in GOOD), b'"set-mtu"', b'"mpq1"', b"1361", b"1e9", b"NaN", b"-0", b"null"]
PIECES = [
    *WORDS,
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\u00fc",
    b" ",
    b"\t",
    b"\xff",
    b"9" * 99,
]


def mutated(source):
    """A request that bytes were changed in, put into and taken from; or pieces of one in any order; or noise."""
    kind = source.random()
    if kind < 0.1:
        return source.randbytes(source.randrange(MAX_REQUEST))
    if kind < 0.3:
        return b"".join(source.choices(PIECES, k=source.randrange(30)))
    data = bytearray(line(mtu=source.choice([1361, 575, 9001, source.randrange(1 << 40), "x"])))
    for _ in range(source.randrange(4)):
        at = source.randrange(len(data))
        cut = source.randrange(5)
        data[at : at + cut] = source.choice([b"", source.randbytes(cut), source.choice(PIECES), bytes(data[at:])])
    return bytes(data)


def outcome(data):
    try:
        return parse(data)
    except RefusedError as error:
        return error


def test_any_bytes_are_a_request_or_a_refusal():
    source = random.Random(SEED)
    granted = 0
    for _ in range(INPUTS):
        data = mutated(source).replace(b"\n", b"")[:MAX_REQUEST]
        found = outcome(data)
        if isinstance(found, Request):
            granted += 1
            assert re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", found.name), data
            assert type(found.mtu) is int, data
            assert 576 <= found.mtu <= 9000, data
        else:
            assert set(found.answer) == {"error", "where", "found", "expected"}, data
            assert str(found).isascii(), data
            assert str(found).isprintable(), data
    assert INPUTS * 0.01 < granted < INPUTS * 0.5
