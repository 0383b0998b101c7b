# SPDX-License-Identifier: GPL-3.0-or-later
"""A client whose instance changes hands: the heir makes connections of its own, beside those of the giver."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mpquic.daemon.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpquic.core.client import ClientTunnel
    from mpquic.core.multipath.client import MultipathClient
    from mpquic.core.strays import Strays
    from mpquic.daemon.lines import Lines

#: Seconds in which what waits is sent, while the server still takes it: it closes a connection one second after
#: another one took its place.
DRAIN = 0.5
#: Seconds after which a giver goes, whatever is still on its way.
LEAVE = 6.0


class ClientSuccession(Shell):
    """What clients of one path and of several have in common."""

    tunnel: ClientTunnel | MultipathClient
    lines: Lines
    _parted = False

    def start(self, tun: int | None = None) -> None:
        """Open the TUN and begin; see Shell."""
        self.lines.start()
        super().start(tun)

    def stop(self) -> None:
        """Say goodbye and close everything."""
        self.lines.stop()
        super().stop()

    def obstacle(self) -> str | None:
        """See Succession. A server without registrations cannot tell two connections of a client apart."""
        if self.config.legacy_server:
            return "a legacy_server knows one connection at a time"
        return super().obstacle()

    def lend(self) -> tuple[int, ...]:
        """Return the TUN's descriptor; this process carries all packets until the heir is connected.

        It makes no connection of its own any more: the newest is the tunnel, and that is to be the heir's.
        """
        assert self._device.tun is not None
        self.tunnel.hold(self.loop.time())
        self.tick()
        return (self._device.tun.fileno(),)

    def take_back(self) -> None:
        """Read the TUN again, and connect as usual."""
        super().take_back()
        self.tunnel.go_on()
        self.tick()

    def retire(self) -> None:
        """Send what waits, then only take what is on its way."""
        self.retired = True
        self._retired_until = self.loop.time() + LEAVE
        self._device.retire()
        self.loop.call_later(DRAIN, self._part)

    def idle(self) -> bool:
        """Tell whether every connection has ended."""
        return (self._parted and self.tunnel.over) or self.loop.time() >= self._retired_until

    def inherit(self, tun: int, sockets: Sequence[int], strays: Strays) -> None:
        """Begin with the TUN, of which nothing is read before the tunnel is up."""
        del strays
        for fd in sockets:
            os.close(fd)
        self.reading = False
        self.start(tun)

    def ready(self) -> bool:
        """Tell whether the tunnel is up."""
        return self.tunnel.state == "up"

    def _part(self) -> None:
        self._parted = True
        self.lines.stop()
        self.tunnel.close(self.loop.time(), linger=True)
        self.tick()
