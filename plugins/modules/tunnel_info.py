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
  - Says of any packet which way it takes through the target, and whether that is as planned, with C(mpquic explain).
  - Sends nothing through a tunnel; M(mpquic.tunnel.tunnel_health) does.
author:
  - The mpquic.tunnel maintainers (@mpquic)
extends_documentation_fragment:
  - mpquic.tunnel._attributes
  - mpquic.tunnel._command
  - mpquic.tunnel._command.instances
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
  explain:
    description:
      - A packet to explain, or a list of packets. It needs root on the target, where the nft table is read.
      - The plan is that of the target, in O(instances_dir) and beside that directory.
      - C(src) and C(dst) are its addresses, IPv4 or IPv6; all other keys are optional.
      - C(proto) is a name such as V(tcp), V(udp) or V(icmp), or a number. C(sport) and C(dport) are its ports.
      - C(dscp) is a name such as V(ef), or a number from 0 to 63; it is 0 when left out.
      - C(iif) is the interface that it comes in by; left out, the target sends it itself.
    type: raw
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

- name: Ask which way a call takes
  mpquic.tunnel.tunnel_info:
    explain:
      src: 172.16.5.2
      dst: 198.51.100.7
      proto: udp
      dport: 5060
      dscp: ef
      iif: enp7s1
  register: way
  failed_when: way is failed or not way.explained[0].as_planned
"""

RETURN = r"""
explained:
  description: One entry for each packet of O(explain), in its order.
  returned: when O(explain) is given and the command is there
  type: list
  elements: dict
  contains:
    packet:
      description: The packet, as O(explain) has it.
      type: dict
      returned: always
    verdict:
      description:
        - V(tunnel) when it enters a tunnel, V(direct) when it leaves by another interface, V(local) when it ends on the
          target, V(dropped) or V(unreachable).
      type: str
      returned: always
      sample: tunnel
    device:
      description: Interface that the route leads to, V(null) without one.
      type: raw
      returned: always
      sample: cr5
    lan:
      description: The rule of the nft table by which the classifier took it up, V(null) when none did.
      type: raw
      returned: always
    class:
      description: Class that the live mark names, V(null) without one.
      type: raw
      returned: always
      sample: cr5
    match:
      description: The match that decided, V(null) when nothing was marked.
      type: raw
      returned: always
      sample: cr5.match[0]
    mark:
      description: Mark of the packet after the classifier.
      type: int
      returned: always
      sample: 1114112
    rule:
      description: The rule that decides, as C(priority), C(table) and C(text); V(null) when no rule does.
      type: raw
      returned: always
    route:
      description: The route, as C(kind), C(device), C(gateway), C(table), C(metric) and C(text); V(null) without one.
      type: raw
      returned: always
    tunnel:
      description:
        - The tunnel, as C(id), C(role), C(tun), C(state), C(reason), C(since_s), C(peer); V(null) without one.
        - A multipath tunnel has C(paths) as well, each with C(name), C(state), C(bind), C(local) and C(remote).
      type: raw
      returned: always
    wan:
      description:
        - Where the tunnel's packets leave, as C(interface), C(local), C(remote), C(outer_dscp), C(tc_class) and
          C(tc_name); V(null) without a tunnel, and for a multipath tunnel, whose daemon decides flow by flow.
      type: raw
      returned: always
    flow:
      description:
        - The flow of these addresses and ports that the kernel already knows, as C(mark), C(class), C(direction) and
          C(device). It keeps its class. V(null) when there is none.
      type: raw
      returned: always
    planned:
      description:
        - What the plan has for the packet, as C(why), C(tun), C(instance), C(link), C(lan), C(class), C(match),
          C(mark), C(priority) and C(table); V(null) when no tunnel is to take it.
      type: raw
      returned: always
    as_planned:
      description: Whether RV(explained[].differences) is empty.
      type: bool
      returned: always
      sample: true
    certain:
      description: Whether RV(explained[].uncertain) is empty.
      type: bool
      returned: always
      sample: true
    steps:
      description: The way in words, as C(step) and C(text).
      type: list
      elements: dict
      returned: always
    differences:
      description: What is not as planned, or keeps the packet from arriving, as C(code) and C(message).
      type: list
      elements: dict
      returned: always
    uncertain:
      description: What was not understood, and where the kernel's own answer is another one.
      type: list
      elements: str
      returned: always
    notes:
      description: What else to know, such as what was not given of the packet.
      type: list
      elements: str
      returned: always
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
    paths:
      description:
        - The paths of a client of several WANs, in the order of its configuration.
        - Each also has C(number), C(priority), C(weight), C(bind), C(local), C(remote), C(session), C(since_s),
          C(peer_state), C(peer_loss), C(datagram), C(rate_bps), C(held_to_bps), C(drops), C(switches), C(tx_err),
          C(rx_err) and the counters of packets and bytes, every copy counted.
      type: list
      elements: dict
      returned: when the tunnel goes over several WANs
      contains:
        name:
          description: Name of the path; C(/2) follows that of its second connection.
          type: str
          returned: always
          sample: wan1
        state:
          description: V(connecting), V(up), V(probation), V(lossy), V(suspect) or V(down).
          type: str
          returned: always
          sample: up
        reason:
          description: Why it is in that state.
          type: str
          returned: always
          sample: connected
        rtt_ms:
          description: Smoothed round trip in milliseconds, V(null) when it has no connection.
          type: raw
          returned: always
          sample: 31.2
        loss:
          description: Share of the packets sent by this end that were lost lately, 0 to 1.
          type: float
          returned: always
          sample: 0.0
        consecutive_fails:
          description: Failures that were not yet forgotten, 0 to 6.
          type: int
          returned: always
          sample: 0
        last_up:
          description: When it last came up (RFC 3339), V(null) for never. Likewise C(last_down).
          type: raw
          returned: always
          sample: "2026-01-01T00:00:00Z"
    classes:
      description:
        - The classes of traffic of a client of several WANs, each with C(name), C(policy), C(tx_packets), C(tx_bytes),
          C(tx_err), C(tx_dups) (copies sent), C(rx_packets) and C(rx_dups) (copies received).
      type: list
      elements: dict
      returned: when the tunnel goes over several WANs
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
        - One that comes by several paths has C(paths) and C(classes) as RV(instances[].paths) and
          RV(instances[].classes).
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
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.mpquic.tunnel.plugins.module_utils._mpquic import (
    COMMAND_ARGUMENTS,
    INSTANCE_ARGUMENTS,
    ask,
    installed,
)

PACKET_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "src": {"type": "str", "required": True},
    "dst": {"type": "str", "required": True},
    "proto": {"type": "str"},
    "sport": {"type": "int"},
    "dport": {"type": "int"},
    "dscp": {"type": "str"},
    "iif": {"type": "str"},
}


def packets(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """Return the packets to explain, checked."""
    given = module.params["explain"]
    if given is None:
        return []
    found = []
    for number, packet in enumerate(given if isinstance(given, list) else [given]):
        place = f"explain[{number}]" if isinstance(given, list) else "explain"
        if not isinstance(packet, dict):
            module.fail_json(
                msg=f"{place}: found {packet!r}, expected a mapping such as {{src: ADDRESS, dst: ADDRESS}}"
            )
        checked = ArgumentSpecValidator(PACKET_ARGUMENTS).validate(packet)
        if checked.error_messages:
            module.fail_json(msg="; ".join(f"{place}: {message}" for message in checked.error_messages))
        found.append(checked.validated_parameters)
    return found


def explained(module: AnsibleModule, packet: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what the command says of one packet."""
    arguments = ["explain", "--instances", module.params["instances_dir"]]
    # In one word each, so that a value never reads as an option.
    arguments += [f"--{name}={packet[name]}" for name in PACKET_ARGUMENTS if packet.get(name) is not None]
    return ask(module, arguments).result


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"explain": {"type": "raw"}, **INSTANCE_ARGUMENTS, **COMMAND_ARGUMENTS},
        supports_check_mode=True,
    )
    wanted = packets(module)
    if not installed(module):
        module.exit_json(changed=False, instances=[])
    found = ask(module, ["status", module.params["target"]]).result
    more = {} if module.params["explain"] is None else {"explained": [explained(module, packet) for packet in wanted]}
    module.exit_json(changed=False, instances=found["instances"], **more)


if __name__ == "__main__":
    main()
