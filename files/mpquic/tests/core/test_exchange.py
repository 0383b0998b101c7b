# SPDX-License-Identifier: GPL-3.0-or-later
"""Both ends of the exchange on the control stream: every order of messages, versions, ids, and how much of it."""

from __future__ import annotations

import itertools
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import messages
from mpquic.core.capsules import ProtocolError, encode
from mpquic.core.messages import Confirm, Hello, Join, Joined, PolicyUpdate, Refused, Register, Registered
from mpquic.core.registration import (
    MAX_CONTROL,
    ClientJoin,
    ClientRegistration,
    ServerRegistration,
    VersionError,
    settle,
)

ID, OTHER = bytes(range(16)), bytes(range(16, 32))
SESSION, EPOCH = 16 * b"s", 16 * b"e"
PREFIXES = (ip_network("10.200.4.1/32"), ip_network("172.16.4.0/30"), ip_network("fd00:4::/64"))
HELLO, REGISTER, CONFIRM = Hello(1, 1), Register(ID, 0, PREFIXES), Confirm(ID)
REGISTERED, REFUSED = Registered(ID, PREFIXES), Refused(ID, messages.NOT_ALLOWED, "not yours")
GREASE = encode(0x17, b"whatever")


def test_the_exchange() -> None:
    client, server = ClientRegistration(ID, PREFIXES), ServerRegistration()
    assert server.prefixes == ()
    assert server.receive(client.opening()) == [REGISTER]
    assert server.prefixes == PREFIXES
    assert client.receive(server.accept(PREFIXES)) == REGISTERED
    assert server.receive(client.confirmation()) == [CONFIRM]
    assert not server.refused


def test_a_refusal() -> None:
    client, server = ClientRegistration(ID, PREFIXES), ServerRegistration()
    server.receive(client.opening())
    assert client.receive(server.refuse(messages.NOT_ALLOWED, "not yours")) == REFUSED
    assert server.refused


def test_a_refusal_of_what_was_no_registration_has_no_id() -> None:
    client, server = ClientRegistration(ID, PREFIXES), ServerRegistration()
    refusal = server.refuse(messages.MALFORMED, "what?")
    assert client.receive(refusal) == Refused(messages.NO_ID, messages.MALFORMED, "what?")


#: What a client may say, in this order and no other; the answers to "is that all right so far".
SAID = {"hello": HELLO, "register": REGISTER, "confirm": CONFIRM, "registered": REGISTERED, "refused": REFUSED}
ORDER = ("hello", "register", "confirm")


@pytest.mark.parametrize("together", [False, True])
def test_every_order_of_messages_at_the_server(*, together: bool) -> None:
    for length in range(1, 5):
        for names in itertools.product(SAID, repeat=length):
            server, wanted = ServerRegistration(), []
            said = [SAID[name].encode() + GREASE for name in names]
            right = names == ORDER[:length]
            try:
                for data in [b"".join(said)] if together else said:
                    wanted += server.receive(data)
            except ProtocolError:
                assert not right, names
                # Nothing is asked for twice, or out of order, on the way to an error.
                assert wanted == [REGISTER, CONFIRM][: len(wanted)]
            else:
                assert right, names
                assert wanted == [REGISTER, CONFIRM][: length - 1]


@pytest.mark.parametrize("together", [False, True])
def test_every_order_of_messages_at_the_client(*, together: bool) -> None:
    for length in range(1, 4):
        for names in itertools.product(SAID, repeat=length):
            client, answers = ClientRegistration(ID, PREFIXES), []
            said = [SAID[name].encode() + GREASE for name in names]
            right = names in {("hello",), ("hello", "registered"), ("hello", "refused")}
            try:
                answers = [client.receive(data) for data in ([b"".join(said)] if together else said)]
            except ProtocolError:
                assert not right, names
            else:
                assert right, names
                expected = {"hello": None, "registered": REGISTERED, "refused": REFUSED}[names[-1]]
                assert answers[-1] == expected
                assert answers[:-1] == [None] * (len(answers) - 1)


@given(st.lists(st.integers(0, 200), max_size=20))
def test_the_exchange_in_any_pieces(cuts: list[int]) -> None:
    client, server = ClientRegistration(ID, PREFIXES), ServerRegistration()
    stream = GREASE + client.opening() + GREASE + client.confirmation() + GREASE
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    wanted = [found for a, b in itertools.pairwise(at) for found in server.receive(stream[a:b])]
    assert wanted == [REGISTER, CONFIRM]


def test_a_registration_of_another_connection_is_no_use() -> None:
    """What was said on one connection, said again on another, has another id or comes at the wrong time."""
    server = ServerRegistration()
    server.receive(HELLO.encode() + Register(OTHER, 0, PREFIXES).encode())
    with pytest.raises(ProtocolError, match="CONFIRM: found another id"):
        server.receive(CONFIRM.encode())
    with pytest.raises(ProtocolError, match="found Confirm out of order"):
        ServerRegistration().receive(HELLO.encode() + CONFIRM.encode())
    for answer in (REGISTERED, REFUSED):
        client = ClientRegistration(OTHER, PREFIXES)
        with pytest.raises(ProtocolError, match="expected the answer to this registration"):
            client.receive(HELLO.encode() + answer.encode())


def test_twice_is_an_error() -> None:
    server = ServerRegistration()
    server.receive(HELLO.encode() + REGISTER.encode())
    for again in (HELLO, REGISTER):
        with pytest.raises(ProtocolError, match="control stream"):
            server.receive(again.encode())
    server = ServerRegistration()
    server.receive(HELLO.encode() + REGISTER.encode() + CONFIRM.encode())
    with pytest.raises(ProtocolError, match="found Confirm out of order"):
        server.receive(CONFIRM.encode())
    client = ClientRegistration(ID, PREFIXES)
    client.receive(HELLO.encode() + REGISTERED.encode())
    with pytest.raises(ProtocolError, match="found a message after the answer"):
        client.receive(REGISTERED.encode())


@pytest.mark.parametrize("first", ["10.200.4.0/30", "fd00::/127", "0.0.0.0/0"])
def test_the_first_prefix_is_a_single_address(first: str) -> None:
    wanted = Register(ID, 0, (ip_network(first), *PREFIXES))
    with pytest.raises(ProtocolError, match=f"first prefix: found {first}, expected a single address"):
        ServerRegistration().receive(HELLO.encode() + wanted.encode())
    single = Register(ID, 0, (ip_network("fd00::1/128"),))
    assert ServerRegistration().receive(HELLO.encode() + single.encode()) == [single]


@given(st.integers(0, 9), st.integers(0, 9))
def test_the_version_is_the_lower_of_both_maxima(minimum: int, maximum: int) -> None:
    lowest, highest = messages.VERSIONS
    common = set(range(minimum, maximum + 1)) & set(range(lowest, highest + 1))
    hello = Hello(minimum, maximum)
    if common:
        assert settle(hello) == max(common) == min(maximum, highest)
        assert ServerRegistration().receive(hello.encode()) == []
    else:
        with pytest.raises(VersionError, match=f"found versions {minimum} to {maximum}, expected one of"):
            settle(hello)
        for end in (ServerRegistration(), ClientRegistration(ID, PREFIXES)):
            with pytest.raises(VersionError):
                end.receive(hello.encode())


def test_another_version_is_told_from_a_fault() -> None:
    """A later version's messages need not look like ours: the version alone is judged."""
    later = Hello(messages.VERSIONS[1] + 1, messages.VERSIONS[1] + 2).encode()
    for rest in (encode(messages.REGISTER, b"anything"), encode(messages.CONFIRM, b""), later):
        with pytest.raises(VersionError):
            ServerRegistration().receive(later + rest)
        with pytest.raises(VersionError):
            ClientRegistration(ID, PREFIXES).receive(later + rest)


def test_a_path_joins_and_brings_policies() -> None:
    client, server = ClientJoin(ID, PREFIXES, session=SESSION, path=2, policy=b"policy"), ServerRegistration()
    [join] = server.receive(client.opening())
    assert join == server.join == Join(ID, SESSION, 2, PREFIXES, b"policy")
    assert server.prefixes == PREFIXES
    assert client.receive(server.accept(PREFIXES, EPOCH)) == Joined(ID, EPOCH, PREFIXES)
    assert server.receive(client.confirmation() + PolicyUpdate(b"other").encode()) == [CONFIRM, PolicyUpdate(b"other")]
    assert server.receive(PolicyUpdate(b"").encode()) == [PolicyUpdate(b"")]


def test_a_path_wants_another_answer_than_a_tunnel_by_itself() -> None:
    plain = Hello(*messages.VERSIONS).encode()
    for client, wrong in (
        (ClientJoin(ID, PREFIXES, session=SESSION, path=2, policy=b""), Registered(ID, PREFIXES)),
        (ClientRegistration(ID, PREFIXES), Joined(ID, EPOCH, PREFIXES)),
        (ClientJoin(ID, PREFIXES, session=SESSION, path=2, policy=b""), Joined(SESSION, EPOCH, PREFIXES)),
    ):
        with pytest.raises(ProtocolError, match="expected the answer to this registration"):
            client.receive(plain + wrong.encode())


def test_a_server_of_version_1_is_told_from_a_fault() -> None:
    client = ClientJoin(ID, PREFIXES, session=SESSION, path=1, policy=b"")
    with pytest.raises(VersionError, match="found versions 1 to 1, expected one of 2 to 2"):
        client.receive(Hello(1, 1).encode())


def test_a_control_stream_ends_somewhere() -> None:
    capsule = encode(0x17, bytes(MAX_CONTROL // 8 - 3))
    assert len(capsule) * 8 == MAX_CONTROL
    for end in (ServerRegistration(), ClientRegistration(ID, PREFIXES)):
        for _time in range(8):
            end.receive(capsule)
        with pytest.raises(ProtocolError, match=f"found more than {MAX_CONTROL} bytes"):
            end.receive(b"\0")
