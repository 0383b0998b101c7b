# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic identity ensure`` on real files."""

from __future__ import annotations

import hashlib
import json
import pwd
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from mpquic.cli import main

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "identity"


@pytest.fixture
def ensure(folder, capsys):
    def run(*arguments):
        rc = main(["identity", "ensure", "--dir", str(folder), "--owner", "nobody", "--json", *arguments])
        captured = capsys.readouterr()
        return rc, json.loads(captured.out) if captured.out else captured.err

    return run


def state(path):
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def test_makes_a_key_that_only_its_owner_reads_and_its_certificate(ensure, folder):
    rc, result = ensure()
    assert rc == 0
    assert result["changed"]
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert result["fingerprint"] == "sha256:" + hashlib.sha256(spki).hexdigest()
    assert state(folder / "key.pem") == (0o600, NOBODY.pw_uid, NOBODY.pw_gid)
    assert state(folder) == (0o750, 0, NOBODY.pw_gid)
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    assert certificate.public_key() == key.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "mpquic-server" in names.get_values_for_type(x509.DNSName)
    certificate.verify_directly_issued_by(certificate)
    assert not [path for path in folder.iterdir() if path.name not in {"key.pem", "cert.pem"}]


def test_a_second_run_changes_nothing(ensure, folder):
    _, first = ensure()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    rc, second = ensure()
    assert (rc, second["changed"], second["fingerprint"]) == (0, False, first["fingerprint"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_check_promises_and_changes_nothing(ensure, folder):
    rc, planned = ensure("--check")
    assert (rc, planned["fingerprint"]) == (2, None)
    assert not folder.exists()
    _, done = ensure()
    assert done["actions"] == planned["actions"]
    assert ensure("--check")[0] == 0


def test_repairs_modes_and_owners_and_keeps_the_key(ensure, folder):
    _, first = ensure()
    (folder / "key.pem").chmod(0o644)
    folder.chmod(0o777)
    _, second = ensure()
    assert len(second["actions"]) == 2
    assert second["fingerprint"] == first["fingerprint"]
    assert state(folder / "key.pem")[0] == 0o600
    assert state(folder)[0] == 0o750


def test_makes_a_lost_certificate_again(ensure, folder):
    _, first = ensure()
    (folder / "cert.pem").unlink()
    _, second = ensure()
    assert second["actions"] == [f"create {folder}/cert.pem"]
    assert second["fingerprint"] == first["fingerprint"]


def other_key():
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("key.pem", b"", "not an unencrypted PEM private key"),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\nMC4C", "not an unencrypted PEM private key"),
        ("key.pem", other_key(), "expected an Ed25519 key"),
        ("cert.pem", b"garbage", "not a PEM certificate"),
    ],
)
def test_refuses_a_broken_file_and_leaves_it_alone(ensure, folder, name, content, message):
    ensure()
    (folder / name).write_bytes(content)
    (folder / name).chmod(0o644)
    rc, error = ensure()
    assert rc == 1
    assert error.startswith(f"mpquic: {folder}/{name}: {message}")
    assert error.count("\n") == 1
    assert (folder / name).read_bytes() == content
    assert state(folder / name)[0] == 0o644


def test_a_certificate_of_another_key_is_renewed(ensure, folder, tmp_path):
    ensure()
    old = (folder / "cert.pem").read_bytes()
    (folder / "key.pem").unlink()
    rc, _ = ensure()
    assert rc == 0
    assert (folder / "cert.pem").read_bytes() != old


def test_refuses_an_unknown_owner(folder, capsys):
    assert main(["identity", "ensure", "--dir", str(folder), "--owner", "nosuchuser"]) == 64
    assert capsys.readouterr().err == "mpquic: owner nosuchuser: there is no such user\n"
    assert not folder.exists()
