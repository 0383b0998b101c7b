# SPDX-License-Identifier: GPL-3.0-or-later
"""A running instance handed to a new process of the present release, without a pause (docs/handover.md)."""
