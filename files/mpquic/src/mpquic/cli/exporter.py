# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic exporter``: offer what the instances count to Prometheus."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes

if TYPE_CHECKING:
    import argparse

_LISTEN = "unix:/run/mpquic-exporter/metrics.sock"
#: Seconds between two looks for another release.
_LOOK = 30.0
_IDENTITY = "/etc/mpquic/identity"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--listen", default=_LISTEN, metavar="WHERE", help="unix:/PATH or ADDRESS:PORT (default: %(default)s)"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PREFIX",
        help="who may ask over TCP: an address or a prefix, as often as wanted",
    )
    parser.add_argument("--identity", type=Path, default=Path(_IDENTITY), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--once", action="store_true", help="print the metrics and end")
    parser.add_argument(
        "--print",
        choices=("rules", "dashboard", "table"),
        dest="shown",
        help="print rules for Prometheus, a dashboard for Grafana or the table of metrics, and end",
    )
    _host.add_run_dir_argument(parser)
    _host.add_instances_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if args.shown is not None:
        return _show(args.shown)
    return _host.guarded(_export, args)


def _export(args: argparse.Namespace) -> int:
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # noqa: PLC0415 - quick start

    from mpquic.host.errors import UsageError  # noqa: PLC0415
    from mpquic.io import listen  # noqa: PLC0415
    from mpquic.metrics import serve  # noqa: PLC0415
    from mpquic.metrics.collector import HostCollector  # noqa: PLC0415
    from mpquic.metrics.host import Places  # noqa: PLC0415

    try:
        endpoint, allowed = listen.endpoint(args.listen), listen.networks(args.allow)
    except ValueError as error:
        raise UsageError(f"exporter: {error}") from None
    if endpoint.path is None and not allowed:
        raise UsageError("exporter: --allow: expected the address of whoever may ask, because --listen is an address")
    registry = CollectorRegistry()
    registry.register(HostCollector(Places(args.run_dir, Path(args.instances), args.identity)))
    ProcessCollector(registry=registry)
    if args.once:
        sys.stdout.write(generate_latest(registry).decode())
        return exitcodes.OK
    with serve.Server(endpoint, registry, allowed) as server:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_ignored: stop.set())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wait(stop, Path(sys.argv[0]))
        server.shutdown()
    return exitcodes.OK


def wait(stop: threading.Event, program: Path, every: float = _LOOK) -> None:
    """Wait until told to stop, or until ``program`` leads to another file: systemd starts the new release then."""
    started = program.resolve()
    while not stop.wait(every) and program.resolve() == started:
        pass


def _show(what: str) -> int:
    from mpquic.metrics import dashboard, document, rules  # noqa: PLC0415 - quick start

    made = {"rules": rules.text, "dashboard": dashboard.text, "table": document.text}
    sys.stdout.write(made[what]())
    return exitcodes.OK
