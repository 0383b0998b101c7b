# SPDX-License-Identifier: GPL-3.0-or-later
"""What the exporter reads of files."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from mpquic.metrics import host as files
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Host

START, EXPIRY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


def certificate() -> bytes:
    key, name = Ed25519PrivateKey.generate(), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, START, EXPIRY)
    return builder.sign(key, None).public_bytes(Encoding.PEM)


def test_certificates_and_drift(host: Host) -> None:
    (host.places.identity / "cert.pem").write_bytes(certificate())
    (host.places.identity / "next-cert.pem").write_text("nothing")
    told = {
        "remaining": [{"code": "rule_missing"}, {"code": "rule_missing"}, {"code": "table_gone"}],
        "repairs": [{"at": 12.5}, {"at": 99}],
    }
    (host.places.run_dir / "watch.json").write_text(json.dumps(told))
    text = host.page()
    assert (
        f'mpquic_host_certificate_expiry_timestamp_seconds{{file="cert.pem"}} {EXPIRY.timestamp():.10g}'
        in text.replace("1.7987616e+09", f"{EXPIRY.timestamp():.10g}")
    )
    assert "next-cert" not in text
    assert 'mpquic_host_drift_findings{code="rule_missing"} 2.0' in text
    assert "mpquic_host_last_repair_timestamp_seconds 99.0" in text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"remaining": 3, "repairs": {"at": 1}}',
        f'{{"remaining": [1, null], "repairs": [{{"at": 1{"0" * 400}}}]}}',
    ],
)
def test_a_watch_that_wrote_nonsense(host: Host, content: str) -> None:
    (host.places.run_dir / "watch.json").write_text(content)
    assert "mpquic_exporter_build_info" in host.page()


def test_metered_wans(host: Host) -> None:
    lte = {"wan": "lte", "tx_bytes": 10, "rx_bytes": 900, "quota_bytes": 1000, "warned": 80, "until": "2026-12-05"}
    free = {"wan": "fibre", "tx_bytes": 5, "rx_bytes": 7, "quota_bytes": None, "warned": None, "until": "2026-12-01"}
    (host.places.run_dir / "wans.json").write_text(json.dumps({"at": 1000.5, "wans": [lte, free]}))
    lines = [line for line in host.page().splitlines() if line.startswith("mpquic_wan_")]
    begin = dt.datetime(2026, 12, 5).timestamp()  # noqa: DTZ001 - the host's time zone
    assert {line for line in lines if '"lte"' in line} == {
        'mpquic_wan_billed_bytes{direction="sent",wan="lte"} 10.0',
        'mpquic_wan_billed_bytes{direction="received",wan="lte"} 900.0',
        'mpquic_wan_quota_bytes{wan="lte"} 1000.0',
        'mpquic_wan_quota_warned_ratio{wan="lte"} 0.8',
        f'mpquic_wan_period_end_timestamp_seconds{{wan="lte"}} {floatToGoString(begin)}',
        'mpquic_wan_counted_timestamp_seconds{wan="lte"} 1000.5',
    }
    assert 'mpquic_wan_quota_warned_ratio{wan="fibre"} 0.0' in lines
    assert not [line for line in lines if line.startswith('mpquic_wan_quota_bytes{wan="fibre"')]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"wans": 3}', '{"wans": [1, {"wan": null, "tx_bytes": "x", "quota_bytes": Infinity, "until": 7}]}'],
)
def test_a_count_that_is_nonsense(host: Host, content: str) -> None:
    (host.places.run_dir / "wans.json").write_text(content)
    assert "mpquic_exporter_build_info" in host.page()


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text("role: client\n")
    assert files.digest(tmp_path, "1") == hashlib.sha256(b"role: client\n").hexdigest()
    assert files.digest(tmp_path, "2") is None
