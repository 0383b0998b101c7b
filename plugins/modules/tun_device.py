#!/usr/bin/python
# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Create, change or remove a persistent TUN device."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tun_device
short_description: Create, change or remove a persistent TUN device
version_added: 0.1.0
description:
  - Brings one persistent layer 3 TUN device to the wanted state with C(mpquic tun ensure).
  - Changes only what differs. A live device is never set down and never recreated, so no route through it moves.
  - A name that belongs to anything but a persistent TUN is an error, and nothing is changed.
author:
  - The mpquic.tunnel maintainers (@mpquic)
extends_documentation_fragment:
  - mpquic.tunnel._attributes
  - mpquic.tunnel._command
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the device, 1 to 15 characters.
    type: str
    required: true
  state:
    description:
      - Whether the device should exist.
      - V(absent) removes only a device that C(mpquic) made or took over (its alias is C(mpquic)).
    type: str
    choices: [present, absent]
    default: present
  cidr:
    description:
      - The device's own IPv4 address with prefix length. Other IPv4 addresses of the device are removed.
      - Required when O(state=present).
    type: str
  cidr6:
    description:
      - The device's own IPv6 address with prefix length. Other IPv6 addresses of the device are removed, but for
        link-local ones.
      - If not given or empty, the device has no IPv6 address.
      - Needs an MTU of 1280 or more. While a daemon holds the device at a lower one, the address is left out.
    type: str
  mtu:
    description:
      - MTU in bytes, 576 to 65535.
      - If not given, an existing device keeps its own and a new one gets 1300.
      - A lower one of a device that a daemon holds is left alone, because the daemon fits it to the path.
    type: int
  owner:
    description:
      - User that may attach to the device.
      - If not given, C(mpquic) where that user exists, else C(root).
      - The owner of a device can change only while no program is attached to it.
    type: str
seealso:
  - module: mpquic.tunnel.lan_routing
"""

EXAMPLES = r"""
- name: Have the TUN of tunnel 4
  mpquic.tunnel.tun_device:
    name: mpq4
    cidr: 10.200.4.1/30
    mtu: 1300
    owner: mpquic

- name: Have the TUN of a traffic class, with IPv6
  mpquic.tunnel.tun_device:
    name: cr5
    cidr: 10.200.10.1/32
    cidr6: fd6d:7071:10::1/128
    mtu: 1441

- name: Remove the TUN of a tunnel that is no longer there
  mpquic.tunnel.tun_device:
    name: mpq4
    state: absent
"""

RETURN = r"""
device:
  description: The device after the module ran, or V(null) when it is absent.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the device.
      type: str
      returned: always
      sample: mpq4
    owner:
      description: User that may attach to it.
      type: str
      returned: always
      sample: mpquic
    addresses:
      description: Its addresses with prefix length, without link-local ones.
      type: list
      elements: str
      returned: always
      sample: ["10.200.4.1/30"]
    mtu:
      description: MTU in bytes.
      type: int
      returned: always
      sample: 1300
    up:
      description: Whether it is administratively up.
      type: bool
      returned: always
      sample: true
    alias:
      description: The alias that marks it as made by C(mpquic).
      type: str
      returned: when the command is installed
      sample: mpquic
    queue_length:
      description: Packets that may wait for the daemon.
      type: int
      returned: when the command is installed
      sample: 100
    settings:
      description: Kernel settings of the device, by family and name.
      type: dict
      returned: when the command is installed
      sample: {"ipv4/rp_filter": 2}
actions:
  description: What was done, or in check mode would be done.
  returned: success
  type: list
  elements: str
  sample: ["add 10.200.4.1/30 to mpq4"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mpquic.tunnel.plugins.module_utils._mpquic import (
    COMMAND_ARGUMENTS,
    installed,
    run,
    shows_diff,
)

NEW_DEVICE_MTU = 1300


def arguments(params: dict[str, t.Any]) -> list[str]:
    """Return the command line that stands for the options."""
    words = ["tun", "ensure", "--name", params["name"], "--state", params["state"]]
    if params["state"] == "present":
        for option in ("cidr", "cidr6", "mtu", "owner"):
            if params[option] not in (None, ""):
                words += [f"--{option}", str(params[option])]
    return words


def prediction(params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what will come on a target that does not have the command yet."""
    if params["state"] == "absent":
        return {"changed": False, "before": None, "after": None, "actions": []}
    after = {
        "name": params["name"],
        "owner": params["owner"] or "mpquic",
        "addresses": [address for address in (params["cidr"], params["cidr6"]) if address],
        "mtu": params["mtu"] or NEW_DEVICE_MTU,
        "up": True,
    }
    return {"changed": True, "before": None, "after": after, "actions": [f"create TUN {params['name']}"]}


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "cidr": {"type": "str"},
            "cidr6": {"type": "str"},
            "mtu": {"type": "int"},
            "owner": {"type": "str"},
            **COMMAND_ARGUMENTS,
        },
        required_if=[("state", "present", ["cidr"])],
        supports_check_mode=True,
    )
    found = run(module, arguments(module.params)).result if installed(module) else prediction(module.params)
    result: dict[str, t.Any] = {"changed": found["changed"], "device": found["after"], "actions": found["actions"]}
    if shows_diff(module, found):
        result["diff"] = {"before": found["before"] or {}, "after": found["after"] or {}}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
