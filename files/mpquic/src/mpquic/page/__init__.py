# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page of a host (docs/page.md), which changes nothing.

``looks`` asks the daemons, ``site`` makes a picture of what they say, ``day`` reads the last 24 hours from the history;
``serve`` offers it with the files in ``assets`` to whoever knows the ``password``, over TLS with a ``certificate``.
"""
