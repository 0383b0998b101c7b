#!/usr/bin/python
# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Send packets through tunnels, say which are healthy and why not, and recover them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tunnel_health
short_description: Send packets through tunnels, and recover those that do not carry them
version_added: 0.1.0
description:
  - Sends ICMP echo requests through every tunnel at the same time, with C(mpquic health). A tunnel is healthy when they
    come back and nothing is wrong with its WAN, TUN, rules, routes, unit or daemon.
  - A server of many peers (C(multi_conn_enabled)) is healthy when its daemon listens and nothing of its own is wrong. A
    client that is switched off does not make it unhealthy.
  - Does not fail because a tunnel is not healthy, so that a task can use C(until), or assert what matters to it.
author:
  - The mpquic.tunnel maintainers (@mpquic)
extends_documentation_fragment:
  - mpquic.tunnel._attributes
  - mpquic.tunnel._command
  - mpquic.tunnel._command.instances
attributes:
  check_mode:
    support: full
    details: The echo requests are sent in check mode too; only the recovery is not done.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: A tunnel that stays dead, because its peer is, is restarted by every recovery.
options:
  role:
    description: Look only at instances of this role; V(auto) means every instance of the target.
    type: str
    choices: [auto, client, server]
    default: auto
  recover:
    description:
      - Whether to recover tunnels that are not healthy. First TUN, rules and routes are repaired; then the unit is
        restarted if it is inactive, or if a client's packets still do not cross.
      - A client whose WAN has no carrier or no IPv4 address is reported and not restarted.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the last reply. Dead tunnels cost this once, not once each.
    type: float
    default: 2
  patience:
    description: Seconds to wait for packets to cross a restarted tunnel.
    type: float
    default: 15
seealso:
  - module: mpquic.tunnel.lan_routing
  - module: mpquic.tunnel.tunnel_info
"""

EXAMPLES = r"""
- name: Wait until every tunnel carries packets
  mpquic.tunnel.tunnel_health:
  register: health
  until: health.healthy
  retries: 10
  delay: 2

- name: Recover what is sick
  mpquic.tunnel.tunnel_health:
    role: client
    recover: true
  register: health

- name: Say why
  ansible.builtin.assert:
    that: health.healthy
    fail_msg: "{{ health.tunnels | rejectattr('healthy') | map(attribute='reasons') | list }}"
"""

RETURN = r"""
healthy:
  description: Whether every tunnel is healthy.
  returned: success
  type: bool
  sample: false
degraded:
  description: How many are not, V(null) in check mode on a target that does not have the command yet.
  returned: success
  type: int
  sample: 1
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
    wan:
      description: The interface or address that it is bound to, or those of its paths with commas between them.
      type: str
      returned: always
      sample: enp7s6
    peer:
      description: The address that was probed, V(null) where there is no single peer.
      type: str
      returned: always
      sample: 10.200.4.2
    healthy:
      description: Whether it is healthy.
      type: bool
      returned: always
    rtt_ms:
      description: Shortest round trip through the tunnel in milliseconds, V(null) if nothing came back.
      type: float
      returned: always
      sample: 31.2
    loss:
      description: Share of echo requests without a reply, 0 to 1.
      type: float
      returned: always
      sample: 0.0
    unit:
      description: State of its systemd unit, V(null) on a host without systemd.
      type: str
      returned: always
      sample: active
    state:
      description: What its daemon says, V(null) if it does not answer.
      type: str
      returned: always
      sample: up
    peers:
      description: How many peers of a server of many are C(up) of how many (C(total)), else V(null).
      type: dict
      returned: always
      sample: {"up": 2, "total": 3}
    paths:
      description: How many paths of a tunnel over several WANs are C(up) of how many (C(total)), else V(null).
      type: dict
      returned: always
      sample: {"up": 2, "total": 3}
    reasons:
      description: Why it is not healthy (after a recovery, still not), each with C(code) and C(message).
      type: list
      elements: dict
      returned: always
      sample: [{"code": "wan_no_carrier", "message": "WAN interface enp7s6 has no carrier"}]
    found:
      description: Why it was not healthy before the recovery.
      type: list
      elements: dict
      returned: always
    actions:
      description: What the recovery did, or in check mode would do.
      type: list
      elements: str
      returned: always
      sample: ["restart mpquic@4.service"]
    notes:
      description: What is no fault of this end, each with C(code) and C(message). Empty but for the timer.
      type: list
      elements: dict
      returned: always
    restarts:
      description: What the timer remembers of restarts, else V(null).
      type: dict
      returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mpquic.tunnel.plugins.module_utils._mpquic import (
    COMMAND_ARGUMENTS,
    INSTANCE_ARGUMENTS,
    installed,
    instance_arguments,
    run,
    shows_diff,
)


def arguments(module: AnsibleModule) -> list[str]:
    """Return the command line that stands for the options."""
    params = module.params
    words = ["health", "fix" if params["recover"] else "check", *instance_arguments(module)]
    if params["role"] != "auto":
        words += ["--role", params["role"]]
    return [*words, "--timeout", str(params["timeout"]), "--patience", str(params["patience"])]


def difference(found: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what was wrong before and what the recovery made of it, for the tunnels it touched."""
    diff: dict[str, t.Any] = {"before": {}, "after": {}}
    for tunnel in found["tunnels"]:
        if tunnel["actions"]:
            name = f"tunnel {tunnel['id']}"
            diff["before"][name] = {"wrong": texts(tunnel["found"])}
            diff["after"][name] = {"done": tunnel["actions"], "wrong": texts(tunnel["reasons"])}
    return diff


def foreseen(diff: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the difference of a check: what would be done, and not what remains, which nobody knows before."""
    return {**diff, "after": {name: {"would be done": state["done"]} for name, state in diff["after"].items()}}


def texts(reasons: list[dict[str, str]]) -> list[str]:
    """Return reasons as lines."""
    return [f"{reason['code']}: {reason['message']}" for reason in reasons]


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "choices": ["auto", "client", "server"], "default": "auto"},
            "recover": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 2},
            "patience": {"type": "float", "default": 15},
            **INSTANCE_ARGUMENTS,
            **COMMAND_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    if not installed(module):
        module.exit_json(changed=False, healthy=False, degraded=None, tunnels=[])
    found = run(module, arguments(module)).result
    result: dict[str, t.Any] = {key: found[key] for key in ("changed", "healthy", "degraded", "tunnels")}
    if shows_diff(module, found):
        result["diff"] = foreseen(difference(found)) if module.check_mode else difference(found)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
