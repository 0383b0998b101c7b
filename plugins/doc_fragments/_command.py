# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection.

"""Options of the modules that run the mpquic command."""

from __future__ import annotations


class ModuleDocFragment:
    """The command and the instances it works on."""

    DOCUMENTATION = r"""
options:
  executable:
    description:
      - The C(mpquic) command on the target.
      - Where it is not installed yet, the module says in check mode what it can know of what will come.
      - Outside check mode it fails.
    type: path
    default: /usr/local/bin/mpquic
requirements:
  - The C(mpquic) command, which the role P(mpquic.tunnel.daemon#role) installs.
"""

    INSTANCES = r"""
options:
  target:
    description: Id of one instance, or V(all).
    type: str
    default: all
  instances_dir:
    description: Directory of the instance files, one C(ID.yaml) per tunnel end.
    type: path
    default: /etc/mpquic/instances
"""
