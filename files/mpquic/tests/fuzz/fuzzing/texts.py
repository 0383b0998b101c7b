# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts: instance files, requests on the control socket, requests to the keeper."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mpquic.config import ConfigError, needs_restart
from mpquic.config.loader import parse
from mpquic.host import keeper
from mpquic.io.control import MAX_REQUEST, ControlServer
from mpquic.quic.selftest import _self_signed

from fuzzing.decoder import Decoder

if TYPE_CHECKING:
    from random import Random

    from fuzzing.decoder import Input
    from fuzzing.mutation import Mutator

#: In the samples, the folder with the key and certificate files.
_FOLDER = b"/FOLDER"
#: Characters of one line of a message.
_LONGEST_LINE = 1000

_DIGIT = re.compile(rb"[0-9]")

_KEYS = (
    "role bind_ip remote_addr remote_port tun_name tun_cidr tun_mtu log_level congestion_algorithm rate tls_cert_file "
    "tls_key_file tls_ca_file tls_server_name tls_server_pin legacy_server peers legacy_peers lan_routing name pins "
    "cert_names allowed budget_rate budget_packets address from interface cidrs table priority transport_mode "
    "multipath_enabled multipath_policy multipath_paths weight connections rate_down pipes dataplane "
    "dataplane_config_file default_class classes scheduler_policy preferred_paths excluded_paths duplicate "
    "duplicate_copies spray classifiers class protocol src_cidrs dst_cidrs src_ports dst_ports dscp telemetry_interval "
    "control_api_auth_token"
)
_VALUES = (
    "client server null ~ true no .inf -.nan 0x10 0o17 1e999 1_000 12345678901234567890 -1 0 65536 2001-02-30 12:30:45 "
    "10.200.4.1/32 0.0.0.0/0 ::/0 fd00::1/64 fe80::1%eth0 10.200.4.1/30 if:enp7s6 sha256: 20mbit 1.5gbit mpq4 "
    "203.0.113.10 vpn.example.net /etc/passwd"
)
_YAML = (
    ": ", "- ", "  ", "\n", "\n- ", "\n  ", "[", "]", "{", "}", ", ", "? ", "| ", "> ", "|+\n", "# ", "'", '"', "\\",
    "&a ", "*a", "*b", "<<: *a", "<<: [*a, *a]", "! ", "!!python/object:os.system ", "!!binary ", "!!set ", "!!float ",
    "!<tag:yaml.org,2002:timestamp> ", "%YAML 1.2\n---\n", "%TAG ! x\n", "---\n", "...\n", "\t", "\r\n", "\u2028", "\0",
    "\x85", "\ufeff", "\U0001f6f0", '"\\ud800"', '"\\x00"', '"\\L"', "[[[[[[[[", "{{{{", "a: &a [*a]",
)  # fmt: skip


class Config(Decoder):
    """The content of an instance file."""

    name = "config"
    quick = 200
    tokens = (*[f"{key}: ".encode() for key in _KEYS.split()], *map(str.encode, (*_VALUES.split(), *_YAML)))

    def __init__(self, rng: Random) -> None:
        """Write the files that the samples name."""
        super().__init__(rng)
        self._temporary = tempfile.TemporaryDirectory(prefix="mpquic-fuzz-")
        self._folder = Path(self._temporary.name)
        key, certificate = _self_signed()
        (self._folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / "key.pem").write_bytes(pem)
        (self._folder / "key.pem").chmod(0o600)
        (self._folder / "dataplane.yaml").write_text("classes: {bulk: {spray: true}}\n")
        self._secret = pem.split(b"\n")[1].decode()
        self._path = self._folder / "4.yaml"

    def prepare(self, sample: Input) -> Input:
        """Name the folder."""
        return tuple(item.replace(_FOLDER, str(self._folder).encode()) for item in sample)

    def generate(self, mutator: Mutator) -> Input:
        """Return a text, half of the time one that is still made of keys and values."""
        return mutator.next() if self.rng.random() < 0.5 else (self._edited(mutator),)

    def _edited(self, mutator: Mutator) -> bytes:
        """Return a sample with lines that are gone, moved, repeated or have another value."""
        rng = self.rng
        lines = mutator.pick()[0].splitlines()
        for _ in range(rng.choice((1, 1, 2, 4))):
            at, kind = rng.randrange(len(lines)), rng.randrange(6)
            other = rng.choice(mutator.pick()[0].splitlines())
            if kind == 0 and len(lines) > 1:
                del lines[at]
            elif kind == 1:
                lines.insert(at, other)
            elif kind == 2:
                lines[at] = lines[at].partition(b":")[0] + b": " + rng.choice(self.tokens)
            elif kind == 3:
                lines[at] = lines[at].partition(b":")[0] + b":" + other.partition(b":")[2]
            elif kind == 4:
                lines[at] = _DIGIT.sub(lambda _found: b"%d" % rng.randrange(10), lines[at], count=rng.randrange(3))
            else:
                lines[at] = mutator.mutate(lines[at]).replace(b"\n", b"")
        return b"\n".join(lines)

    def feed(self, items: Input) -> bool:
        """Load, and look at what is said about it."""
        config = None
        try:
            config, lines = parse(items[0], self._path)
        except ConfigError as error:
            lines = error.messages
        self._check(lines)
        if config is None:
            assert lines, "refused without a word"
            return False
        assert needs_restart(config, config) == []
        return True

    def close(self) -> None:
        """Remove the files."""
        self._temporary.cleanup()

    def _check(self, lines: list[str]) -> None:
        for line in lines:
            # Its own name, or that of the file beside it.
            assert line.startswith(f"{self._path}: ") or re.match(r"/.*: ", line), line
            assert line.isprintable(), repr(line)
            assert len(line) <= _LONGEST_LINE, line
            assert self._secret not in line


_JSON = (
    '"', "{", "}", "[", "]", ":", ",", "\\", "\\u0000", "\\ud800", "\n", " ", "0", "-0", "1e999", "-1e-999", "NaN",
    "Infinity", "-Infinity", "null", "true", "false", "9" * 30, "0x1", "[" * 100, '{"a":' * 50, "\u20ac", "\0",
    "\ufeff", '"command"', '"command":', '"status"', '"name"', '"mtu"', '"set-mtu"', '"mpq1"', "1361", "576", "9000",
    "9001",
)  # fmt: skip


class _Json(Decoder):
    """A line of JSON."""

    tokens = tuple(token.encode() for token in _JSON)
    #: A request that is granted, and what may stand in its place.
    right: ClassVar[dict[str, object]]
    words: ClassVar[tuple[object, ...]]

    def generate(self, mutator: Mutator) -> Input:
        """Return a line, half of the time an object of known words, with a small mistake now and then."""
        rng = self.rng
        if rng.random() < 0.5:
            return mutator.next()
        found = dict(self.right)
        for key in self.right:
            if rng.random() < 0.2:
                found[key] = rng.choice(self.words)
            if rng.random() < 0.03:
                found[str(rng.choice(self.words))] = found.pop(key)
        line = json.dumps(found).encode()
        return (line if rng.random() < 0.8 else mutator.mutate(line),)


class ControlSocket(_Json):
    """A line of a request to the daemon."""

    name = "control-socket"
    right: ClassVar = {"command": "status"}
    words = ("status", "stop", "", None, 5, 1.5, ["status"], {"command": "status"}, "\0", "\u20ac")
    quick = 15_000
    longest = MAX_REQUEST

    def __init__(self, rng: Random) -> None:
        """Offer what the daemon offers."""
        super().__init__(rng)
        self._server = ControlServer(Path("/nowhere"), {"status": lambda: {"id": "4", "drops": {}}})

    def feed(self, items: Input) -> bool:
        """Answer, as one line of JSON."""
        answer = self._server._answer(items[0], root=False)
        assert b"\n" not in json.dumps(answer).encode()
        assert answer in ({"id": "4", "drops": {}}, {"error": "request is not JSON"}) or (
            answer == {"error": "expected a command: status"}
        )
        return "error" not in answer


class Keeper(_Json):
    """A line of a request to the keeper."""

    name = "keeper"
    quick = 10_000
    right: ClassVar = {"command": "set-mtu", "name": "mpq1", "mtu": 1361}
    words = ("set-mtu", "mpq2", "eth0", "..", "a/b", "", 1361, 576, 9000, 9001, -1, True, 1361.0, None, [1])
    longest = keeper.MAX_REQUEST + 1

    def feed(self, items: Input) -> bool:
        """Parse, and look at what is granted or refused."""
        try:
            request = keeper.parse(items[0])
        except keeper.RefusedError as error:
            self._check(error.answer)
            return False
        low, high = keeper.MTU_RANGE
        assert low <= request.mtu <= high
        assert type(request.mtu) is int
        assert 1 <= len(request.name) <= 15
        assert request.name.isascii()
        assert request.name.isprintable()
        assert not set(request.name) & set("/ :%")
        assert request.name not in {".", ".."}
        return True

    def _check(self, answer: dict[str, str]) -> None:
        assert set(answer) == {"error", "where", "found", "expected"}
        for text in answer.values():
            assert text.isascii()
            assert text.isprintable(), repr(text)
            assert len(text) <= 100, text
