#!/usr/bin/python
# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check or fix rules and routes from the LAN into the tunnels."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lan_routing
short_description: Check or fix rules and routes from the LAN into the tunnels
version_added: 0.1.0
description:
  - Compares the TUN devices, policy rules and routes of the target with its instance files, with C(mpquic routing).
  - Only objects that carry the routing protocol number 109 are ever changed or removed. A foreign rule or route that
    takes the traffic first is reported and left alone.
  - Repairs in an order that never lets LAN traffic leave outside its tunnel.
author:
  - The mpquic.tunnel maintainers (@mpquic)
extends_documentation_fragment:
  - mpquic.tunnel._attributes
  - mpquic.tunnel._command
  - mpquic.tunnel._command.instances
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
      - V(fix) also repairs. With one instance as O(target) nothing of another instance is touched; with V(all), objects
        of instances that no longer exist are removed too.
      - Neither fails because a tunnel is degraded; V(fix) fails when a repair does.
    type: str
    choices: [check, fix]
    default: fix
seealso:
  - module: mpquic.tunnel.tunnel_health
"""

EXAMPLES = r"""
- name: Route every LAN into its tunnel
  mpquic.tunnel.lan_routing:

- name: Repair tunnel 4 alone
  mpquic.tunnel.lan_routing:
    mode: fix
    target: "4"

- name: Fail when any LAN is not routed into its tunnel
  mpquic.tunnel.lan_routing:
    mode: check
  register: routing
  failed_when: routing.degraded > 0
"""

RETURN = r"""
degraded:
  description:
    - How many tunnels have problems, V(null) in check mode on a target that does not have the command yet.
    - In check mode these are the problems that the repair would find.
  returned: success
  type: int
  sample: 1
rc:
  description: Exit code of the command, 0 when all is as it should be and 2 when not.
  returned: success
  type: int
  sample: 2
tunnels:
  description: One entry for each instance.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the instance.
      type: str
      returned: always
      sample: "4"
    role:
      description: V(client) or V(server).
      type: str
      returned: always
      sample: client
    tun:
      description: Its TUN device.
      type: str
      returned: always
      sample: mpq4
    lan:
      description: Its LAN, with C(interface), C(cidrs) and for a traffic class the C(mark) of its packets.
      type: dict
      returned: always
    table:
      description: Its routing table, a number or V(main).
      type: raw
      returned: always
      sample: 45004
    priority:
      description: Priority of its rules, V(null) on a server.
      type: int
      returned: always
      sample: 504
    ok:
      description: Whether nothing is wrong.
      type: bool
      returned: always
    problems:
      description: What is wrong (after a fix, what remains wrong), each with C(code) and C(message).
      type: list
      elements: dict
      returned: always
      sample: [{"code": "rule_missing", "message": "no '504: from 172.16.4.0/30 iif enp6s23 lookup 45004'"}]
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
stale:
  description: Objects of C(mpquic) that belong to no instance. Looked for only when O(target=all).
  returned: success
  type: list
  elements: str
  sample: ["rule 507: from 172.16.7.0/30 iif enp7s9 lookup 45007"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mpquic.tunnel.plugins.module_utils._mpquic import (
    COMMAND_ARGUMENTS,
    INSTANCE_ARGUMENTS,
    OK,
    Answer,
    conclude,
    installed,
    instance_arguments,
    run,
    shows_diff,
)


def prediction(params: dict[str, t.Any]) -> Answer:
    """Return what will come on a target that does not have the command yet."""
    fixing = params["mode"] == "fix"
    after = {"tunnels": {params["target"]: "TUN, rules and routes of the instance files"}, "stale": []}
    before = {"tunnels": {params["target"]: None}, "stale": []}
    result = {"changed": fixing, "degraded": None, "tunnels": [], "stale": [], "before": before, "after": after}
    return Answer(OK, result)


def difference(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return before and after of those tunnels that differ, in the operator's terms."""
    before, after = result["before"], result["after"]
    names = [name for name, state in before["tunnels"].items() if state != after["tunnels"].get(name)]
    diff = {}
    for side, states in (("before", before), ("after", after)):
        diff[side] = {f"tunnel {name}": states["tunnels"].get(name) for name in names}
        if before["stale"] != after["stale"]:
            diff[side]["of no instance"] = states["stale"]
    return diff


def remaining(result: dict[str, t.Any]) -> list[str]:
    """Return the problems of all tunnels and of what belongs to none, one line each."""
    groups = [(f"tunnel {tunnel['id']}", tunnel["problems"]) for tunnel in result["tunnels"]]
    groups.append(("of no instance", result.get("stale_failures", [])))
    return [f"{name}: {problem['code']}: {problem['message']}" for name, found in groups for problem in found]


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "mode": {"type": "str", "choices": ["check", "fix"], "default": "fix"},
            **INSTANCE_ARGUMENTS,
            **COMMAND_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    if installed(module):
        answer = run(module, ["routing", module.params["mode"], *instance_arguments(module)])
    else:
        answer = prediction(module.params)
    found = answer.result
    result: dict[str, t.Any] = {
        "changed": found["changed"],
        "rc": answer.rc,
        "degraded": found["degraded"],
        "tunnels": found["tunnels"],
        "stale": found["stale"],
    }
    if shows_diff(module, found):
        result["diff"] = difference(found)
    problems = remaining(found)
    failed = any(" fix_failed: " in problem for problem in problems)
    conclude(module, result, problems, failed=failed)


if __name__ == "__main__":
    main()
