# SPDX-License-Identifier: GPL-3.0-or-later
"""``python tests/killed``: put the checkout on the path and hand over to the command line."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from tests.killed.cli import main

    sys.exit(main(sys.argv[1:]))
