# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go wrong with one measurement while the others go on."""

from __future__ import annotations


class BenchError(Exception):
    """One measurement failed; the text is one line and says which part of it and why."""


class UnavailableError(Exception):
    """This peer or test cannot be had on this machine; the text says why. No fault of anybody's."""
