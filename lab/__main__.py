# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the lab's command line: python -m lab."""

import signal
import sys

from lab.cli import main

# `lab status | head` ends quietly.
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sys.exit(main(sys.argv[1:]))
