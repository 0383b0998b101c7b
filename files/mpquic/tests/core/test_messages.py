# SPDX-License-Identifier: GPL-3.0-or-later
"""What the capsules say: every message there and back, every message cut off, and every field out of its range."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpquic.core import messages
from mpquic.core.capsules import CapsuleReader, ProtocolError, encode_varint
from mpquic.core.messages import (
    Confirm,
    Hello,
    Join,
    Joined,
    Message,
    Refused,
    Register,
    Registered,
    decode,
)

if TYPE_CHECKING:
    from mpquic.core.types import Network

TOP = (1 << 62) - 1
numbers = st.one_of(st.integers(0, 70), st.integers(0, TOP))
ids = st.binary(min_size=16, max_size=16)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    size = draw(st.sampled_from([4, 16]))
    length = draw(st.integers(0, 8 * size))
    number = draw(st.integers(0, (1 << length) - 1)) << 8 * size - length
    return ip_network((number.to_bytes(size, "big"), length))


prefixes = st.lists(networks(), min_size=1, max_size=64).map(tuple)
known = st.one_of(
    st.builds(Hello, numbers, numbers),
    st.builds(Register, ids, numbers, prefixes),
    st.builds(Registered, ids, prefixes),
    st.builds(Refused, ids, numbers, st.text(max_size=60)),
    st.builds(Confirm, ids),
    st.builds(Join, ids, ids, st.integers(1, 255), prefixes, st.binary(max_size=300)),
    st.builds(Joined, ids, ids, prefixes),
)
#: The last type that is known.
LAST = messages.RENEW


def capsule(message: Message) -> tuple[int, bytes]:
    """Return the type and the value that a message becomes."""
    [found] = CapsuleReader().feed(message.encode())
    return found


@given(known)
def test_messages_come_back(message: Message) -> None:
    assert decode(*capsule(message)) == message


@given(known, st.binary(min_size=1, max_size=40))
def test_bytes_behind_the_known_fields_are_ignored(message: Message, later: bytes) -> None:
    kind, value = capsule(message)
    assert decode(kind, value + later) == message


@given(known)
def test_a_message_cut_off_anywhere_is_refused(message: Message) -> None:
    kind, value = capsule(message)
    for size in range(len(value)):
        with pytest.raises(ProtocolError) as caught:
            decode(kind, value[:size])
        assert str(caught.value).startswith(f"capsule 0x{kind:x}: ")


@given(st.integers(0, TOP), st.binary(max_size=100))
def test_any_value_is_a_message_or_refused(kind: int, value: bytes) -> None:
    for chosen in (kind, *range(messages.HELLO, LAST + 1)):
        try:
            message = decode(chosen, value)
        except ProtocolError:
            continue
        assert (message is None) == (chosen not in range(messages.HELLO, LAST + 1))
        if message is not None:
            assert decode(*capsule(message)) == message


def test_types_that_are_not_known_say_nothing() -> None:
    for kind in (0, 0x17, messages.HELLO - 1, LAST + 1, TOP):
        assert decode(kind, b"") is decode(kind, bytes(100)) is None


ONE = bytes([4, 10, 200, 1, 1, 32])


@pytest.mark.parametrize(
    ("prefix", "fault"),
    [
        (bytes([5, 10, 200, 1, 1, 32]), "IP version: found 5, expected 4 or 6"),
        (bytes([0, 10, 200, 1, 1, 32]), "IP version: found 0, expected 4 or 6"),
        (bytes([4, 10, 200, 1, 1, 33]), "expected a network without host bits"),
        (bytes([4, 10, 200, 1, 1, 255]), "expected a network without host bits"),
        (bytes([4, 10, 200, 1, 1, 31]), "expected a network without host bits"),
        (bytes([4, 10, 200, 1, 1, 0]), "expected a network without host bits"),
        (bytes([6, *bytes(15), 1, 129]), "expected a network without host bits"),
        (bytes([6, *bytes(15), 1, 127]), "expected a network without host bits"),
        (bytes([6, *bytes(11)]), "address: found 11 bytes, expected 16 bytes"),
        (bytes([4, 10, 200, 1, 1]), "prefix length: found 0 bytes, expected 1 bytes"),
    ],
)
def test_prefixes_that_are_none(prefix: bytes, fault: str) -> None:
    for kind, start in ((messages.REGISTER, bytes(16) + b"\0"), (messages.REGISTERED, bytes(16))):
        with pytest.raises(ProtocolError, match=fault):
            decode(kind, start + b"\x02" + ONE + prefix)


@pytest.mark.parametrize("count", [0, 65, 16384, TOP])
def test_a_registration_has_1_to_64_prefixes(count: int) -> None:
    value = bytes(16) + encode_varint(count) + 64 * ONE
    with pytest.raises(ProtocolError, match=f"number of prefixes: found {count}, expected 1 to 64"):
        decode(messages.REGISTERED, value)
    message = decode(messages.REGISTERED, bytes(16) + b"\x40\x40" + 64 * ONE)
    assert message == Registered(bytes(16), 64 * (ip_network("10.200.1.1/32"),))


def test_a_whole_family_is_a_prefix() -> None:
    both = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert decode(*capsule(Registered(bytes(16), both))) == Registered(bytes(16), both)


@pytest.mark.parametrize("reason", ["x" * 1000, "é" * 200, "€" * 100, "x" + "€" * 100, "\U0001f6f0" * 100])
def test_a_long_reason_is_cut_between_characters(reason: str) -> None:
    _kind, value = capsule(Refused(bytes(16), 3, reason))
    said = value[16 + 1 + 2 :]
    assert 252 < len(said) <= messages.MAX_REASON
    assert reason.startswith(said.decode())
    assert decode(messages.REFUSED, value) == Refused(bytes(16), 3, said.decode())


def test_a_reason_of_any_bytes_can_be_read() -> None:
    found = decode(messages.REFUSED, bytes(16) + b"\x02\x03a\xff\xc3")
    assert found == Refused(bytes(16), 2, "a��")
    long = decode(messages.REFUSED, bytes(16) + b"\x02" + encode_varint(300) + b"y" * 300)
    assert isinstance(long, Refused)
    assert long.reason == "y" * messages.MAX_REASON
