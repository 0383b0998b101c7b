# SPDX-License-Identifier: GPL-3.0-or-later
"""``mpquic page``: the status page of this host."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import _host, exitcodes
from mpquic.cli.exporter import wait

if TYPE_CHECKING:
    import argparse

_SECRETS = Path("/etc/mpquic/page")
_LISTEN = "127.0.0.1:45901"
_PASSWORD = "password"  # noqa: S105 - the name of a file
_ACTIONS = {
    "serve": "offer the page (started by mpquic-page.service)",
    "password": "set the password, read from the terminal or, of a pipe, its first line",
    "certificate": "make key and certificate for an address if they are missing, and show the fingerprint",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in _ACTIONS.items()}
    for name, action in parsers.items():
        action.add_argument(
            "--secrets",
            type=Path,
            default=None if name == "serve" else _SECRETS,
            metavar="DIR",
            help=f"password, cert.pem and key.pem (default: {_SECRETS}{', or what systemd gives' * (name == 'serve')})",
        )
    parsers["certificate"].add_argument("address", metavar="ADDRESS", help="of this host")
    for name in ("password", "certificate"):
        _host.add_output_arguments(parsers[name])
    serve = parsers["serve"]
    serve.add_argument(
        "--listen", default=_LISTEN, metavar="WHERE", help="unix:/PATH or ADDRESS:PORT (default: %(default)s)"
    )
    serve.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PREFIX",
        help="who may try to log in, an address or a prefix, as often as wanted (default: everybody)",
    )
    serve.add_argument("--classes", type=Path, default=Path("/etc/mpquic/classes.yaml"), metavar="FILE")
    _host.add_history_argument(serve)
    _host.add_run_dir_argument(serve)
    _host.add_instances_argument(serve)


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    actions = {"serve": _serve, "password": _password, "certificate": _certificate}
    return _host.guarded(actions[args.action], args)


def _serve(args: argparse.Namespace) -> int:
    from mpquic.daemon import logs  # noqa: PLC0415 - quick start of the other commands
    from mpquic.host.errors import UsageError  # noqa: PLC0415
    from mpquic.io import listen  # noqa: PLC0415
    from mpquic.page import certificate, password, serve  # noqa: PLC0415
    from mpquic.page.looks import Looks  # noqa: PLC0415

    try:
        endpoint, allowed = listen.endpoint(args.listen), listen.networks(args.allow)
    except ValueError as error:
        raise UsageError(f"page: {error}") from None
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    secrets = args.secrets or (Path(given) if given else _SECRETS)
    gate = password.Gate(password.load(secrets / _PASSWORD, shared=args.secrets is None and given is not None))
    # What is not for this host alone is not for everybody on the way.
    open_ = endpoint.address is not None and not endpoint.address.is_loopback
    context = certificate.context(secrets) if open_ else None
    logs.set_up("info")
    looks = Looks(args.run_dir, Path(args.instances))
    content = serve.Content(looks, Path(args.instances), args.classes, args.history, args.run_dir / "watch.json")
    with serve.Server(endpoint, content, gate, allowed=allowed, context=context) as server:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_ignored: stop.set())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wait(stop, Path(sys.argv[0]))
        server.shutdown()
    return exitcodes.OK


def _password(args: argparse.Namespace) -> int:
    from mpquic.host.errors import ConfigError  # noqa: PLC0415 - quick start of the other commands
    from mpquic.page import password  # noqa: PLC0415

    given = getpass.getpass("password of the page: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    path = args.secrets / _PASSWORD
    made = password.Hash.of(given)
    try:
        changed = not password.load(path).fits(given)
    except ConfigError:
        changed = True
    if changed and not args.check:
        _write(path, made.line().encode())
    text = f"{'[PLAN]' if args.check else '[DONE]'} write {path}" if changed else f"[OK] {path} is of this password"
    _host.output(args, {"changed": changed}, [text, f"user: {password.USER}"])
    return exitcodes.DEGRADED if args.check and changed else exitcodes.OK


def _certificate(args: argparse.Namespace) -> int:
    from ipaddress import ip_address  # noqa: PLC0415 - quick start of the other commands

    from mpquic.host.errors import UsageError  # noqa: PLC0415
    from mpquic.page import certificate  # noqa: PLC0415

    try:
        address = str(ip_address(args.address))
    except ValueError as error:
        raise UsageError(f"page certificate: {error}") from None
    changed = not certificate.good_for(args.secrets, address)
    if changed and not args.check:
        made = dict(zip((certificate.CERTIFICATE, certificate.KEY), certificate.make(address), strict=True))
        for name, data in made.items():
            _write(args.secrets / name, data)
    fingerprint = certificate.fingerprint(args.secrets)
    text = f"{'[PLAN]' if args.check else '[DONE]'} make a key and a certificate for {address}"
    _host.output(
        args,
        {"changed": changed, "fingerprint": fingerprint},
        [*([text] if changed else []), f"fingerprint (SHA-256): {fingerprint or '-'}"],
    )
    return exitcodes.DEGRADED if args.check and changed else exitcodes.OK


def _write(path: Path, data: bytes) -> None:
    """Write a file for its owner alone, whole or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
