# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic identity`` on real files."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import os
import pwd
import shutil
import socket
import stat
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from mpquic.cli import main
from mpquic.config.identity import check_pair
from mpquic.host import lock

NOBODY = pwd.getpwnam("nobody")
#: What Python tells an audit hook before it changes names, modes and owners (os.replace is a rename).
CHANGES = {"os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.chown"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "identity"


@pytest.fixture
def identity(folder, capsys):
    """Run a command; return its code and what it said, which is never a part of a key."""

    def run(command, *arguments):
        owner = () if command == "request" else ("--owner", "nobody")
        rc = main(["identity", command, "--dir", str(folder), *owner, "--json", *arguments])
        captured = capsys.readouterr()
        for path in folder.glob("*key.pem"):
            secret = path.read_text(errors="replace").splitlines()[1:2]
            assert not any(line in captured.out + captured.err for line in secret)
        return rc, json.loads(captured.out) if captured.out else captured.err

    return run


@pytest.fixture
def ensure(identity):
    return lambda *arguments: identity("ensure", *arguments)


def files(folder):
    return {path.name for path in folder.iterdir()}


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


def test_a_key_that_appears_meanwhile_is_kept(ensure, folder, monkeypatch):
    made = Ed25519PrivateKey.generate

    def slow():
        (folder / "key.pem").write_bytes(b"somebody's key")
        return made()

    folder.mkdir()
    monkeypatch.setattr(Ed25519PrivateKey, "generate", slow)
    assert ensure() == (1, f"mpquic: {folder}/key.pem: something else made it just now; it is kept, try again\n")
    assert (folder / "key.pem").read_bytes() == b"somebody's key"
    assert [path.name for path in folder.iterdir()] == ["key.pem"]


def test_names_outlast_a_power_cut(identity, monkeypatch):
    """What a file holds is on the disk before its name, and the name before the command is done."""
    kinds = []
    sync = os.fsync

    def fsync(descriptor):
        kinds.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    for command, written in (("ensure", ["folder", "file", "folder", "file", "folder"]), ("abandon", [])):
        kinds.clear()
        identity(command)
        assert kinds == written
    identity("stage")
    kinds.clear()
    identity("promote")
    assert set(kinds) == {"folder"}
    kinds.clear()
    identity("stage")
    identity("abandon")
    assert kinds == ["file", "folder", "file", "folder", "folder", "folder"]


def test_one_at_a_time(ensure, identity, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    with lock.exclusive():
        rc, error = identity("stage")
        assert rc == 1
        assert "another mpquic command holds" in error
        assert ensure("--check")[0] == 2


# --- a key to come ----------------------------------------------------------------------------------------------------


def test_a_staged_key_takes_the_place_of_the_current_one(identity, folder):
    _, first = identity("ensure")
    assert first["next_fingerprint"] is None
    rc, planned = identity("stage", "--check")
    assert (rc, planned["fingerprint"], planned["next_fingerprint"]) == (2, first["fingerprint"], None)
    assert files(folder) == {"key.pem", "cert.pem"}
    rc, staged = identity("stage")
    assert (rc, staged["changed"], staged["actions"]) == (0, True, planned["actions"])
    assert staged["fingerprint"] == first["fingerprint"] != staged["next_fingerprint"]
    assert state(folder / "next-key.pem") == (0o600, NOBODY.pw_uid, NOBODY.pw_gid)
    assert state(folder / "next-cert.pem") == (0o644, NOBODY.pw_uid, NOBODY.pw_gid)
    assert identity("stage") == (0, staged | {"changed": False, "actions": []})
    assert identity("ensure") == (0, staged | {"changed": False, "actions": []})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rc, planned = identity("promote", "--check")
    assert rc == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    rc, promoted = identity("promote")
    assert (rc, promoted) == (0, planned)
    assert (promoted["fingerprint"], promoted["next_fingerprint"]) == (staged["next_fingerprint"], None)
    assert (folder / "key.pem").read_bytes() == before["next-key.pem"]
    assert (folder / "cert.pem").read_bytes() == before["next-cert.pem"]
    assert files(folder) == {"key.pem", "cert.pem"}
    assert not (folder / "key.pem").is_symlink()
    assert state(folder / "key.pem") == (0o600, NOBODY.pw_uid, NOBODY.pw_gid)
    assert identity("promote") == (0, promoted | {"changed": False, "actions": []})


def test_a_staged_key_can_be_given_up(identity, folder):
    _, first = identity("ensure")
    identity("stage")
    (folder / "next-key.pem").write_text("broken")
    rc, error = identity("stage")
    assert (rc, error.partition("; ")[2]) == (1, "mpquic identity abandon removes it\n")
    assert identity("abandon", "--check")[0] == 2
    rc, result = identity("abandon")
    assert (rc, result["actions"]) == (0, [f"remove {folder}/next-key.pem", f"remove {folder}/next-cert.pem"])
    assert result["fingerprint"] == first["fingerprint"]
    assert files(folder) == {"key.pem", "cert.pem"}
    assert identity("abandon")[1]["changed"] is False


def test_a_staged_key_is_closed_to_others_again(identity, folder):
    identity("ensure")
    identity("stage")
    (folder / "next-key.pem").chmod(0o644)
    assert identity("ensure")[1]["actions"] == [f"set mode of {folder}/next-key.pem from 0644 to 0600"]


@pytest.mark.parametrize("command", ["stage", "promote"])
def test_there_is_no_next_key_without_a_first(identity, folder, command):
    message = f"mpquic: {folder}/key.pem: no such file; mpquic identity ensure makes it\n"
    assert identity(command) == (1, message)
    assert not folder.exists()


def test_a_crash_at_any_point_leaves_a_key_with_its_certificate(identity, folder, tmp_path):
    _, old = identity("ensure")
    _, staged = identity("stage")
    fingerprints = {old["fingerprint"], staged["next_fingerprint"]}
    original = tmp_path / "original"
    shutil.copytree(folder, original)
    seen = set()
    for step in itertools.count():
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
        if not crashed(step, folder):
            break
        assert list(check_pair(folder / "cert.pem", folder / "key.pem")) == []
        rc, found = identity("ensure", "--check")
        assert rc in {0, 2}
        seen.add(found["fingerprint"])
        # Either command makes it good.
        if step % 2:
            _, mended = identity("ensure")
            assert mended["fingerprint"] == found["fingerprint"]
            assert mended["next_fingerprint"] in fingerprints - {mended["fingerprint"]} | {None}
            assert not list(folder.glob(".*"))
            assert not (folder / "key.pem").is_symlink()
        rc, done = identity("promote")
        assert (rc, done["fingerprint"], done["next_fingerprint"]) == (0, staged["next_fingerprint"], None)
        assert files(folder) == {"key.pem", "cert.pem"}
        assert identity("ensure")[1]["changed"] is False
    assert step > 20
    assert seen == fingerprints


def crashed(step, folder):
    """Promote in a process that ends before change number `step` of the file system; tell whether it came so far."""
    child = os.fork()
    if child == 0:
        left = [step]

        def watch(event, _arguments):
            if event in CHANGES:
                if left[0] == 0:
                    os._exit(99)
                left[0] -= 1

        sys.addaudithook(watch)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(["identity", "promote", "--dir", str(folder), "--owner", "nobody"]))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, 99}
    return code == 99


def test_what_a_crash_of_stage_leaves_is_replaced(identity, folder):
    identity("ensure")
    identity("stage")
    (folder / "next-key.pem").unlink()
    (folder / ".next-key.pem.abc").write_text("half a key")
    assert identity("ensure", "--check")[0] == 2
    _, result = identity("stage")
    assert [action.split()[0] for action in result["actions"]] == ["tidy", "remove", "create", "create"]
    assert files(folder) == {"key.pem", "cert.pem", "next-key.pem", "next-cert.pem"}
    certificate = x509.load_pem_x509_certificate((folder / "next-cert.pem").read_bytes())
    key = load_pem_private_key((folder / "next-key.pem").read_bytes(), None)
    assert certificate.public_key() == key.public_key()


# --- a CA -------------------------------------------------------------------------------------------------------------


def sign(text, *, days=30, names=True, key=None):
    """Do what a CA does with a request."""
    wanted = x509.load_pem_x509_csr(text.encode())
    assert wanted.is_signature_valid
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(wanted.subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")]))
        .public_key(key or wanted.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
    )
    for extension in wanted.extensions if names else ():
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(Ed25519PrivateKey.generate(), None)


def write(path, certificate, more=b""):
    path.write_bytes(more + certificate.public_bytes(Encoding.PEM))
    return str(path)


def test_a_ca_certifies_the_current_and_the_staged_key(identity, folder, tmp_path):
    _, first = identity("ensure")
    rc, request = identity("request", "--name", "ship7.example", "--name", "192.0.2.7", "--name", "ship7.example")
    assert (rc, request["names"]) == (0, ["ship7.example", "192.0.2.7"])
    assert (request["changed"], request["fingerprint"]) == (False, first["fingerprint"])
    certificate = sign(request["request"])
    # Whatever else is in the file stays there: this one went to a file that everyone reads.
    file = write(tmp_path / "ship7.pem", certificate, more=b"Ship 7\n" + other_key())
    rc, planned = identity("install", "--cert", file, "--check")
    assert (rc, planned["actions"], planned["names"]) == (2, [f"replace {folder}/cert.pem"], request["names"])
    assert identity("ensure")[1]["names"] is None
    rc, installed = identity("install", "--cert", file)
    assert (rc, installed) == (0, planned)
    until = certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (installed["expires"], installed["fingerprint"]) == (until, first["fingerprint"])
    assert (folder / "cert.pem").read_bytes() == certificate.public_bytes(Encoding.PEM)
    assert state(folder / "cert.pem") == (0o644, NOBODY.pw_uid, NOBODY.pw_gid)
    same = installed | {"changed": False, "actions": []}
    assert identity("install", "--cert", file) == (0, same)
    assert identity("ensure") == (0, same)

    # The next key needs the CA's word as well.
    identity("stage")
    rc, error = identity("promote")
    assert rc == 1
    assert error.startswith(f"mpquic: {folder}/next-cert.pem: no CA signed it, but one signed {folder}/cert.pem; have")
    rc, planned = identity("promote", "--self-signed", "--check")
    assert (rc, planned["names"]) == (2, None)
    rc, request = identity("request", "--next")
    assert request["names"] == ["ship7.example", "192.0.2.7"]
    rc, staged = identity("install", "--cert", write(tmp_path / "next.pem", sign(request["request"])))
    assert (rc, staged["actions"]) == (0, [f"replace {folder}/next-cert.pem"])
    assert staged["next_fingerprint"] == request["fingerprint"] != staged["fingerprint"]
    assert identity("stage")[1]["changed"] is False
    rc, promoted = identity("promote")
    assert (rc, promoted["fingerprint"], promoted["names"]) == (0, request["fingerprint"], request["names"])
    assert list(check_pair(folder / "cert.pem", folder / "key.pem")) == []


def test_a_request_is_for_the_hosts_name_by_default(identity):
    identity("ensure")
    assert identity("request")[1]["names"] == [socket.gethostname()]
    assert identity("request") == identity("request", "--check")
    assert identity("request", "--next")[0] == 1
    assert identity("request", "--name", "a b") == (64, "mpquic: --name 'a b': expected a DNS name or an IP address\n")


def test_a_request_is_printed_as_it_goes_to_the_ca(identity, folder, capsys):
    identity("ensure")
    assert main(["identity", "request", "--dir", str(folder), "--name", "ship7"]) == 0
    request = x509.load_pem_x509_csr(capsys.readouterr().out.encode())
    assert request.subject.rfc4514_string() == "CN=ship7"


def test_refuses_certificates_that_would_not_serve(identity, folder, tmp_path):
    identity("ensure")
    request = identity("request")[1]["request"]
    others = Ed25519PrivateKey.generate().public_key()
    file = tmp_path / "new.pem"
    for content, message in (
        (None, "no such file, expected a PEM certificate"),
        (b"garbage", "not a PEM certificate; expected the host's, then those of intermediate CAs"),
        ((folder / "cert.pem").read_bytes(), "signed by its own key, expected a CA's signature"),
        (sign(request, key=others), "for the key sha256:"),
        (sign(request, days=-1), "expired at "),
        (sign(request, names=False), "has no name in subjectAltName, expected one (mpquic identity request)"),
    ):
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content is not None:
            write(file, content)
        before = (folder / "cert.pem").read_bytes()
        rc, error = identity("install", "--cert", str(file))
        assert rc == 1
        assert error.startswith(f"mpquic: {file}: {message}"), error
        assert error.count("\n") == 1
        assert (folder / "cert.pem").read_bytes() == before


def test_a_staged_certificate_that_expired_is_not_promoted(identity, folder, tmp_path):
    identity("ensure")
    identity("stage")
    write(folder / "next-cert.pem", sign(identity("request", "--next")[1]["request"], days=-1))
    rc, error = identity("promote")
    assert rc == 1
    assert error.startswith(f"mpquic: {folder}/next-cert.pem: expired at 2")
    assert files(folder) == {"key.pem", "cert.pem", "next-key.pem", "next-cert.pem"}


def test_a_certificate_of_a_ca_is_never_replaced(identity, folder, tmp_path):
    identity("ensure")
    request = identity("request")[1]["request"]
    write(folder / "cert.pem", sign(request, days=-1))
    _, result = identity("ensure")
    assert result["changed"] is False
    (folder / "key.pem").unlink()
    rc, error = identity("ensure")
    message = f"mpquic: {folder}/cert.pem: a CA signed it for another key than {folder}/key.pem\n"
    assert (rc, error) == (1, message)
    assert not (folder / "key.pem").exists()
