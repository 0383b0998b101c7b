# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: a dead man's switch around changes that could cut the connection they come over.

Armed, the host keeps a picture of itself (`snapshot`) and goes back to it alone (`restore`) unless somebody confirms in
time over a new connection (`switch`).
"""
