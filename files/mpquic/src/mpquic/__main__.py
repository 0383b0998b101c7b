# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m mpquic``."""

import sys

from mpquic.cli import main

sys.exit(main())
