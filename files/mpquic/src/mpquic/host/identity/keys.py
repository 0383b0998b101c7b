# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a host's key: make it, prepare another one, let that take its place, have a CA sign it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpquic.host.errors import HostError
from mpquic.host.identity import certificates
from mpquic.host.identity.folder import CERTIFICATE_MODE, KEY_MODE, Folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509

    from mpquic.host.identity.certificates import Request


@dataclass(frozen=True, slots=True)
class Identity:
    """What a command left, or with ``dry`` would leave, and what it did for that.

    A fingerprint is None when there is no such key, or when it would only be made. `names` and `expires` (UTC) are
    those of a CA's certificate for the current key, None without one.
    """

    fingerprint: str | None
    next_fingerprint: str | None
    names: tuple[str, ...] | None
    expires: str | None
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A key and its certificate as found in their files, and which of those are there to no purpose."""

    key_file: Path
    cert_file: Path
    key: Ed25519PrivateKey | None = None
    chain: Sequence[x509.Certificate] = ()
    orphans: tuple[Path, ...] = ()

    @property
    def fingerprint(self) -> str | None:
        return None if self.key is None else certificates.fingerprint(self.key.public_key())

    def fits(self, chain: Sequence[x509.Certificate]) -> bool:
        """Tell whether a certificate is for this key."""
        if self.key is None or not chain:
            return False
        return certificates.spki(chain[0].public_key()) == certificates.spki(self.key.public_key())

    def certified(self) -> bool:
        """Tell whether the certificate serves. Raises HostError when a CA's does not: it is the operator's."""
        if certificates.of_ca(self.chain):
            if not self.fits(self.chain):
                raise HostError(f"{self.cert_file}: a CA signed it for another key than {self.key_file}")
            return True
        return self.fits(self.chain) and not certificates.expired(self.chain[0])

    def required(self, command: str) -> Ed25519PrivateKey:
        """Return the key. Raises HostError when there is none."""
        if self.key is None:
            raise HostError(f"{self.key_file}: no such file; mpquic identity {command} makes it")
        return self.key


def ensure(directory: Path, owner: str, *, dry: bool) -> Identity:
    """Make what is missing and repair modes and owners; with `dry` only say what would be done.

    Args:
        directory: Where ``key.pem`` and ``cert.pem`` are.
        owner: The user that reads them.
        dry: Change nothing.

    Raises:
        UsageError: there is no such user.
        HostError: a file is there but broken; it is left alone.

    """
    folder = Folder(directory, owner, dry=dry)
    current, staged = _read(directory)
    current = _complete(folder, current)
    folder.remove(*staged.orphans)
    if staged.key is not None:
        folder.repair(staged.key_file, KEY_MODE)
        if staged.chain:
            folder.repair(staged.cert_file, CERTIFICATE_MODE)
    return _answer(folder, current, staged)


def stage(directory: Path, owner: str, *, dry: bool) -> Identity:
    """Make ``next-key.pem`` and ``next-cert.pem``: a key that peers can learn before it is used.

    Arguments and errors as those of `ensure`; HostError also when there is no current key.
    """
    folder = Folder(directory, owner, dry=dry)
    current, staged = _read(directory)
    current.required("ensure")
    return _answer(folder, current, _complete(folder, staged))


def promote(directory: Path, owner: str, *, dry: bool, self_signed: bool = False) -> Identity:
    """Put the staged key and its certificate in the place of the current ones, which are removed.

    Whoever reads the files finds the old pair or the new one, also after a crash. Without a staged key there is nothing
    to do. Arguments and errors as those of `ensure`; HostError also when a CA signed the current certificate but not
    the staged one, unless `self_signed` says that this will do, or when the staged one is expired.
    """
    folder = Folder(directory, owner, dry=dry)
    current, staged = _read(directory)
    current.required("ensure")
    if not current.chain:
        raise HostError(f"{current.cert_file}: no such file; mpquic identity ensure makes it")
    if staged.key is None:
        folder.make()
        folder.remove(*staged.orphans)
        return _answer(folder, current, staged)
    if not self_signed and certificates.of_ca(current.chain) and not certificates.of_ca(staged.chain):
        raise HostError(
            f"{staged.cert_file}: no CA signed it, but one signed {current.cert_file}; have the same done for the "
            "staged key before (mpquic identity request --next, then install), or where all know this host by its key "
            "say --self-signed"
        )
    if certificates.of_ca(staged.chain) and certificates.expired(staged.chain[0]):
        raise HostError(f"{staged.cert_file}: expired at {certificates.expires(staged.chain[0])}")
    staged = _complete(folder, staged)
    folder.swap({current.key_file: staged.key_file, current.cert_file: staged.cert_file})
    return _answer(folder, staged, None)


def abandon(directory: Path, owner: str, *, dry: bool) -> Identity:
    """Remove the staged key and its certificate, whatever their files hold.

    Arguments and errors as those of `ensure`.
    """
    folder = Folder(directory, owner, dry=dry)
    current = _pair(directory, "", "move it away to have a new one made")
    if directory.is_dir():
        folder.make()
    folder.remove(directory / "next-key.pem", directory / "next-cert.pem")
    return _answer(folder, current, None)


def install(directory: Path, owner: str, certificate: Path, *, dry: bool) -> Identity:
    """Put a certificate that a CA signed in its place: beside the key it is for, the current or the staged one.

    Args:
        directory: Where the keys are.
        owner: The user that reads them.
        certificate: A PEM file, the host's certificate first, then those of intermediate CAs. Only certificates are
            copied from it.
        dry: Change nothing.

    Raises:
        UsageError: there is no such user.
        HostError: the certificate is for another key, expired, without a name or of no CA; or a file is broken.

    """
    folder = Folder(directory, owner, dry=dry)
    current, staged = _read(directory)
    chain = certificates.read_chain(certificate, "expected the host's, then those of intermediate CAs")
    if not chain:
        raise HostError(f"{certificate}: no such file, expected a PEM certificate")
    target = next((pair for pair in (current, staged) if pair.fits(chain)), None)
    if target is None:
        keys = f"the current ({current.fingerprint or 'none'}) nor the staged ({staged.fingerprint or 'none'})"
        raise HostError(f"{certificate}: for the key {_fingerprint(chain[0])}, which is neither {keys}")
    if not certificates.of_ca(chain):
        raise HostError(f"{certificate}: signed by its own key, expected a CA's signature")
    if not certificates.names(chain[0]):
        raise HostError(f"{certificate}: has no name in subjectAltName, expected one (mpquic identity request)")
    if certificates.expired(chain[0]):
        raise HostError(f"{certificate}: expired at {certificates.expires(chain[0])}")
    folder.make()
    if list(target.chain) == chain:
        folder.repair(target.cert_file, CERTIFICATE_MODE)
    else:
        folder.put(target.cert_file, certificates.chain_pem(chain), verb="replace" if target.chain else "create")
    certified = replace(target, chain=chain)
    return _answer(folder, certified if target is current else current, staged)


def request(directory: Path, names: Sequence[str], *, staged: bool) -> Request:
    """Make a request to a CA for the current or the staged key; nothing is written.

    Without ``names`` it asks for those of the CA's present certificate, or for the host's name if there is none. Raises
    HostError when there is no such key, UsageError when a name is none.
    """
    current, following = _read(directory)
    key = following.required("stage") if staged else current.required("ensure")
    known = next((pair.chain for pair in (following, current) if certificates.of_ca(pair.chain)), None)
    if not names and known:
        names = certificates.names(known[0])
    return certificates.signing_request(key, names)


def _read(directory: Path) -> tuple[_Pair, _Pair]:
    """Return the current pair and the staged one. Raises HostError."""
    current = _pair(directory, "", "move it away to have a new one made")
    staged = _pair(directory, "next-", "mpquic identity abandon removes it")
    if staged.key is None or staged.fingerprint == current.fingerprint:
        # Left by a run that was cut off, before the key was made or after it was promoted.
        files = staged.key_file, staged.cert_file
        staged = _Pair(*files, orphans=tuple(path for path in files if os.path.lexists(path)))
    return current, staged


def _pair(directory: Path, prefix: str, remedy: str) -> _Pair:
    key_file, cert_file = directory / f"{prefix}key.pem", directory / f"{prefix}cert.pem"
    return _Pair(
        key_file, cert_file, certificates.read_key(key_file, remedy), certificates.read_chain(cert_file, remedy)
    )


def _complete(folder: Folder, pair: _Pair) -> _Pair:
    """Make of a pair what is missing, repair the rest, and return it; its key is None when it would only be made."""
    key = pair.key or Ed25519PrivateKey.generate()
    made = replace(pair, key=key)
    # Refuse before the first touch.
    certified = made.certified()
    folder.make()
    folder.remove(*pair.orphans)
    if pair.key is None:
        folder.create(pair.key_file, certificates.key_pem(key))
    else:
        folder.repair(pair.key_file, KEY_MODE)
    if certified:
        folder.repair(pair.cert_file, CERTIFICATE_MODE)
    else:
        made = replace(made, chain=certificates.self_signed(key))
        folder.put(pair.cert_file, certificates.chain_pem(made.chain), verb="renew" if pair.chain else "create")
    return replace(made, key=None) if pair.key is None and folder.dry else made


def _answer(folder: Folder, current: _Pair, staged: _Pair | None) -> Identity:
    by_ca = certificates.of_ca(current.chain)
    return Identity(
        fingerprint=current.fingerprint,
        next_fingerprint=staged.fingerprint if staged else None,
        names=certificates.names(current.chain[0]) if by_ca else None,
        expires=certificates.expires(current.chain[0]) if by_ca else None,
        actions=tuple(folder.actions),
    )


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificates.fingerprint(certificate.public_key())
