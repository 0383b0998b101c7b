# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: whatever differs from a snapshot is put back, and nothing else is touched."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.host import lock, tun
from mpquic.host.errors import HostError
from mpquic.host.guard import files, routing, services, settings, snapshot, tables
from mpquic.host.guard.rawlink import RawLink
from mpquic.host.guard.report import Report
from mpquic.host.netlink import Kernel
from mpquic.host.shaper import document, repair
from mpquic.host.shaper.netlink import TcKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mpquic.host.guard.services import Ask
    from mpquic.host.guard.snapshot import Snapshot

_SHAPER = Path("/etc/mpquic/shaper.yaml")


def restore(wanted: Snapshot, ask: Ask) -> Report:
    """Bring the host back: first what a management connection needs, then the tunnels.

    A part that fails is reported and does not stop the others. The lock of the host is held but for the services, whose
    own commands take it, and not waited for without end.
    """
    report = Report()
    with held(report):
        changed = _part(report, lambda: files.restore(wanted.files))
        _part(report, lambda: settings.restore(wanted.settings))
        _part(report, lambda: tables.restore(wanted.tables))
        _part(report, lambda: _routing(wanted))
        if any("/systemd/" in line for line in changed.done):
            _part(report, services.reload)
    _part(report, lambda: services.restore(wanted.services, ask))
    again = Report()
    with held(report):
        # What a service did when it started or stopped, and routes whose device is back only now.
        _part(again, lambda: tables.restore(wanted.tables))
        _part(again, lambda: _routing(wanted))
        _part(again, lambda: _remove_tuns(wanted))
        if any(str(_SHAPER) in line for line in changed.done):
            _part(again, _shape)
    # What could not be done at first counts as failed only if it still cannot.
    routes = {line for line in report.failed if " route " in line}
    report.failed = [line for line in report.failed if line not in routes]
    report.add(again)
    return report


@contextlib.contextmanager
def held(report: Report) -> Iterator[bool]:
    """Hold the lock of the host, and tell whether: a command that never ends must not keep it from its way back."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock.exclusive())
        except HostError as error:
            report.failed.append(f"went on beside another command: {error}")
            yield False
        else:
            yield True


def _part(report: Report, work: Callable[[], Report]) -> Report:
    try:
        found = work()
    except (HostError, OSError) as error:
        found = Report(failed=[str(error)])
    except Exception as error:  # noqa: BLE001 - a snapshot that is damaged in one part has others
        found = Report(failed=[f"a part of the snapshot is damaged: {type(error).__name__}: {error}"])
    report.add(found)
    return found


def _routing(wanted: Snapshot) -> Report:
    with RawLink() as link:
        return routing.restore(link, wanted.routing)


def _remove_tuns(wanted: Snapshot) -> Report:
    report = Report()
    with Kernel() as kernel:
        for name in snapshot.new_tuns(wanted):
            text = f"removed the TUN device {name}"
            try:
                tun.remove(kernel, name, dry=False)
            except HostError as error:
                report.failed.append(f"{text}: {error}")
            else:
                report.done.append(text)
    return report


def _shape() -> Report:
    with TcKernel() as kernel:
        found = repair.fix(kernel, document.load(_SHAPER), dry=False)
    return Report(
        [action for one in found for action in one.actions], [p.message for one in found for p in one.problems]
    )
