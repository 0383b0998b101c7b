# SPDX-License-Identifier: GPL-3.0-or-later
"""Assembly: configuration, core, QUIC and the kernel, into one running instance."""
