# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the lab's command line: python -m lab."""

import sys

from lab.cli import main

sys.exit(main(sys.argv[1:]))
