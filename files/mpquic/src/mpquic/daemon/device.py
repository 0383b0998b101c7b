# SPDX-License-Identifier: GPL-3.0-or-later
"""The TUN device of a tunnel: waited for while another holds it, found again after it was removed, and fitted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mpquic.core.types import IPV6_MIN_MTU
from mpquic.io.mtu import MtuSetter, get_mtu
from mpquic.io.tun import TunBusyError, TunDevice, TunError, adopt_tun, open_tun

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpquic.daemon.shell import Shell

_LOG = logging.getLogger("mpquic")

#: Seconds between looks for a TUN device that was removed or is in use.
TUN_RETRY = 0.5
#: Seconds between looks whether somebody has changed the MTU of the TUN.
REFIT = 1.0


class Device:
    """The device over time."""

    def __init__(self, shell: Shell, readable: Callable[[None], None]) -> None:
        """Serve ``shell``; ``readable`` is called when there is something to read."""
        self._shell = shell
        self._readable = readable
        #: The device while it is open.
        self.tun: TunDevice | None = None
        #: Why it is not, None while it is.
        self.fault: str | None = None
        #: What its MTU was last fitted to.
        self.fitted: int | None = None
        self._refit_at = 0.0
        self._setter = MtuSetter(shell.config.tun_name, shell.loop)
        self._stopped = False

    def start(self, inherited: int | None = None) -> None:
        """Open the device, or wait while another process holds it. Raises TunError on every other fault.

        ``inherited`` is its descriptor if another process of this instance has opened it.
        """
        if inherited is not None:
            self._use(
                adopt_tun(self._name, inherited, self._shell.tunnel.counters.drops, self._shell.plane.take_device)
            )
            return
        try:
            self._open()
        except TunBusyError as error:
            # Instances that swap their devices are restarted one after the other: the first finds its new one held.
            self.fault = str(error)
            _LOG.error('tun waiting name=%s reason="%s"', self._name, error)
            self._shell.loop.call_later(TUN_RETRY, self._find)

    def stop(self) -> None:
        """Close the device for good."""
        self._stopped = True
        self._close()

    def pause(self) -> None:
        """Leave what there is to read to another process of this instance."""
        if self.tun is not None:
            self._shell.loop.remove_reader(self.tun.fileno())

    def resume(self) -> None:
        """Read again."""
        if self.tun is not None:
            self._shell.loop.add_reader(self.tun.fileno(), self._readable, None)

    def retire(self) -> None:
        """Only write from now on, and let another process fit the device and find it again."""
        self._stopped = True
        self._setter.stop()

    def lose(self, reason: str) -> None:
        """Close a device that is gone, and look for one of its name."""
        self._close()
        self.fault = f"TUN device {self._name} is gone"
        _LOG.error('tun lost name=%s reason="%s"', self._name, reason)
        self._shell.loop.call_later(TUN_RETRY, self._find)

    def fit(self) -> None:
        """Give the device the MTU that the path carries. What exceeds it until then, the tunnel answers itself."""
        fits = self.fitted = self._shell.tunnel.mtu
        if fits is not None and self.tun is not None:
            config = self._shell.config
            # Below that, the kernel would take the IPv6 addresses and routes of the device away for good.
            six = config.tun_cidr6 is not None or config.tun_cidr.version == 6
            least = IPV6_MIN_MTU if six else 0
            self._setter.set(max(least, min(fits, config.tun_mtu)))

    def exceeded(self, now: float) -> None:
        """Note that the device let through what does not fit: somebody has changed its MTU."""
        if now >= self._refit_at:
            self.fitted = None
            self._refit_at = now + REFIT

    def mtu(self) -> int | None:
        """Return the MTU that the device has (bytes), None when there is no device."""
        try:
            return get_mtu(self._name)
        except OSError:
            return None

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return self._shell.config.tun_name

    def _open(self) -> None:
        self._use(open_tun(self._name, self._shell.tunnel.counters.drops, self._shell.plane.take_device))

    def _use(self, tun: TunDevice) -> None:
        self.tun = tun
        self._shell.tunnel.attach(tun.codec)
        self.fault = None
        self.fitted = None
        if self._shell.reading:
            self.resume()

    def _close(self) -> None:
        self._setter.stop()
        if self.tun is not None:
            self._shell.loop.remove_reader(self.tun.fileno())
            self.tun.close()
            self.tun = None

    def _find(self) -> None:
        if self._stopped:
            return
        try:
            self._open()
        except TunError as error:
            self.fault = str(error)
            self._shell.loop.call_later(TUN_RETRY, self._find)
        else:
            _LOG.info("tun attached name=%s", self._name)
