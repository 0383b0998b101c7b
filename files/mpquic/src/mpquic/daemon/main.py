# SPDX-License-Identifier: GPL-3.0-or-later
"""One process, one instance: from a checked configuration to a running tunnel, and to a clean end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING, Any

from mpquic import __version__, quic
from mpquic.config import ConfigError, load, needs_restart
from mpquic.daemon import logs, memory
from mpquic.daemon.client import ClientShell
from mpquic.daemon.handover.giver import Giver
from mpquic.daemon.handover.heir import Heir, HeirError
from mpquic.daemon.multipath_client import MultipathShell
from mpquic.daemon.server import ServerShell
from mpquic.io.control import ControlServer
from mpquic.io.sdnotify import Notifier
from mpquic.io.tun import TunError

if TYPE_CHECKING:
    from pathlib import Path

    from mpquic.config import InstanceConfig
    from mpquic.daemon.shell import Shell

_LOG = logging.getLogger("mpquic")


class StartError(Exception):
    """The instance cannot run on this host as it is; the text says why."""


def run(config: InstanceConfig, path: Path, control: Path, heir: int | None = None) -> None:
    """Carry packets until SIGTERM or SIGINT, or until another process does; read ``path`` anew at SIGHUP.

    ``heir`` is the channel to the process from which the instance is to be taken over. Raises StartError.
    """
    logs.set_up(config.log_level)
    memory.keep()
    try:
        quic.self_test()
        asyncio.run(_run(config, path, control, heir))
    except (quic.SelfTestError, TunError, HeirError, ValueError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StartError(f"{where}{error.strerror or error}") from error


async def _run(config: InstanceConfig, path: Path, control_path: Path, heir_fd: int | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notifier = Notifier()

    def notify(line: str) -> None:
        notifier.send(f"STATUS={line}")

    shell = _kind(config)(config, loop, notify)
    giver = Giver(shell, path, control_path, notifier, stop.set)
    heir = Heir(heir_fd, shell) if heir_fd is not None else None

    def progress() -> dict[str, Any]:
        return heir.progress() if heir is not None and giver.unasked else giver.progress()

    commands = {"status": shell.report, "handover": giver.begin, "progress": progress}
    control = ControlServer(control_path, commands, for_root={"handover"})
    loop.add_signal_handler(signal.SIGHUP, _reload, shell, path)
    try:
        if heir is not None:
            await heir.take_over()
        else:
            shell.start()
        try:
            await control.start(replace=heir is not None)
        except OSError as error:
            raise StartError(f"control socket {control_path}: {error.strerror or error}") from error
        _LOG.info(
            "started version=%s role=%s tun=%s dataplane=%s",
            __version__,
            config.role,
            config.tun_name,
            shell.plane.name,
        )
        notifier.send("READY=1")
        watchdog = loop.create_task(_watchdog(notifier))
        # What lives now lives to the end: later collections need not look at it.
        gc.collect()
        gc.freeze()
        await stop.wait()
        watchdog.cancel()
        if not giver.over:
            notifier.send("STOPPING=1")
    finally:
        shell.stop()
        control.stop()


def _kind(config: InstanceConfig) -> type[ClientShell | MultipathShell | ServerShell]:
    if config.role == "server":
        return ServerShell
    return MultipathShell if config.multipath is not None else ClientShell


def _reload(shell: Shell, path: Path) -> None:
    """Take over what can change in a running instance, all of it or nothing."""
    try:
        found, warnings = load(path)
        fixed = needs_restart(shell.config, found)
        if fixed:
            shell.reloads["failed"] += 1
            shell.refused = found.digest
            _LOG.error('not reloaded reason="%s: only a restart changes %s"', path, ", ".join(fixed))
            return
        shell.reload(found)
    except ConfigError as error:
        shell.reloads["failed"] += 1
        for line in error.messages:
            _LOG.error('not reloaded reason="%s"', line)
    except (OSError, ValueError) as error:
        shell.reloads["failed"] += 1
        _LOG.error('not reloaded reason="%s"', error)
    else:
        shell.refused = None
        for line in warnings:
            _LOG.info("warning %s", line)
        logs.set_level(found.log_level)
        shell.reporter.every(found.telemetry_interval)
        shell.reloads["done"] += 1
        _LOG.info("reloaded identity=%s", shell.identity)


async def _watchdog(notifier: Notifier) -> None:
    interval = notifier.watchdog_interval()
    while interval is not None:
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(interval)
