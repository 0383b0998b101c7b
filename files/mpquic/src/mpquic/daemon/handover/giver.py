# SPDX-License-Identifier: GPL-3.0-or-later
"""The running process of an instance, when it is told to hand over: starts its heir, and goes when that has taken over.

Until then nothing has changed: an heir that fails, whatever it does, leaves the giver as it was.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from mpquic import __version__
from mpquic.daemon.handover import messages
from mpquic.daemon.handover.fixed import environment, fixed
from mpquic.daemon.handover.messages import MessageError, Offer
from mpquic.daemon.handover.spawn import end, spawn
from mpquic.io.channel import Channel, ChannelError, close_all, pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mpquic.daemon.shell import Shell
    from mpquic.io.sdnotify import Notifier

_LOG = logging.getLogger("mpquic")

#: Seconds for an heir to load and test itself, and then to take over.
LOAD = 20.0
TAKE = 12.0
#: What is heard when the heir has hung up, and what is said of it.
_HUNG_UP = 0
_GONE = "the heir has ended, see the log"
#: Seconds between looks whether a giver may go.
_LOOK = 0.05


class _FailedError(Exception):
    """There is no heir; ``restart`` if a restart would do."""

    def __init__(self, reason: str, *, restart: bool = False) -> None:
        super().__init__(reason)
        self.restart = restart


class Giver:
    """Hands over one instance, at most one attempt at a time."""

    def __init__(self, shell: Shell, config: Path, control: Path, notifier: Notifier, done: Callable[[], None]) -> None:
        """Hand over ``shell``, which runs the file ``config``; call ``done`` when this process is to end."""
        self._shell = shell
        self._config = config
        self._control = control
        self._notifier = notifier
        self._done = done
        self._task: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._state: dict[str, Any] = {"state": "none", "reason": ""}
        #: The heir is the instance now.
        self.over = False

    def begin(self) -> dict[str, Any]:
        """Begin, and return at once what progress() returns."""
        if self._task is None:
            self._state = {"state": "running", "reason": ""}
            self._task = self._shell.loop.create_task(self._run())
        return self.progress()

    def progress(self) -> dict[str, Any]:
        """Return what became of the last attempt: ``none``, ``running``, ``failed`` or ``restart`` with a reason."""
        return {"pid": os.getpid(), "version": __version__, **self._state}

    @property
    def unasked(self) -> bool:
        """Tell whether nobody has asked for a hand-over yet."""
        return bool(self._state["state"] == "none")

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._hand_over()
        except _FailedError as error:
            self._state = {"state": "restart" if error.restart else "failed", "reason": str(error)}
            _LOG.error('not handed over reason="%s"', error)
        finally:
            self._task = None

    async def _hand_over(self) -> None:
        shell = self._shell
        obstacle = shell.obstacle()
        if obstacle is not None:
            raise _FailedError(obstacle, restart=True)
        try:
            env, other = environment(self._config)
        except OSError as error:
            raise _FailedError(f"{error.filename}: {error.strerror}") from error
        if other:
            raise _FailedError(f"only a restart takes over what the unit sets: {', '.join(other)}", restart=True)
        channel, theirs = pair()
        try:
            heir = spawn(self._config, self._control, theirs, env)
        except OSError as error:
            channel.close()
            raise _FailedError(f"the heir cannot be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        self._channel, self._heard = channel, asyncio.Queue()
        shell.loop.add_reader(channel.fileno(), self._listen)
        try:
            await self._agree(heir)
        except BaseException:
            self._hang_up()
            end(heir)
            raise
        await self._leave(heir)

    async def _agree(self, heir: int) -> None:
        """Give everything to the heir; return when it has taken over."""
        shell, channel = self._shell, self._channel
        assert channel is not None
        offer = Offer(__version__, fixed(shell.config), up=shell.tunnel.state == "up")
        try:
            channel.send(messages.OFFER, messages.pack(offer))
            await self._expect(messages.READY, LOAD)
            fds = shell.lend()
            try:
                channel.send(messages.GIVE, b"{}", fds)
                await self._expect(messages.TAKEN, TAKE)
                shell.leave_reading()
                self._notifier.send(f"MAINPID={heir}")
                channel.send(messages.GO, b"")
            except BaseException:
                shell.take_back()
                self._notifier.send(f"MAINPID={os.getpid()}")
                raise
        except ChannelError as error:
            raise _FailedError(str(error)) from error

    async def _expect(self, kind: int, seconds: float) -> None:
        """Wait for a message of this kind."""
        try:
            async with asyncio.timeout(seconds):
                found, body = await self._heard.get()
        except TimeoutError:
            raise _FailedError(f"the heir was not ready within {seconds:.0f} s") from None
        if found == messages.REFUSE:
            try:
                refusal = messages.unpack_refuse(body)
            except MessageError as error:
                raise _FailedError(f"the heir said what is no message: {error}") from error
            raise _FailedError(refusal.reason, restart=refusal.restart)
        if found != kind:
            raise _FailedError(_GONE if found == _HUNG_UP else f"the heir said {found}, expected {kind}")

    def _listen(self) -> None:
        """Take what the heir says: what belongs to connections of this process at once."""
        channel = self._channel
        if channel is None:
            return
        datagrams, reads = [], []
        try:
            for kind, body, fds in channel.receive():
                close_all(fds)
                if kind == messages.DATAGRAM:
                    datagrams.append(messages.unpack_datagram(body))
                elif kind == messages.PACKET:
                    reads.append(body)
                else:
                    self._heard.put_nowait((kind, body))
        except (ChannelError, MessageError):
            self._hang_up()
            self._heard.put_nowait((_HUNG_UP, b""))
        if datagrams or reads:
            self._shell.take_strays(datagrams, reads)

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._shell.loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None

    async def _leave(self, heir: int) -> None:
        """Serve what still belongs to this process, then end."""
        self.over = True
        _LOG.info("handing over pid=%d", heir)
        self._shell.retire()
        # Without an heir, the service manager is to see soon that nobody is there.
        while not self._shell.idle() and self._channel is not None:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_LOOK)
        _LOG.info("handed over pid=%d", heir)
        self._done()
