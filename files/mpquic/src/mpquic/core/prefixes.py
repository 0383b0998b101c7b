# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns an address: longest prefix match over IPv4 and IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpquic.core.types import Network

_Owner = TypeVar("_Owner")

#: Answers that are remembered. Whoever walks through addresses only empties this.
_REMEMBERED = 4096


class PrefixTable(Generic[_Owner]):
    """Maps prefixes to their owners. It never changes: a new configuration makes a new table."""

    def __init__(self, entries: Iterable[tuple[Network, _Owner]]) -> None:
        """Take the prefixes. Raises ValueError when two are the same."""
        tables: dict[tuple[int, int], dict[int, _Owner]] = {}
        for prefix, owner in entries:
            size = prefix.max_prefixlen // 8
            table = tables.setdefault((size, prefix.max_prefixlen - prefix.prefixlen), {})
            number = int(prefix.network_address) >> prefix.max_prefixlen - prefix.prefixlen
            if number in table:
                raise ValueError(f"{prefix} has two owners")
            table[number] = owner
        #: For each address length (bytes), the host bits of a prefix length and its prefixes, longest prefixes first.
        self._tables: dict[int, list[tuple[int, dict[int, _Owner]]]] = {4: [], 16: []}
        for (size, shift), table in sorted(tables.items(), key=lambda item: item[0]):
            self._tables[size].append((shift, table))
        self._remembered: dict[bytes, _Owner | None] = {}

    def owner(self, address: bytes) -> _Owner | None:
        """Return the owner of the longest prefix that holds an address of 4 or 16 bytes, None without one."""
        try:
            return self._remembered[address]
        except KeyError:
            pass
        found = self._search(address)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[address] = found
        return found

    def _search(self, address: bytes) -> _Owner | None:
        number = int.from_bytes(address, "big")
        for shift, table in self._tables.get(len(address), ()):
            owner = table.get(number >> shift)
            if owner is not None:
                return owner
        return None
