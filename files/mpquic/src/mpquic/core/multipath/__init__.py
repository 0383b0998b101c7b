# SPDX-License-Identifier: GPL-3.0-or-later
"""One tunnel over several paths: which packet takes which, and what becomes of them at the other end."""
