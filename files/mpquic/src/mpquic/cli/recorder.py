# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic recorder``."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse

_ENDS = {signal.SIGTERM, signal.SIGINT}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    _host.add_history_argument(parser)
    _host.add_run_dir_argument(parser)
    _host.add_instances_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Record until a signal says that it is to end."""
    return _host.guarded(_record, args)


def _record(args: argparse.Namespace) -> int:
    from mpquic.daemon import logs  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host import watch  # noqa: PLC0415
    from mpquic.host.history import names, usage, wan  # noqa: PLC0415
    from mpquic.host.history.recorder import Places, Recorder  # noqa: PLC0415
    from mpquic.host.history.store import Store  # noqa: PLC0415
    from mpquic.io.sdnotify import Notifier  # noqa: PLC0415

    logs.set_up("info")
    # Taken between two looks, so that nothing is cut short.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    run, instances = args.run_dir, Path(args.instances)
    places = Places(
        run=run,
        instances=instances,
        wans=instances.parent / wan.FILE.name,
        watch=run / watch.FILE.name,
        usage=run / usage.FILE.name,
        names=run / names.FILE.name,
    )
    recorder = Recorder(Store(args.history), places, partial(_host.ask, args.run_dir))
    recorder.run(Notifier().send, lambda seconds: signal.sigtimedwait(_ENDS, seconds) is not None)
    return exitcodes.OK
