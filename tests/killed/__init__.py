# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the controller at every task of site.yml in turn: the site comes back, and the next run converges."""
