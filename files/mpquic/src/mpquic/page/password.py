# SPDX-License-Identifier: GPL-3.0-or-later
"""The password of the page: a salted hash in a file, compared in constant time, and not often for who fails."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.host.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USER = "mpquic"
"""The name that a browser asks for beside the password."""
SHORTEST, LONGEST = 12, 256
"""Characters of a password."""
#: scrypt (RFC 7914): 16 MB and some 50 ms for each try.
_COST, _BLOCK, _LANES = 1 << 14, 8, 1
_MEMORY = 64 << 20
_LINE = re.compile(r"scrypt:(\d{4,7}):(\d{1,2}):(\d):([0-9a-f]{32}):([0-9a-f]{64})\n?")
#: Failures of one address that cost it nothing, and seconds that it waits after one more, and at most.
_FREE, _WAIT, _LONGEST_WAIT = 5, 1.0, 60.0
#: Seconds after which a failure is forgotten, and addresses that are remembered.
_FORGOTTEN, _ADDRESSES = 600.0, 4096


@dataclass(frozen=True, slots=True)
class Hash:
    """A salted hash, and what it cost."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> Hash:
        """Return a new hash. Raises UsageError for a password that is too short or too long, or holds a line break."""
        if not SHORTEST <= len(password) <= LONGEST or not password.isprintable():
            raise UsageError(f"page: the password: expected {SHORTEST} to {LONGEST} printable characters")
        salt = secrets.token_bytes(16)
        return cls(_COST, _BLOCK, _LANES, salt, _scrypt(password, salt, _COST, _BLOCK, _LANES))

    def fits(self, password: str) -> bool:
        """Tell whether it is of this password."""
        found = _scrypt(password, self.salt, self.cost, self.block, self.lanes)
        return hmac.compare_digest(found, self.digest)

    def line(self) -> str:
        """Return it as the line of a file."""
        return f"scrypt:{self.cost}:{self.block}:{self.lanes}:{self.salt.hex()}:{self.digest.hex()}\n"


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=cost, r=block, p=lanes, maxmem=_MEMORY, dklen=32)


def load(path: Path, *, shared: bool = False) -> Hash:
    """Read the hash.

    ``shared`` takes a file that a group may read, as systemd gives credentials to a service.

    Raises:
        ConfigError: it cannot be read, is none, or others may read it.

    """
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(1024)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror} (mpquic page password)") from error
    if mode & (0o007 if shared else 0o077):
        raise ConfigError(f"{path}: found mode {mode:04o}, expected 0600")
    match = _LINE.fullmatch(text)
    if match is None:
        raise ConfigError(f"{path}: found no hash of a password (mpquic page password)")
    cost, block, lanes = (int(match[number]) for number in (1, 2, 3))
    if cost & (cost - 1) or not block or not lanes or 128 * cost * block * lanes > _MEMORY // 2:
        raise ConfigError(f"{path}: found costs that cannot be paid (mpquic page password)")
    return Hash(cost, block, lanes, bytes.fromhex(match[4]), bytes.fromhex(match[5]))


class Gate:
    """Lets those in who know the password. Safe for threads."""

    def __init__(self, expected: Hash, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nobody inside."""
        self._expected = expected
        self._clock = clock
        self._key = secrets.token_bytes(32)
        #: What was right once is not hashed slowly again.
        self._known = b""
        self._lock = threading.Lock()
        #: One at a time: each needs memory, and whoever fails all the time gets no more than one core's time.
        self._slow = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}

    def wait(self, address: str) -> float:
        """Return for how many seconds an address is to wait before its next try."""
        with self._lock:
            count, last = self._failures.get(address, (0, 0.0))
        if count <= _FREE:
            return 0.0
        pause = min(_LONGEST_WAIT, _WAIT * 2.0 ** min(count - _FREE - 1, 16))
        return max(0.0, last + pause - self._clock())

    def known(self, header: str | None) -> bool:
        """Tell whether an Authorization header (RFC 7617) is the one that was right before; costs next to nothing."""
        with self._lock:
            known = self._known
        return header is not None and bool(known) and hmac.compare_digest(self._short(header), known)

    def tries(self, address: str, header: str) -> bool:
        """Tell whether a header is right; remember it if not. Ask `wait` before."""
        found = _credentials(header)
        with self._slow:
            if self.wait(address):
                return False
            user, password = found if found is not None else ("", "")
            right = self._expected.fits(password[: LONGEST + 1]) & hmac.compare_digest(user.encode(), USER.encode())
            with self._lock:
                if right:
                    self._known = self._short(header)
                    self._failures.pop(address, None)
                else:
                    self._fail(address)
        return right

    def _fail(self, address: str) -> None:
        now = self._clock()
        self._failures = {who: old for who, old in self._failures.items() if now - old[1] < _FORGOTTEN}
        if address not in self._failures and len(self._failures) >= _ADDRESSES:
            del self._failures[min(self._failures, key=lambda who: self._failures[who][1])]
        self._failures[address] = (self._failures.get(address, (0, 0.0))[0] + 1, now)

    def _short(self, header: str) -> bytes:
        return hashlib.blake2b(header.encode("utf-8", "surrogatepass"), key=self._key).digest()


def _credentials(header: str) -> tuple[str, str] | None:
    """Return name and password of a header, None of one that is not as it should be."""
    scheme, _blank, coded = header.partition(" ")
    if scheme.lower() != "basic" or len(coded) > 4 * LONGEST * 2:
        return None
    try:
        user, colon, password = base64.b64decode(coded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return (user, password) if colon else None
