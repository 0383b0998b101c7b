# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances that answer what a test wants, behind real sockets."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from mpquic.metrics.collector import HostCollector
from mpquic.metrics.host import Places
from prometheus_client import CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Host:
    """The folders of a host, and what its instances answer."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(folder / "run", folder / "instances", folder / "identity")
        for place in (self.places.run_dir, self.places.instances, self.places.identity):
            place.mkdir()
        self._sockets: list[socket.socket] = []
        self._collector = HostCollector(self.places)
        self.registry = CollectorRegistry()
        self.registry.register(self._collector)

    def answers(self, name: str, answer: Any) -> None:
        """Let an instance answer this: bytes as they are, None never."""
        folder = self.places.run_dir / name
        folder.mkdir(exist_ok=True)
        path = folder / "control.sock"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(16)
        self._sockets.append(listener)
        said = answer if isinstance(answer, bytes) or answer is None else json.dumps(answer).encode() + b"\n"
        threading.Thread(target=_serve, args=(listener, said), daemon=True).start()

    def page(self) -> str:
        """Return what is scraped now."""
        self._collector._until = 0.0
        return generate_latest(self.registry).decode()

    def close(self) -> None:
        for each in self._sockets:
            each.shutdown(socket.SHUT_RDWR)
            each.close()


def _serve(listener: socket.socket, answer: bytes | None) -> None:
    kept = []
    while True:
        try:
            client, _address = listener.accept()
        except OSError:
            return
        if answer is None:
            kept.append(client)
            continue
        with client:
            client.recv(4096)
            client.sendall(answer)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()
