# SPDX-License-Identifier: GPL-3.0-or-later
"""A new process of an instance that is running: takes it over from the process that started it."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from mpquic import __version__
from mpquic.core.strays import Strays
from mpquic.daemon.handover import messages
from mpquic.daemon.handover.fixed import differing
from mpquic.daemon.handover.messages import MessageError, Refuse
from mpquic.io.channel import Channel, ChannelError, close_all

if TYPE_CHECKING:
    from mpquic.daemon.shell import Shell

#: Seconds for the giver to answer.
ANSWER = 10.0
#: Seconds for a client to come up, and between looks.
CONNECT = 10.0
_LOOK = 0.005


class HeirError(Exception):
    """The instance was not taken over; the text says why."""


class Heir:
    """The end of a hand-over that takes."""

    def __init__(self, fd: int, shell: Shell) -> None:
        """Take over what ``shell`` is to run by the channel ``fd``. Raises HeirError when that is none."""
        try:
            self._channel: Channel | None = Channel(socket.socket(fileno=fd))
        except (OSError, ValueError) as error:
            raise HeirError(f"--heir {fd}: expected what a running instance gives its heir: {error}") from error
        self._shell = shell
        self._strays = Strays()

    async def take_over(self) -> None:
        """Return when the instance is this process's. Raises HeirError; then the giver still has it."""
        channel, shell = self._channel, self._shell
        assert channel is not None
        try:
            offer = messages.unpack_offer((await self._hear(messages.OFFER))[0])
            refusal = self._objection(offer)
            if refusal is not None:
                self._refuse(refusal)
            channel.send(messages.READY, b"")
            _body, fds = await self._hear(messages.GIVE)
            if not fds:
                raise HeirError("GIVE: found no descriptor, expected that of the TUN")
            shell.forward = self._forward
            shell.inherit(fds[0], fds[1:], self._strays)
            if offer.up and not await self._connected():
                self._refuse(Refuse(f"the heir does not come up: {shell.tunnel.reason}"))
            shell.read_packets()
            channel.send(messages.TAKEN, b"")
            await self._hear(messages.GO)
        except (ChannelError, MessageError) as error:
            raise HeirError(str(error)) from error
        shell.loop.add_reader(channel.fileno(), self._listen)

    def progress(self) -> dict[str, Any]:
        """Return how far it is: ``settling`` while the giver is there, then ``done``."""
        state = "done" if self._channel is None else "settling"
        return {"pid": os.getpid(), "version": __version__, "state": state, "reason": ""}

    # --- inside -----------------------------------------------------------------------------------------------------

    def _objection(self, offer: messages.Offer) -> Refuse | None:
        if offer.protocol != messages.PROTOCOL:
            return Refuse(f"the running release hands over by protocol {offer.protocol}, not 1", restart=True)
        other = differing(offer.fixed, self._shell.config)
        if other:
            return Refuse(f"only a restart takes over {', '.join(other)}", restart=True)
        return None

    def _refuse(self, refusal: Refuse) -> None:
        assert self._channel is not None
        self._channel.send(messages.REFUSE, messages.pack(refusal))
        raise HeirError(refusal.reason)

    async def _connected(self) -> bool:
        """Wait until packets can be carried. A server can always."""
        shell = self._shell
        until = shell.loop.time() + CONNECT
        while not shell.ready() and shell.loop.time() < until:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(_LOOK)
        return shell.ready()

    async def _hear(self, kind: int) -> tuple[bytes, list[int]]:
        """Wait for a message of this kind."""
        channel, loop = self._channel, self._shell.loop
        assert channel is not None
        arrived = asyncio.Event()
        loop.add_reader(channel.fileno(), arrived.set)
        try:
            async with asyncio.timeout(ANSWER):
                while True:
                    await arrived.wait()
                    arrived.clear()
                    for found, body, fds in channel.receive():
                        # The giver says one thing at a time.
                        if found == kind:
                            return body, fds
                        close_all(fds)
                        raise HeirError(f"the running instance said {found}, expected {kind}")
        except TimeoutError:
            raise HeirError(f"the running instance did not answer within {ANSWER:.0f} s") from None
        finally:
            loop.remove_reader(channel.fileno())

    def _forward(self) -> None:
        """Send the giver what belongs to its connections."""
        strays, channel = self._strays, self._channel
        if channel is None:
            return
        for arrival in strays.arrivals:
            channel.offer(messages.DATAGRAM, messages.pack_datagram(arrival))
        for read in strays.reads:
            channel.offer(messages.PACKET, read)
        strays.arrivals.clear()
        strays.reads.clear()

    def _listen(self) -> None:
        """Notice that the giver is gone."""
        assert self._channel is not None
        try:
            for _kind, _body, fds in self._channel.receive():
                close_all(fds)
        except ChannelError:
            self._shell.loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
            self._shell.alone()
