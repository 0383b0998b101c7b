# SPDX-License-Identifier: GPL-3.0-or-later
"""A second guard against leaks that ``nft flush ruleset`` leaves alone, for as long as this process lives.

The kernel gives a table with the flag ``owner`` to the netlink socket that made it: nobody else can change it, a flush
passes it by, and it goes with the socket (nft(8), TABLES; Linux 5.12). So the socket has to stay open, which the
command ``nft`` cannot do for us: this is libnftables(3), by which that command is made, called directly.
"""

from __future__ import annotations

import ctypes
from typing import Self

from mpquic.host.errors import HostError

NAME = "mpquic_hold"
_LIBRARY = "libnftables.so.1"
#: Chains of the table of the tunnels by this prefix only ever drop what would leak.
_GUARD = "guard"
_HEAD = f"table inet {NAME} {{\n\tflags owner\n"


class Hold:
    """The table; use as a context manager.

    Raises:
        HostError: there is no libnftables.

    """

    def __init__(self) -> None:
        """Open the socket; there is no table yet."""
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise HostError(f"{_LIBRARY}: {error}") from error
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_error(self._context)
        self._held = ""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket; the kernel takes the table away."""
        self._library.nft_ctx_free(self._context)

    def take(self, chains: dict[str, str]) -> None:
        """Hold the guards of these chains, which are as nft prints them, and no others.

        Raises:
            HostError: the kernel refuses, as one before 5.12 does.

        """
        body = "\n".join(f"\t{text}" for name, text in chains.items() if name.startswith(_GUARD))
        if body == self._held:
            return
        text = f"{_HEAD}}}\ndelete table inet {NAME}\n"
        if body:
            text += f"{_HEAD}{body}\n}}\n"
        if self._library.nft_run_cmd_from_buffer(self._context, ctypes.c_char_p(text.encode())):
            reason = self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
            raise HostError(f"table {NAME}: {(reason.strip().splitlines() or ['refused'])[0]}")
        self._held = body
