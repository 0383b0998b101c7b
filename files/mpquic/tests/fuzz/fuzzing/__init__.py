# SPDX-License-Identifier: GPL-3.0-or-later
"""Random and mutated inputs for everything that reads what somebody else wrote."""
