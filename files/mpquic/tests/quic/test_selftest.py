# SPDX-License-Identifier: GPL-3.0-or-later
"""The self-test passes here, and names what changed elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioquic
import pytest
from aioquic.quic.connection import QuicConnection
from mpquic.quic import SelfTestError, private, self_test
from mpquic.quic.tunnel import TunnelConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioquic.quic.configuration import QuicConfiguration


def test_passes_with_the_pinned_version() -> None:
    self_test()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioquic, "__version__", "1.8.0")
    with pytest.raises(SelfTestError, match=r"^aioquic 1\.8\.0 is installed, this program needs 1\.7\.2$"):
        self_test()


@pytest.mark.parametrize(
    ("name", "now_means", "named"),
    [
        ("peer_certificate", lambda _: None, "tls._peer_certificate"),
        ("peer_datagram_frame_limit", lambda _: 0, "_remote_max_datagram_frame_size"),
        ("congestion_control", lambda _: None, "_loss._cc"),
        ("disable_pacer", lambda _: None, "pacer"),
        ("take_back_datagrams", lambda _: 0, "oversize"),
        ("close_event", lambda _: None, "_close_event of peer"),
        ("close_is_ours", lambda _: False, "_close_pending"),
        ("install_recovery", lambda *_: None, "_loss"),
        ("next_packet_number", lambda _: 5, "_packet_number"),
        ("ack_is_due", lambda *_: False, "_spaces.ack_at"),
        ("may_seal", lambda _: False, "_state"),
        ("active_address", lambda _: None, "_network_paths"),
        ("use_window", lambda *_: False, "_spaces.received_packets"),
        ("same_receive_keys", lambda *_: True, "key phase"),
        ("own_cids", lambda _: (b"another!",), "_host_cids"),
        ("note_opened", lambda *_, **__: None, "_close_at"),
        ("probe_timeout", lambda _: 0.0, "probe_timeout"),
        ("set_datagram_size", lambda *_: None, "_max_datagram_size"),
        ("peer_chain", lambda _: None, "tls._peer_certificate_chain"),
        ("proof_is_awaited", lambda _: False, "CertificateVerify without a CA, CertificateVerify of a client"),
    ],
)
def test_names_what_changed(
    monkeypatch: pytest.MonkeyPatch, name: str, now_means: Callable[..., object], named: str
) -> None:
    monkeypatch.setattr(private, name, now_means)
    with pytest.raises(SelfTestError, match=named):
        self_test()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("_initialize", "tls._request_client_certificate, CertificateVerify of a client"),
        ("_write_connection_limits", "_write_stream_limits, _write_connection_limits"),
        ("_write_stream_limits", "_write_stream_limits, _write_connection_limits"),
        ("__init__", "_local_max_streams_bidi, _local_max_streams_uni"),
    ],
)
def test_names_an_override_that_is_no_longer_called(monkeypatch: pytest.MonkeyPatch, override: str, named: str) -> None:
    plain = getattr(QuicConnection, override)
    if override == "__init__":

        def plain(self: QuicConnection, configuration: QuicConfiguration, destination: bytes | None = None) -> None:
            QuicConnection.__init__(self, configuration=configuration, original_destination_connection_id=destination)

    monkeypatch.setattr(TunnelConnection, override, plain)
    with pytest.raises(SelfTestError, match=f"expected: {named}$"):
        self_test()


def test_a_name_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(private, "take_back_datagrams", gone)
    with pytest.raises(SelfTestError, match="AttributeError: no such thing"):
        self_test()
