# SPDX-License-Identifier: GPL-3.0-or-later
"""One process, one instance: from a checked configuration to a running tunnel, and to a clean end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from typing import TYPE_CHECKING

from mpquic import __version__, quic
from mpquic.config import ConfigError, load, needs_restart
from mpquic.daemon import logs
from mpquic.daemon.client import ClientShell
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


def run(config: InstanceConfig, path: Path, control: Path) -> None:
    """Carry packets until SIGTERM or SIGINT; read ``path`` anew at SIGHUP. Raises StartError."""
    logs.set_up(config.log_level)
    try:
        quic.self_test()
        asyncio.run(_run(config, path, control))
    except (quic.SelfTestError, TunError, ValueError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StartError(f"{where}{error.strerror or error}") from error


async def _run(config: InstanceConfig, path: Path, control_path: Path) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    notifier = Notifier()

    def notify(line: str) -> None:
        notifier.send(f"STATUS={line}")

    shell = _kind(config)(config, loop, notify)
    control = ControlServer(control_path, {"status": shell.status})
    loop.add_signal_handler(signal.SIGHUP, _reload, shell, path)
    shell.start()
    try:
        try:
            await control.start()
        except OSError as error:
            raise StartError(f"control socket {control_path}: {error.strerror or error}") from error
        _LOG.info("started version=%s role=%s tun=%s", __version__, config.role, config.tun_name)
        notifier.send("READY=1")
        watchdog = loop.create_task(_watchdog(notifier))
        # What lives now lives to the end: later collections need not look at it.
        gc.collect()
        gc.freeze()
        await stop.wait()
        watchdog.cancel()
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
