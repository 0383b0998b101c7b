#!/usr/bin/python
# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Return what the running instances say of themselves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tunnel_info
short_description: Return states, sessions and counters of the running tunnels
version_added: 0.1.0
description:
  - Asks every instance that has been started on the target, with C(mpquic status).
  - Sends nothing through a tunnel; M(mpquic.tunnel.tunnel_health) does.
author:
  - The mpquic.tunnel maintainers (@mpquic)
extends_documentation_fragment:
  - mpquic.tunnel._attributes
  - mpquic.tunnel._command
attributes:
  check_mode:
    support: full
    details: Changes nothing.
  diff_mode:
    support: N/A
    details: Changes nothing.
  idempotent:
    support: full
    details: Changes nothing.
options:
  target:
    description: Id of one instance, or V(all).
    type: str
    default: all
seealso:
  - module: mpquic.tunnel.tunnel_health
"""

EXAMPLES = r"""
- name: Read the tunnels
  mpquic.tunnel.tunnel_info:
  register: tunnels

- name: Show which are up, and their sessions
  ansible.builtin.debug:
    msg: "{{ tunnels.instances | selectattr('state', 'eq', 'up') | items2dict(key_name='id', value_name='session') }}"
"""

RETURN = r"""
instances:
  description:
    - One entry for each instance that has been started. One that does not answer has only C(id), C(state), C(reason).
    - Empty in check mode on a target that does not have the command yet.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the instance.
      type: str
      returned: always
      sample: "4"
    state:
      description:
        - V(up) when packets can cross. V(waiting), V(connecting) or V(listening) before that, V(down) when the instance
          does not answer.
      type: str
      returned: always
      sample: up
    reason:
      description: Why it is in that state.
      type: str
      returned: always
      sample: connected
    role:
      description: V(client) or V(server).
      type: str
      returned: when it answers
      sample: client
    since_s:
      description: Seconds in that state.
      type: float
      returned: when it answers
      sample: 86400.2
    session:
      description: Id of the QUIC session, V(null) when there is none.
      type: raw
      returned: when it answers
    connects:
      description: How many sessions there have been since the instance started.
      type: int
      returned: when it answers
      sample: 1
    tun:
      description: Its TUN device.
      type: str
      returned: when it answers
      sample: mpq4
    mtu:
      description: MTU that its TUN device has now, V(null) when there is none.
      type: raw
      returned: when it answers
      sample: 1441
    datagram:
      description: Bytes of UDP payload that the path carries, V(null) when the tunnel is not up.
      type: raw
      returned: when it answers
      sample: 1472
    local:
      description: Own UDP address, V(null) when there is no socket.
      type: str
      returned: when it answers
      sample: 192.0.2.17:41300
    remote:
      description: UDP address of the peer, V(null) when there is none.
      type: str
      returned: when it answers
      sample: 203.0.113.1:45004
    rtt_ms:
      description: Smoothed round trip of the QUIC connection in milliseconds.
      type: float
      returned: when it answers
      sample: 31.2
    key_updates:
      description: Key updates of the present QUIC connection.
      type: int
      returned: when it answers
      sample: 17
    tx_packets:
      description: Packets sent into the tunnel. Likewise C(rx_packets), C(tx_bytes) and C(rx_bytes).
      type: int
      returned: when it answers
      sample: 1300
    config:
      description: SHA-256 of the instance file it runs, in hex.
      type: str
      returned: when it answers
    identity:
      description: Fingerprint of the key that it shows, V(null) without one.
      type: raw
      returned: when it answers
      sample: sha256:3f1c9e0b7a6d5e4f8c2b1a09d8e7f6c5b4a3928170f6e5d4c3b2a19080f7e6d5
    peers:
      description:
        - Those that may connect.
        - Each has C(remote), C(rtt_ms), C(since_s), C(session), C(connects), C(drops) and the counters of packets and
          bytes as the instance has them.
      type: list
      elements: dict
      returned: when a server answers
      contains:
        name:
          description: Name of the peer.
          type: str
          returned: always
          sample: client1
        address:
          description: Its address inside the tunnel.
          type: str
          returned: always
          sample: 10.200.4.1
        state:
          description: V(up) when it is connected.
          type: str
          returned: always
          sample: up
        key:
          description: Fingerprint of the key that it proved, V(null) when it is not connected or has none.
          type: raw
          returned: always
        legacy:
          description: Whether it speaks the protocol of the Go implementation, which knows no client keys.
          type: bool
          returned: always
          sample: false
    drops:
      description: Dropped packets by reason.
      type: dict
      returned: when it answers
      sample: {}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mpquic.tunnel.plugins.module_utils._mpquic import COMMAND_ARGUMENTS, ask, installed


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"target": {"type": "str", "default": "all"}, **COMMAND_ARGUMENTS},
        supports_check_mode=True,
    )
    if not installed(module):
        module.exit_json(changed=False, instances=[])
    found = ask(module, ["status", module.params["target"]]).result
    module.exit_json(changed=False, instances=found["instances"])


if __name__ == "__main__":
    main()
