# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a play manages, with their links and modes: read, compared, put back.

Keys and certificates are not among them: they stay where they are and are copied nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpquic.host.guard.report import Report
from mpquic.host.steps import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

_SYSTEMD = "etc/systemd/system"
#: Below the root. A folder stands for all that is in it.
_PLACES = (
    "etc/mpquic",
    f"{_SYSTEMD}/mpquic*",
    f"{_SYSTEMD}/*.d/60-mpquic*",
    f"{_SYSTEMD}/*.wants/mpquic*",
    f"{_SYSTEMD}/*.requires/mpquic*",
    "etc/sysctl.d/60-mpquic*",
    "etc/systemd/networkd.conf.d/60-mpquic*",
    "opt/mpquic/current",
    "usr/local/bin/mpquic",
)
_IDENTITY = "etc/mpquic/identity"
_GUARD = "mpquic-guard."


@dataclass(frozen=True, slots=True)
class File:
    """A file, folder or link; `content` of a file is base64, of a link its target."""

    kind: str
    mode: int
    owner: int
    group: int
    content: str


Files = dict[str, File]


def plain(files: Files) -> dict[str, Any]:
    """Return files as JSON can hold them."""
    return {path: [file.kind, file.mode, file.owner, file.group, file.content] for path, file in files.items()}


def load(found: dict[str, Any]) -> Files:
    """Return what `plain` made."""
    return {path: File(*values) for path, values in found.items()}


def read(root: Path = Path("/")) -> Files:
    """Return the managed files by path below `root`.

    Raises:
        OSError: one cannot be read.

    """
    return {str(path.relative_to(root)): found for path in _managed(root) if (found := _read(path)) is not None}


def restore(wanted: Files, root: Path = Path("/")) -> Report:
    """Put back what differs, and remove what was not there."""
    report = Report()
    found = read(root)
    # The innermost first: a folder goes when it is empty.
    for path in sorted(found.keys() - wanted.keys(), reverse=True):
        _attempt(report, f"removed /{path}", lambda path=path: _remove(root / path, found[path]))
    for path, file in sorted(wanted.items()):
        if found.get(path) == file:
            continue
        if file.kind == "link" and path.startswith("opt/") and not (root / path).parent.joinpath(file.content).exists():
            report.failed.append(f"put back /{path}: {file.content} is gone")
            continue
        _attempt(report, f"put back /{path}", lambda path=path, file=file: _write(root / path, file))
    return report


def _managed(root: Path) -> Iterator[Path]:
    for place in _PLACES:
        for top in sorted(root.glob(place)):
            if top.name.startswith(_GUARD):
                continue
            yield top
            if top.is_dir() and not top.is_symlink():
                for path in sorted(top.rglob("*")):
                    if path.relative_to(root).parts[:3] != tuple(_IDENTITY.split("/")):
                        yield path


def _read(path: Path) -> File | None:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            kind, content = "link", str(path.readlink())
        elif stat.S_ISDIR(status.st_mode):
            kind, content = "folder", ""
        elif stat.S_ISREG(status.st_mode):
            kind, content = "file", base64.b64encode(path.read_bytes()).decode()
        else:
            return None
    except FileNotFoundError:  # a temporary file of somebody who writes right now
        return None
    return File(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content)


def _attempt(report: Report, text: str, change: Any) -> None:
    try:
        change()
    except OSError as error:
        report.failed.append(f"{text}: {reason(error)}")
    else:
        report.done.append(text)


def _remove(path: Path, file: File) -> None:
    if file.kind == "folder":
        path.rmdir()
    else:
        path.unlink()


def _write(path: Path, file: File) -> None:
    """Put a file in its place at once, so that nobody reads half of it."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink() and file.kind != "folder":
            path.rmdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "folder":
        if path.is_symlink() or path.is_file():
            path.unlink()
        path.mkdir(exist_ok=True)
        target = path
    else:
        target = path.with_name(f".{path.name}.guard")
        target.unlink(missing_ok=True)
        if file.kind == "link":
            target.symlink_to(file.content)
        else:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(base64.b64decode(file.content))
                stream.flush()
                os.fsync(descriptor)
    os.chown(target, file.owner, file.group, follow_symlinks=False)
    if file.kind != "link":
        target.chmod(file.mode)
    if target != path:
        target.replace(path)
