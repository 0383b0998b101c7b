# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon, and a copy of all it says on its control stream in a file: ``tapped.py FILE run ...``."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mpquic.cli import main
from mpquic.core.registration import ClientRegistration

if TYPE_CHECKING:
    from collections.abc import Callable


def copied(method: Callable[[ClientRegistration], bytes], file: Path) -> Callable[[ClientRegistration], bytes]:
    @functools.wraps(method)
    def said(registration: ClientRegistration) -> bytes:
        data = method(registration)
        with file.open("ab") as copy:
            copy.write(data)
        return data

    return said


if __name__ == "__main__":
    place = Path(sys.argv.pop(1))
    for name in ("opening", "confirmation"):
        setattr(ClientRegistration, name, copied(getattr(ClientRegistration, name), place))
    sys.exit(main())
