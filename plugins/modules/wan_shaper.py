#!/usr/bin/python
# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check or fix the shaper of the WANs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wan_shaper
short_description: Check or fix the shaper of the WANs
version_added: 0.1.0
description:
  - Compares the queueing disciplines and classes of the interfaces with the shaper file, with C(mpquic shaper).
  - Only an HTB with the handle C(6d71:) is ever changed or removed. An interface with another qdisc of an operator's at
    its root is reported and left alone; the others are shaped.
  - A rate, a share or a priority is changed in place, so nothing that waits is lost. An interface that no link wants
    any more gets its default back.
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
  mode:
    description:
      - V(check) only compares, and never reports a change.
      - V(fix) also repairs.
      - Neither fails because an interface is missing or has a qdisc that is not ours; V(fix) fails when a repair does.
    type: str
    choices: [check, fix]
    default: fix
  file:
    description: The shaper file on the target. Where there is none nothing is wanted.
    type: path
    default: /etc/mpquic/shaper.yaml
seealso:
  - module: mpquic.tunnel.lan_routing
"""

EXAMPLES = r"""
- name: Shape the WANs
  mpquic.tunnel.wan_shaper:

- name: Fail when any WAN is not shaped as the inventory says
  mpquic.tunnel.wan_shaper:
    mode: check
  register: shaper
  failed_when: shaper.degraded > 0
"""

RETURN = r"""
degraded:
  description:
    - How many interfaces have problems, V(null) in check mode on a target that does not have the command yet.
    - In check mode these are the problems that the repair would find.
  returned: success
  type: int
  sample: 1
rc:
  description: Exit code of the command, 0 when all is as it should be and 2 when not.
  returned: success
  type: int
  sample: 2
interfaces:
  description: One entry for each interface that is to be shaped, or that has a shaper of ours.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the interface, or the address of which there is none.
      type: str
      returned: always
      sample: enp7s7
    found:
      description: Whether the interface is there.
      type: bool
      returned: always
    links:
      description: Names of the links on it. None where a shaper of ours is not wanted any more.
      type: list
      elements: str
      returned: always
      sample: [mt1]
    ok:
      description: Whether nothing is wrong.
      type: bool
      returned: always
    problems:
      description: What is wrong (after a fix, what remains wrong), each with C(code) and C(message).
      type: list
      elements: dict
      returned: always
      sample: [{"code": "interface_missing", "message": "interface enp7s7 of link mt1 does not exist"}]
    repaired:
      description: What was wrong and is no more.
      type: list
      elements: dict
      returned: always
    actions:
      description: What was done, or in check mode would be done.
      type: list
      elements: str
      returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mpquic.tunnel.plugins.module_utils._mpquic import (
    COMMAND_ARGUMENTS,
    OK,
    Answer,
    conclude,
    installed,
    run,
    shows_diff,
)


def prediction(params: dict[str, t.Any]) -> Answer:
    """Return what will come on a target that does not have the command yet."""
    result = {
        "changed": params["mode"] == "fix",
        "degraded": None,
        "interfaces": [],
        "before": {params["file"]: None},
        "after": {params["file"]: {"links": "shaped as the file says"}},
    }
    return Answer(OK, result)


def difference(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return before and after of the classes that differ, by interface."""
    diff: dict[str, t.Any] = {"before": {}, "after": {}}
    for name, before in result["before"].items():
        after = result["after"][name]
        if before == after:
            continue
        if before is None or after is None:
            diff["before"][name], diff["after"][name] = before, after
            continue
        diff["before"][name] = {key: value for key, value in before.items() if after.get(key) != value}
        diff["after"][name] = {key: value for key, value in after.items() if before.get(key) != value}
    return diff


def remaining(result: dict[str, t.Any]) -> list[dict[str, str]]:
    """Return the problems of all interfaces."""
    return [problem for interface in result["interfaces"] for problem in interface["problems"]]


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "mode": {"type": "str", "choices": ["check", "fix"], "default": "fix"},
            "file": {"type": "path", "default": "/etc/mpquic/shaper.yaml"},
            **COMMAND_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    if installed(module):
        answer = run(module, ["shaper", module.params["mode"], "--file", module.params["file"]])
    else:
        answer = prediction(module.params)
    found = answer.result
    result: dict[str, t.Any] = {
        "changed": found["changed"],
        "rc": answer.rc,
        "degraded": found["degraded"],
        "interfaces": found["interfaces"],
    }
    if shows_diff(module, found):
        result["diff"] = difference(found)
    problems = remaining(found)
    lines = [f"{problem['code']}: {problem['message']}" for problem in problems]
    failed = any(problem["code"] == "fix_failed" for problem in problems)
    conclude(module, result, lines, failed=failed)


if __name__ == "__main__":
    main()
