# SPDX-License-Identifier: GPL-3.0-or-later
"""How large the policy is that a client tells its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpquic.config.dataplane import Classifier
    from mpquic.config.multipath import Multipath
    from mpquic.config.prefixes import IPNetwork

#: Of a policy on the wire (bytes, docs/protocol.md).
MAX_SIZE = 8192
#: Paths, each of its connections counted, times classes: how much there is to decide whenever a path changes.
MAX_PAIRS = 1024


def faults(multipath: Multipath) -> Iterator[str]:
    """Yield a line for everything in which the policy may be too large for a server."""
    connections, classes = sum(path.connections for path in multipath.paths), len(multipath.dataplane.classes)
    if connections * classes > MAX_PAIRS:
        yield (
            f"multipath_paths: found {connections} connections, and {classes} classes, "
            f"expected a product of at most {MAX_PAIRS}"
        )
    found = bound(multipath)
    if found > MAX_SIZE:
        yield (
            f"dataplane: found about {found} bytes of paths, classes and classifiers, expected at most {MAX_SIZE}, "
            "which is what a server takes: fewer of them, or shorter names and lists"
        )


def bound(multipath: Multipath) -> int:
    """Return the largest number of bytes that the policy can have on the wire (docs/protocol.md, POLICY).

    A variable-length integer counts with the bytes of the largest value that is allowed there.
    """
    connections = {path.name: path.connections for path in multipath.paths}
    # Generation, numbers of paths, classes and rules, default class.
    total = 8 + 2 + 1 + 1 + 2
    for path in multipath.paths:
        # Number, link, priority, weight, rate, length of the name; names of connections end in a number.
        total += path.connections * (1 + 1 + 4 + 2 + 8 + 1 + len(path.name) + 2 * (path.connections > 1))
    for name, found in multipath.dataplane.classes.items():
        # Length of the name, policy, flags, copies, numbers of paths.
        total += 1 + len(name) + 1 + 1 + 1 + 1 + 1
        total += sum(connections[path] for path in (*found.preferred_paths, *found.excluded_paths))
    return total + sum(map(_rule, multipath.dataplane.classifiers))


def _rule(rule: Classifier) -> int:
    values = len(rule.protocol) + len(rule.dscp) + 4 * (len(rule.src_ports) + len(rule.dst_ports))
    # The class, and how many there are of each of six.
    return 1 + 6 + values + sum(map(_prefix, (*rule.src_cidrs, *rule.dst_cidrs)))


def _prefix(prefix: IPNetwork) -> int:
    """IP version, address, length (RFC 9484 section 4.7.1)."""
    return 1 + prefix.max_prefixlen // 8 + 1
