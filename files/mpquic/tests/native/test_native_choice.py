# SPDX-License-Identifier: GPL-3.0-or-later
"""What carries packets: the library where it is right, pure Python with one line in the log where it is not."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from compiled import SOURCES, compile_library
from mpquic.daemon import dataplane, nativetest
from mpquic.io.native_udp import NativeUdpSocket
from mpquic.io.udp import UdpSocket, open_udp
from mpquic.native import NativeError, library, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MPQUIC_NATIVE", raising=False)
    dataplane.choose.cache_clear()
    yield
    dataplane.choose.cache_clear()


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where a release has its library; there is none yet."""
    file = tmp_path / "libmpquic.so"
    monkeypatch.setattr(library, "FILE", file)
    return file


def test_the_library_carries_packets(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    compile_library(release)
    plane = dataplane.choose("auto")
    assert (plane.name, plane.reason) == ("native", "")
    assert dataplane.choose("auto") is plane
    assert not caplog.records
    sock = open_udp("127.0.0.1", 0, device=None, remote=None, drops=Counter(), take=plane.take_socket)
    assert isinstance(sock, NativeUdpSocket)
    sock.close()


def test_without_a_library_python_does(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mpquic"):
        plane = dataplane.choose("auto")
        dataplane.choose("auto")
    assert (plane.name, plane.take_socket) == ("python", UdpSocket)
    assert [record.message for record in caplog.records] == [
        f'native data plane not used reason="{release} is not there" note="pure Python carries packets, slower"'
    ]


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF" + bytes(60)])
def test_what_is_no_library_is_not_used(release: Path, content: bytes) -> None:
    release.write_bytes(content)
    assert dataplane.choose("auto").name == "python"


def test_a_library_of_another_version_is_not_used(release: Path) -> None:
    compile_library(release, "-DMPQUIC_ABI=99")
    with pytest.raises(NativeError, match=r"is of version 99, this program needs 1$"):
        load(release)
    assert dataplane.choose("auto").name == "python"


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("seal.c", "0x4000 | (uint32_t)payload.size", "0x4001 | (uint32_t)payload.size", "sealing"),
        ("keys.c", "nonce[NONCE - 1 - i] ^=", "nonce[NONCE - 2 - i] ^=", "sealing"),
        ("open.c", "header[0] ^= mask[0] & 0x1F", "header[0] ^= mask[0] & 0x0F", "opening"),
        ("split.c", "TCP_FIN | TCP_PSH", "TCP_FIN", "cutting"),
        ("merge.c", "put16le(at + 2, shape->end)", "put16le(at + 2, 0)", "merging"),
    ],
)
def test_a_library_that_is_wrong_is_not_used(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, right: str, wrong: str, said: str
) -> None:
    """What a compiler or a processor might do to it."""
    folder = tmp_path / "native"
    folder.mkdir()
    for source in SOURCES.iterdir():
        text = source.read_text()
        if source.name == file:
            assert right in text
            text = text.replace(right, wrong)
        (folder / source.name).write_text(text)
        (folder / source.name).chmod(0o755)
    monkeypatch.setattr("compiled.SOURCES", folder)
    compile_library(release)
    plane = dataplane.choose("auto")
    assert plane.name == "python"
    assert plane.reason.startswith(f"self-test failed: {said}")


def test_the_role_tries_it_on_each_host(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert nativetest.main() == 1
    assert capsys.readouterr().err == f"{release} is not there\n"
    compile_library(release)
    assert nativetest.main() == 0
    assert not capsys.readouterr().err


def test_it_can_be_switched_off(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_library(release)
    assert (dataplane.choose("off").name, dataplane.choose("off").reason) == ("python", "switched off")
    monkeypatch.setenv("MPQUIC_NATIVE", "off")
    assert dataplane.choose("auto").name == "python"
