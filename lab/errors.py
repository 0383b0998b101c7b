# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that reach the user as one line."""

EXIT_FAILED = 1
EXIT_DEGRADED = 2
EXIT_USAGE = 64
EXIT_CONFIG = 78


class LabError(Exception):
    """What failed, in one line; `code` is the exit code of the command."""

    code = EXIT_FAILED


class UsageError(LabError):
    """The command line is wrong."""

    code = EXIT_USAGE


class TopologyError(LabError):
    """The topology file is wrong: the text names the file, the key and what was expected."""

    code = EXIT_CONFIG
