# SPDX-License-Identifier: GPL-3.0-or-later
"""What real daemons say of themselves is what docs/status.schema.json says that they say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from wan import command, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multiwan import MultiWan
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[4] / "docs/status.schema.json").read_text())


def unknown(value: Any, schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield every key that the schema does not name."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    schema = schema.get("oneOf", [schema])[-1]
    if isinstance(value, list):
        for item in value:
            yield from unknown(item, schema["items"], where)
    if isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key not in schema["properties"]:
                yield f"{where}.{key}"
            else:
                yield from unknown(item, schema["properties"][key], f"{where}.{key}")


def held(wan: Wan) -> dict[str, Any]:
    code, answer = command("status", "--run-dir", wan.folder, "--instances", "/nonexistent")
    assert code == 0
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    assert list(unknown(answer, SCHEMA)) == []
    assert isinstance(answer, dict)
    return answer


def test_one_path(wan: Wan) -> None:
    wan.bring_up()
    assert wan.ping("client", "-c 20 -i 0.05 -s 1000")
    until(lambda: wan.status("client")["recent"]["tx_bps"] is not None, 5)
    client = held(wan)["instances"][0]
    assert client["recent"]["tx_bps"] > 0
    assert client["recent"]["datagram_best"] == client["datagram"]
    assert client["last_fault"] is None
    wan.stop("server")
    until(lambda: wan.status("client")["state"] != "up", 5)
    (client,) = held(wan)["instances"]
    assert client["last_fault"]["reason"]


def test_several_paths(wans: MultiWan) -> None:
    wans.bring_up()
    assert wans.ping("client", "-c 20 -i 0.05 -s 1000")
    until(lambda: all(one["recent"]["tx_bps"] is not None for one in wans.status("client")["classes"]), 5)
    wans.plug(1, "down")
    wans.wait_path("wan1", "down")
    client, server = held(wans)["instances"]
    first, second = client["paths"]
    assert first["last_fault"]["reason"] == first["reason"] == f"interface {wans.wans[0]} has no carrier"
    assert second["last_fault"] is None
    assert client["classes"][0]["recent"].keys() == {"tx_bps", "rx_bps"}
    assert server["peers"][0]["recent"]["rx_bps"] is not None


def test_a_fault_is_wrong_by_the_schema() -> None:
    broken = {"instances": [{"id": "4", "state": "up", "reason": "", "rtt_ms": "fast"}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(broken)
    assert list(unknown({"instances": [{"nobody": 1}]}, SCHEMA)) == [".instances.nobody"]
