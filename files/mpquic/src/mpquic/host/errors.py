# SPDX-License-Identifier: GPL-3.0-or-later
"""The error every reader and changer of the host raises."""


class HostError(Exception):
    """Something on the host prevents the work; the message is one line for the operator."""


class UsageError(HostError):
    """An argument is not usable as given; nothing was read or changed."""


class ConfigError(HostError):
    """An instance file is missing or wrong; nothing was changed."""
