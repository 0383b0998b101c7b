# SPDX-License-Identifier: GPL-3.0-or-later
"""The control stream: capsules, the messages in them, and both ends of the registration."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from mpquic.core import messages
from mpquic.core.capsules import CapsuleReader, ProtocolError
from mpquic.core.connection import Identity
from mpquic.core.messages import Join, PolicyUpdate, Refused, Register, decode
from mpquic.core.multipath import policy_wire
from mpquic.core.registration import ClientJoin, ClientRegistration, ServerRegistration
from mpquic.core.roster import Member, RefusalError, Roster

from fuzzing.decoder import Decoder

if TYPE_CHECKING:
    from fuzzing.decoder import Input

#: The id of the registration in the samples.
ID = bytes(range(0xA0, 0xB0))
PREFIXES = tuple(map(ip_network, ["10.200.4.1/32", "172.16.4.0/30", "fd00:4::/64"]))
_IDENTITY = Identity("mpq/1", "sha256:" + 64 * "a")
_KEY = frozenset({str(_IDENTITY.pin)})
_OWN = tuple(map(ip_network, ["10.200.4.1/32", "fd6d:7071::1/128", "fd00:4::/64"]))
_LAN = tuple(map(ip_network, ["172.16.4.0/30"]))
#: Two tunnels of the key, which share a LAN, and one of another key.
_ROSTER = Roster(
    [
        Member("client4", _OWN, _KEY, shared=_LAN),
        Member("client4b", (ip_network("10.200.4.5/32"),), _KEY, shared=_LAN),
        Member("client5", (ip_network("10.200.5.1/32"),), frozenset({"sha256:" + 64 * "b"})),
    ]
)
#: Bytes of an answer: 64 prefixes, or a reason.
_LONGEST_ANSWER = 2048


#: What a server says it is.
_EPOCH = bytes(16)


class ControlStream(Decoder):
    """A whole stream at once, and in pieces."""

    name = "control-stream"
    quick = 3000

    def feed(self, items: Input) -> bool:
        """Read the stream as both ends would."""
        (stream,) = items
        good = self._capsules(stream)
        return self._server(stream) | self._client(stream) and good

    def settle(self) -> None:
        """Forget owners of addresses: how many are remembered is tested elsewhere."""
        _ROSTER.table._remembered.clear()

    def _capsules(self, stream: bytes) -> bool:
        try:
            whole = CapsuleReader().feed(stream)
        except ProtocolError:
            return False
        reader, step = CapsuleReader(), 1 + len(stream) % 17
        pieces = [found for at in range(0, len(stream), step) for found in reader.feed(stream[at : at + step])]
        assert pieces == whole, "another split, other capsules"
        good = True
        for kind, value in whole:
            try:
                message = decode(kind, value)
            except ProtocolError:
                good = False
                continue
            if message is not None:
                [again] = CapsuleReader().feed(message.encode())
                found = decode(*again)
                # A reason of invalid bytes gets longer when it is read, and is cut when it is written.
                if isinstance(message, Refused) and isinstance(found, Refused):
                    assert message.reason.startswith(found.reason)
                else:
                    assert found == message, "no message comes back as another"
        return good

    def _server(self, stream: bytes) -> bool:
        server = ServerRegistration()
        try:
            for wanted in server.receive(stream):
                if isinstance(wanted, Register | Join):
                    member = _ROSTER.claim(_IDENTITY, wanted.prefixes)
                    assert member.recognises(_IDENTITY)
                    self.notes[member.name] += 1
                    first = wanted.prefixes[0]
                    assert any(first.version == own.version and first.subnet_of(own) for own in member.allowed)  # type: ignore[arg-type]
                    self._answer(server.accept(member.prefixes, _EPOCH if isinstance(wanted, Join) else None))
                if isinstance(wanted, Join | PolicyUpdate):
                    policy = policy_wire.decode(wanted.policy)
                    self.notes[type(wanted).__name__] += 1
                    assert policy_wire.decode(policy_wire.encode(policy)) == policy
        except RefusalError as refusal:
            self._answer(server.refuse(refusal.code, refusal.reason))
        except ProtocolError as error:
            self._answer(server.refuse(messages.MALFORMED, str(error)))
        else:
            return True
        return False

    def _answer(self, answer: bytes) -> None:
        assert len(answer) <= _LONGEST_ANSWER
        for kind, value in CapsuleReader().feed(answer):
            assert decode(kind, value) is not None

    def _client(self, stream: bytes) -> bool:
        good = True
        for client in (ClientRegistration(ID, PREFIXES), ClientJoin(ID, PREFIXES, session=ID, path=1, policy=b"")):
            try:
                answer = client.receive(stream)
            except ProtocolError:
                good = False
            else:
                self.notes[type(answer).__name__] += answer is not None
        return good


class Joins(ControlStream):
    """What a client says whose connection is to be one path of several."""

    name = "join"
    quick = 2000
    states = ("Join", "PolicyUpdate")


class Joined(ControlStream):
    """What a server says to it."""

    name = "joined"
    quick = 2000
    states = ("Joined",)
