# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever bytes a file holds, the answer is a configuration or its faults, soon and in little memory."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from mpquic.config import ConfigError, document, parse

PATH = Path("/etc/mpquic/instances/4.yaml")
#: Seconds of processor time and bytes of memory for all bombs together; they take 3 s and 160 MB.
CPU, MEMORY = 30, 1 << 30

SERVER = b"""\
role: server
bind_ip: 0.0.0.0
remote_port: 45004
tun_name: mpq4
tun_cidr: 10.200.4.2/30
rate: 20mbit
tls_cert_file: /nowhere/cert.pem
tls_key_file: /nowhere/key.pem
tls_ca_file: /nowhere/ca.pem
peers:
  - &one {name: client1, pins: ["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
     allowed: [10.200.4.1/32, "fd00::1/128"], budget_rate: 5mbit, budget_packets: 1}
  - {<<: *one, name: client2, cert_names: [a.example], allowed: [172.16.4.0/30]}
legacy_peers:
  - {name: old, address: 10.200.4.9, from: [198.51.100.0/24], allowed: []}
lan_routing: {cidrs: [172.16.4.0/30], table: 45004, priority: 504}
"""
TOKENS = [
    *(
        b"0x" + b"f" * 40,
        b"1:2:3",
        b"-.inf",
        b".nan",
        b"1e999",
        b"2024-13-01",
        b"2024-01-01 1:1:1 +99:99",
        b"~",
        b"=",
        b"!!x",
    ),
    *(
        b"&one",
        b"*one",
        b"<<",
        b"? ",
        b"- ",
        b": ",
        b", ",
        b"[",
        b"]",
        b"{",
        b"}",
        b"\n",
        b"\n  ",
        b"'",
        b'"',
        b"|",
        b"%",
        b"#",
    ),
    *(
        b"\\0",
        b"\\ud800",
        b"\x00",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\xf0\x9f\x92\xa9",
        b"---\n",
        b"true",
        b"peers",
        b"name",
        b"/0",
    ),
]


def faults(raw: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(raw, PATH)
    for line in caught.value.messages:
        assert line.startswith(f"{PATH}: ")
        # One line that any terminal and log can take.
        assert line.isprintable()
        assert len(line) < 1000
    return [line.removeprefix(f"{PATH}: ") for line in caught.value.messages]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"role: \x00", "not valid YAML (unacceptable character #x0000: special characters are not allowed)"),
        (b"role: \xff", "found bytes that are not UTF-8 at 6"),
        (b"\xff\xfer\x00", "found bytes that are not UTF-8 at 0"),
        (b'role: "\\ud800"', "line 1: found half a surrogate pair in '\\ud800', expected characters"),
        (b"a:\n  b: &x [1, *x]", "line 2: found the alias 'x' inside what it stands for, expected an end"),
        (b"a: *" + b"x" * 5000, "line 1: not valid YAML (found undefined alias 'xxxx"),
        (b"a: !!int ''", "line 1: found the tag 'tag:yaml.org,2002:int', expected plain values"),
        (b"a: !!binary aGk=", "line 1: found the tag 'tag:yaml.org,2002:binary', expected plain values"),
        (b"a: !!python/object/apply:os.system [x]", "line 1: found the tag 'tag:yaml.org,2002:python/object/apply:os"),
        (b"a: ! x", "line 1: found the tag '!', expected plain values"),
        (
            b"a: " + b"[" * 5000,
            "line 1: found more than 32 lists and mappings in each other, expected an instance file",
        ),
        (b"a: " + b"- " * 5000, "line 1: "),
        (b"a: " + b"x" * 4097, "line 1: found a value of 4097 characters, expected at most 4096"),
        (b"a: " + b"1:" * 2000 + b"1.0", "not valid YAML (int too large to convert to float)"),
        (b"a: 2024-02-31", "not valid YAML (day is out of range for month)"),
        (b"role: client\n'a\\b\x7f\x7f': 1\n" * 2, "not valid YAML"),
        (b'"a\\nb": 1\n"a\\nb": 2', "'a\\nb': found a second time in line 2, expected once"),
        (b"? [a]\n: b", "line 1: not valid YAML (found unhashable key)"),
        (b"null: 1\n1.5: 1", "nothing: found a key that is not text, expected a key name"),
        (b"--- {}\n--- {}", "line 2: not valid YAML (but found another document)"),
    ],
)
def test_documents(raw: bytes, expected: str) -> None:
    assert faults(raw)[0].startswith(expected)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"'a[b': 1", "'a[b': unknown key, expected one of role, "),
        (b"'': 1", "'': unknown key, expected one of role, "),
        (b'"a\\e[31m": 1', "'a\\x1b[31m': unknown key, expected one of role, "),
        (b"remote_port: 0x" + b"f" * 4000, "remote_port: found a number of 16000 bits, expected a UDP port"),
        (b"remote_port: " + b"9" * 4096, "remote_port: found a number of 13607 bits, expected a UDP port"),
        (b"role: [0x" + b"f" * 4000 + b"]", "role: found a list of 1, expected client or server"),
        (b"remote_port: .inf", "remote_port: found inf, expected a UDP port"),
        (b"tun_name: 2024-01-01", "tun_name: found 2024-01-01, expected an interface name"),
        (
            b"lan_routing: {1: 2, cidrs: [1, {}]}",
            "lan_routing.cidrs[1]: found a mapping of 0, expected a prefix such as",
        ),
        (b"lan_routing: {1: 2, cidrs: []}", "lan_routing.1: unknown key, expected one of interface, "),
        (b"peers: [{[1]: 2}]", ""),
        (b"peers: [{null: 2}]", "peers[0]: None: unknown key, expected one of name, "),
    ],
)
def test_values(raw: bytes, expected: str) -> None:
    found = faults(raw)
    assert [line for line in found if line.startswith(expected)], found


def test_many_faults_are_counted() -> None:
    found = faults(b"".join(b"key%d: 1\n" % number for number in range(3000)))
    assert found[100] == "found 2905 more faults"


@pytest.mark.parametrize("text", ["[" + "x," * 49_000 + "]", "[&a [x], " + "*a," * 24_000 + "]"])
def test_what_is_just_below_the_limit(text: str) -> None:
    assert faults(text.encode()) == ["found a list, expected a YAML mapping of instance keys"]


@pytest.mark.slow
def test_bombs() -> None:
    """In a process that is ended at the limits."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_hostile; test_hostile.bombs()"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit)
    assert (done.returncode, done.stderr) == (0, "")


def bombs() -> None:
    size = document.MAX_FILE_SIZE
    layers = list(zip("abcdefghij", "bcdefghijk", strict=True))
    lists = "".join(f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in layers)
    merges = "".join(f"{new}: &{new} {{<<: [{','.join(['*' + old] * 9)}]}}\n" for old, new in layers)
    for text in (
        f"a: &a [x, x, x, x, x, x, x, x, x]\n{lists}",
        f"a: &a {{x: 1}}\n{merges}",
        f"a: &a [x]\nrole: [{','.join(['*a'] * 200_000)}]",
        "[" + "a," * (size // 2 - 1) + "]",
        "[" * size,
        "- " * (size // 2),
        "? " * (size // 2),
        "a: " + "1:" * (size // 2 - 2),
        "a: 0x" + "f" * (size - 6),
        "'" + "a" * (size - 2) + "'",
        "{" + "a: [}," * (size // 6),
        "&" + "a" * (size - 1),
        "%" + "a" * (size - 1),
        "peers: [" + "{name: a, allowed: [10.0.0.0/8]}," * 3_000 + "]",
    ):
        raw = text.encode()
        assert len(raw) <= size
        assert faults(raw)


def test_mutations() -> None:
    seed = random.Random(4)
    for _ in range(1500):
        raw = SERVER
        for _ in range(seed.randint(1, 4)):
            at, cut = seed.randrange(len(raw) + 1), seed.choice([0, 0, 1, 2, seed.randrange(60)])
            new = seed.choice([b"", seed.choice(TOKENS), seed.randbytes(seed.randrange(4)), raw[at : at + 80] * 2])
            raw = raw[:at] + new + raw[at + cut :]
        # The files it names are not there.
        assert faults(raw)
