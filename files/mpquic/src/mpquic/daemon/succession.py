# SPDX-License-Identifier: GPL-3.0-or-later
"""What a shell does when its instance changes hands (mpquic.daemon.handover): as the giver, and as the heir."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from mpquic.core.port import Tunnel
    from mpquic.core.strays import Strays
    from mpquic.core.types import Arrival
    from mpquic.daemon.device import Device


class Succession(ABC):
    """The part of a shell that has to do with another process of its instance.

    Both have the TUN open; each packet is read by one of them. What a client has received is the giver's until its
    connections end, so it writes to the TUN, too.
    """

    loop: asyncio.AbstractEventLoop
    tunnel: Tunnel
    _device: Device

    def __init__(self) -> None:
        """Begin as the only process."""
        #: Packets and, at a server, datagrams are this process's to read.
        self.reading = True
        #: Another process is the instance now; and until when this one is there at most (seconds).
        self.retired = False
        self._retired_until = math.inf
        #: Hands over what is in the strays.
        self.forward: Callable[[], None] = _nothing

    # --- the giver --------------------------------------------------------------------------------------------------

    def obstacle(self) -> str | None:
        """Return why only a restart puts another process in the place of this one, None when nothing speaks for it."""
        return "the TUN device is not open" if self._device.tun is None else None

    @abstractmethod
    def lend(self) -> tuple[int, ...]:
        """Return the descriptors for the heir, the TUN's first; from now on it reads what it must read alone."""

    def leave_reading(self) -> None:
        """Read nothing from the TUN any more: the heir does."""
        self.reading = False
        self._device.pause()

    def take_back(self) -> None:
        """Be the only process again: there is no heir."""
        self.reading = True
        self._device.resume()

    @abstractmethod
    def retire(self) -> None:
        """Begin to end, without a word to the service manager: the heir is the instance."""

    @abstractmethod
    def idle(self) -> bool:
        """Tell whether nothing belongs to this process any more, or for too long."""

    def take_strays(self, datagrams: Sequence[Arrival], reads: Sequence[bytes]) -> None:
        """Take what the heir has read for connections of this process."""
        del datagrams, reads

    # --- the heir ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def inherit(self, tun: int, sockets: Sequence[int], strays: Strays) -> None:
        """Begin with what the giver lent. What belongs to its connections is put into ``strays``."""

    def ready(self) -> bool:
        """Tell whether packets can be carried."""
        return True

    def read_packets(self) -> None:
        """Read the TUN from now on."""
        self.reading = True
        self._device.resume()

    def alone(self) -> None:
        """Note that the giver is gone: what belongs to no connection here belongs to nobody."""
        self.forward = _nothing


def _nothing() -> None:
    """Do nothing: there is no other process."""
