# SPDX-License-Identifier: GPL-3.0-or-later
"""What the instances of a host count, for Prometheus: one table of metrics, and all that follows from it.

``table`` says what there is; ``collector`` fills it from what the daemons (``sources``) and files of the host
(``host``) say, within ``bounds``; ``serve`` offers it. Rules, dashboard and documentation are made from the same table.
"""
