# SPDX-License-Identifier: GPL-3.0-or-later
"""What a giver and its heir say, and what they do when it is not what it should be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from mpquic.daemon.handover import fixed, messages
from mpquic.daemon.handover.messages import MessageError, Offer, Refuse
from mpquic.io.channel import MAX_MESSAGE, Channel, ChannelError, pair
from mpquic.io.control import ControlServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    one, two = ends
    assert two.receive() == []
    for number in range(3):
        one.send(number, bytes(number))
    assert two.receive() == [(0, b"", []), (1, b"\0", []), (2, b"\0\0", [])]
    one.send(7, bytes(MAX_MESSAGE - 1))
    [(kind, body, _fds)] = two.receive()
    assert (kind, len(body)) == (7, MAX_MESSAGE - 1)


def test_descriptors_come_with_their_message(ends: tuple[Channel, Channel], tmp_path: Path) -> None:
    one, two = ends
    with (tmp_path / "file").open("wb") as file:
        one.send(4, b"{}", (file.fileno(),))
    [(_kind, _body, [fd])] = two.receive()
    assert not os.get_inheritable(fd)
    os.write(fd, b"passed")
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == b"passed"


def test_what_is_too_long_is_refused_and_an_end_is_told(ends: tuple[Channel, Channel]) -> None:
    one, two = ends
    one.send(1, bytes(MAX_MESSAGE))
    with pytest.raises(ChannelError, match="found a message longer than"):
        two.receive()
    one.send(2, b"last")
    one.close()
    assert two.receive() == [(2, b"last", [])]
    with pytest.raises(ChannelError, match="hung up"):
        two.receive()
    with pytest.raises(ChannelError, match="does not listen"):
        two.send(1, b"")
    two.offer(1, b"")
    assert two.dropped == 1


def test_another_socket_is_no_channel() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="SOCK_SEQPACKET"):
        Channel(sock)


@pytest.mark.parametrize(
    "arrival",
    [
        (b"abcde", 2, ("192.0.2.1", 45001, 46001)),
        (b"a", 1, ("2001:db8::1", 1, 0, 3, 7)),
        (bytes(65000), 1200, ("::1", 9, 0, 0, 65535)),
    ],
)
def test_datagrams_come_as_they_were_received(arrival: tuple[bytes, int, tuple[object, ...]]) -> None:
    assert messages.unpack_datagram(messages.pack_datagram(arrival)) == arrival


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "found 0 bytes, expected 13 or more"),
        (b"\5" + bytes(30), "family: found 5, expected 4 or 6"),
        (b"\4" + bytes(16), "found 0 bytes of size 0, expected some"),
        (b"\6" + bytes(40), "of size 0"),
    ],
)
def test_a_broken_datagram_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(MessageError, match=fault):
        messages.unpack_datagram(body)


def test_offer_and_refusal_come_as_they_were_said() -> None:
    offer = Offer("1.2", {"role": "client"}, up=False)
    assert messages.unpack_offer(messages.pack(offer)) == offer
    refusal = Refuse("no", restart=True)
    assert messages.unpack_refuse(messages.pack(refusal)) == refusal
    # A later release may say more.
    assert messages.unpack_refuse(b'{"reason": "no", "later": 1}') == Refuse("no")
    assert messages.unpack_offer(b'{"protocol": 2}').protocol == 2


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("{", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ("[" * 100_000, "expected a JSON object"),
        ("{}", "protocol: found None"),
        ('{"protocol": true}', "protocol: found True"),
        ('{"protocol": 1}', "fixed: expected"),
        ('{"protocol": 1, "fixed": {"role": 1}}', "fixed: expected"),
        ('{"protocol": 1, "fixed": {}, "up": 1}', "up: found 1"),
        ('{"protocol": 1, "fixed": {}, "up": true}', "version: expected text"),
    ],
)
def test_a_broken_offer_is_refused(body: str, fault: str) -> None:
    with pytest.raises(MessageError, match=fault):
        messages.unpack_offer(body.encode())
    with pytest.raises(MessageError):
        messages.unpack_refuse(body.encode())


def test_text_of_the_other_process_is_fit_for_a_log() -> None:
    refusal = messages.unpack_refuse(json.dumps({"reason": "a\nb" + "c" * 1000}).encode())
    assert refusal.reason.startswith("a?bc")
    assert len(refusal.reason) == 500


def test_the_environment_is_that_of_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "1.yaml"
    monkeypatch.setenv("WATCHDOG_PID", "1")
    monkeypatch.setenv("TUN_MTU", "1400")
    env, other = fixed.environment(config)
    assert other == []
    assert "WATCHDOG_PID" not in env
    (tmp_path / "1.env").write_text("# a comment\nTUN_MTU=1400\nMPQUIC_RELEASE=new\n\n")
    env, other = fixed.environment(config)
    assert (env["MPQUIC_RELEASE"], other) == ("new", [])
    (tmp_path / "1.env").write_text("TUN_MTU=1300\nMPQUIC_UNIT=b\nTUN_CIDR=10.0.0.1/30\nTUN_CIDR6=\n")
    env, other = fixed.environment(config)
    # What the configuration says as well may have been taken over by a reload since.
    assert other == ["MPQUIC_UNIT"]
    assert (env["TUN_MTU"], env["TUN_CIDR"]) == ("1300", "10.0.0.1/30")


def test_only_root_may_ask_for_a_hand_over(tmp_path: Path) -> None:
    asked = []
    commands = {"status": dict, "handover": lambda: asked.append(1) or {"state": "running"}}
    server = ControlServer(tmp_path / "control.sock", commands, for_root={"handover"})
    line = b'{"command": "handover"}\n'
    assert server._answer(line, root=False) == {"error": "handover: only root may ask for this"}
    assert server._answer(b'{"command": "status"}\n', root=False) == {}
    assert not asked
    assert server._answer(line, root=True) == {"state": "running"}


def test_an_instance_that_does_not_run_is_not_handed_over(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "mpquic", "handover", "7", "--run-dir", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (1, f"7: no such instance runs in {tmp_path}\n")
