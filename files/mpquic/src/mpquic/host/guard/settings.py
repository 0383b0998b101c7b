# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel settings that decide whether and how the host forwards, and those that the roles write."""

from __future__ import annotations

from pathlib import Path

from mpquic.host.guard.report import Report
from mpquic.host.steps import reason

_ROOT = Path("/proc/sys/net")
#: In the order to write them: one for all interfaces changes those of each.
_PATTERNS = (
    "core/[rw]mem_max",
    "ipv4/ip_forward",
    "ipv4/conf/all/rp_filter",
    "ipv4/conf/*/rp_filter",
    "ipv4/conf/*/forwarding",
    "ipv6/conf/all/forwarding",
    "ipv6/conf/all/disable_ipv6",
    "ipv6/conf/*/forwarding",
    "ipv6/conf/*/disable_ipv6",
    "ipv6/conf/*/accept_ra",
)


def read() -> dict[str, str]:
    """Return the settings by path below ``net``; those that cannot be read are left out."""
    found = {}
    for path in dict.fromkeys(path for pattern in _PATTERNS for path in sorted(_ROOT.glob(pattern))):
        try:
            found[str(path.relative_to(_ROOT))] = path.read_text(encoding="ascii").strip()
        except OSError:  # its interface went, or a container may not see it
            continue
    return found


def restore(wanted: dict[str, str]) -> Report:
    """Write the settings that differ; those of interfaces that are gone are nobody's."""
    report = Report()
    for name, value in wanted.items():
        path = _ROOT / name
        try:
            if path.read_text(encoding="ascii").strip() == value:
                continue
        except OSError:
            continue
        text = f"set net/{name} back to {value}"
        try:
            path.write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            report.failed.append(f"{text}: {reason(error)}")
        else:
            report.done.append(text)
    return report
