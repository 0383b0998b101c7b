# SPDX-License-Identifier: GPL-3.0-or-later
"""What a browser, or somebody who is none, sends to the status page."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any, cast

from mpquic.page.password import Gate, Hash, _scrypt
from mpquic.page.serve import _Handler

from fuzzing.decoder import Decoder

if TYPE_CHECKING:
    from random import Random

    from fuzzing.decoder import Input

_PASSWORD = "correct horse battery"
_LOGIN = base64.b64encode(f"mpquic:{_PASSWORD}".encode())
_SHOWN = b"this is for who has logged in"
_STATUS = re.compile(rb"HTTP/1\.1 (200|400|401|404|405|408|411|414|417|429|431|505) [A-Za-z -]+\r\n")


class _Socket:
    """One connection, whose bytes are all there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = bytearray()

    def makefile(self, *_ignored: object) -> io.BytesIO:
        return io.BytesIO(self._data)

    def sendall(self, data: bytes) -> None:
        self.answer += data

    def settimeout(self, _seconds: float) -> None:
        pass


class _Content:
    def get(self, path: str) -> tuple[str, bytes] | None:
        return ("text/plain", _SHOWN) if path in {"/", "/state"} else None


class PageRequests(Decoder):
    """All that comes by one connection: requests, one after the other."""

    name = "page-requests"
    quick = 3000
    # CPython remembers names that were looked up in types, a bounded number; here each method of a request is one.
    max_blocks = 1000
    tokens = (
        *(
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"BREW ",
            b" HTTP/1.1\r\n",
            b" HTTP/1.0\r\n",
            b" HTTP/0.9\r\n",
            b" HTTP/2.0\r\n",
        ),
        *(
            b"\r\n",
            b"\n",
            b"\r\n\r\n",
            b" ",
            b"\t",
            b"\0",
            b"\xff",
            b": ",
            b":",
            b"/",
            b"//",
            b"/state",
            b"/../",
            b"%2e",
        ),
        *(
            b"Authorization: Basic ",
            _LOGIN,
            b"Bearer ",
            b"=",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
        ),
        *(
            b"Expect: 100-continue\r\n",
            b"Connection: close\r\n",
            b"Connection: keep-alive\r\n",
            b"Accept-Encoding: gzip\r\n",
        ),
    )

    def __init__(self, rng: Random) -> None:
        """Know one password, whose hash costs little."""
        super().__init__(rng)
        self._now = 0.0
        expected = Hash(2, 1, 1, b"salt", _scrypt(_PASSWORD, b"salt", 2, 1, 1))
        self.content, self.gate = _Content(), Gate(expected, self._clock)

    def _clock(self) -> float:
        # Nobody waits long, and somebody sometimes.
        self._now += 0.7
        return self._now

    def feed(self, items: Input) -> bool:
        """Answer, and look at what is said to whom."""
        sock = _Socket(b"".join(items))
        _Handler(cast("Any", sock), ("192.0.2.1", 40000), cast("Any", self))
        answer = bytes(sock.answer)
        if not answer:
            return False
        assert _STATUS.match(answer) or answer.startswith(b"HTTP/1.1 100 "), answer[:200]
        assert answer.count(b"Content-Security-Policy: ") + answer.count(b"HTTP/1.1 100 ") == answer.count(b"HTTP/1.1 ")
        if _SHOWN in answer:
            assert b"Basic".lower() in b"".join(items).lower(), "shown without a login"
        return answer.startswith(b"HTTP/1.1 200")
