# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of an identity: every file is written whole or not at all, and two can change as one."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIRECTORY_MODE = 0o750
KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644

#: A link to the one or the other of two directories, and a name for things on their way; all only during `swap`.
_SWAP, _OLD, _NEW, _AWAY = ".swap", ".swap.old", ".swap.new", ".swap.away"


class Folder:
    """What is done to the directory; with ``dry`` it is only said, in `actions`."""

    def __init__(self, path: Path, owner: str, *, dry: bool) -> None:
        """Name the directory and the user that reads its files. Raises UsageError when there is no such user."""
        try:
            self._user = pwd.getpwnam(owner)
        except KeyError:
            raise UsageError(f"owner {owner}: there is no such user") from None
        self.path = path
        self.dry = dry
        self.actions: list[str] = []

    def make(self) -> None:
        """Make the directory, or repair its mode and owner, and tidy up after a run that was cut off."""
        if not self.path.is_dir():
            if self._agreed(f"create {self.path}"):
                self.path.mkdir(parents=True)
                self._close(self.path)
                _sync(self.path.parent)
            return
        self._repair(self.path, DIRECTORY_MODE, 0)
        if any(self._leftovers()) and self._agreed(f"tidy {self.path} after a run that was cut off"):
            self._settle()

    def create(self, path: Path, content: bytes) -> None:
        """Write a key that is not there. Raises HostError if it is there by now: it is kept."""
        if self._agreed(f"create {path}"):
            with self._written(path, content, KEY_MODE) as temporary:
                try:
                    # Fails if the file is there, where a rename would replace it.
                    os.link(temporary, path)
                except FileExistsError:
                    raise HostError(f"{path}: something else made it just now; it is kept, try again") from None

    def put(self, path: Path, content: bytes, *, verb: str) -> None:
        """Write a certificate, in place of the one that may be there."""
        if self._agreed(f"{verb} {path}"):
            with self._written(path, content, CERTIFICATE_MODE) as temporary:
                os.replace(temporary, path)  # noqa: PTH105 - one family of names for what a crash can come between

    def repair(self, path: Path, mode: int) -> None:
        """Give a file back its mode and owner."""
        self._repair(path, mode, self._user.pw_uid)

    def remove(self, *paths: Path) -> None:
        """Remove those of some files that are there."""
        for path in paths:
            if os.path.lexists(path) and self._agreed(f"remove {path}"):
                path.unlink()
                _sync(self.path)

    def swap(self, pairs: Mapping[Path, Path]) -> None:
        """Put the second file of every pair in the place of the first, all at once for whoever reads them.

        The places become links through one link to a directory with the old files. To point that link to a directory
        with the new ones is the only step that matters: cut off before it, all is as it was; after it, all is new.
        """
        texts = ", ".join(f"{place.name} by {source.name}" for place, source in pairs.items())
        if not self._agreed(f"replace in {self.path} {texts}"):
            return
        for directory, sources in ((_OLD, pairs.keys()), (_NEW, pairs.values())):
            (self.path / directory).mkdir()
            self._close(self.path / directory)
            for place, source in zip(pairs, sources, strict=True):
                os.link(source.resolve(), self.path / directory / place.name)
            _sync(self.path / directory)
        self._point(self.path / _SWAP, _OLD)
        for place in pairs:
            self._point(place, f"{_SWAP}/{place.name}")
        self._point(self.path / _SWAP, _NEW)
        self._settle()
        for source in pairs.values():
            source.unlink()
        _sync(self.path)

    def _settle(self) -> None:
        """Turn the links of a swap back into files, and remove all that is on its way."""
        for path in list(self.path.iterdir()):
            if path.is_symlink() and os.readlink(path) == f"{_SWAP}/{path.name}":  # noqa: PTH115 - as it is written
                self._away().unlink(missing_ok=True)
                os.link(path.resolve(), self._away())
                os.replace(self._away(), path)  # noqa: PTH105
        _sync(self.path)
        for path in list(self._leftovers()):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        _sync(self.path)

    def _leftovers(self) -> Iterator[Path]:
        """Yield what is in the directory only while a command runs; no other one does, they lock each other out."""
        yield from self.path.glob(f"{_SWAP}*")
        yield from self.path.glob(".*.pem.*")

    def _point(self, path: Path, target: str) -> None:
        self._away().symlink_to(target)
        os.replace(self._away(), path)  # noqa: PTH105
        _sync(self.path)

    def _away(self) -> Path:
        return self.path / _AWAY

    def _agreed(self, action: str) -> bool:
        self.actions.append(action)
        return not self.dry

    @contextlib.contextmanager
    def _written(self, path: Path, content: bytes, mode: int) -> Iterator[str]:
        """Write a temporary file beside ``path``; the caller gives it its name."""
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(descriptor, mode)
                os.fchown(descriptor, self._user.pw_uid, self._user.pw_gid)
                file.flush()
                os.fsync(descriptor)
            yield temporary
            _sync(self.path)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)  # noqa: PTH108

    def _close(self, directory: Path) -> None:
        directory.chmod(DIRECTORY_MODE)
        os.chown(directory, 0, self._user.pw_gid)

    def _repair(self, path: Path, mode: int, uid: int) -> None:
        found = path.stat()
        gid = self._user.pw_gid
        if (found.st_uid, found.st_gid) != (uid, gid) and self._agreed(f"give {path} to {uid}:{gid}"):
            os.chown(path, uid, gid)
        old = stat.S_IMODE(found.st_mode)
        if old != mode and self._agreed(f"set mode of {path} from {old:04o} to {mode:04o}"):
            path.chmod(mode)


def _sync(directory: Path) -> None:
    """Make the names in a directory outlast a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
