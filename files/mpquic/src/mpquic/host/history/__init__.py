# SPDX-License-Identifier: GPL-3.0-or-later
"""History on the host (docs/history.md) and what metered WANs have used (docs/quota.md).

The `recorder` asks the daemons how they are (`figures`, `changes`), reads what other programs did (`told`), counts what
WANs carry (`wan`, `counting`, `billing`) and keeps all of it in the `store`, of which `salvage` saves what it can when
it is damaged. `query` answers from the store, `usage` says what WANs have used.
"""
