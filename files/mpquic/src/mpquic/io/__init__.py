# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that touches the kernel for a running tunnel: UDP, TUN, control socket, service manager, names."""
