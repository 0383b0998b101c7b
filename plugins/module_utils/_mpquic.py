# Copyright: The mpquic.tunnel maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection.

"""Run the mpquic command of the target and turn what it says into module results."""

from __future__ import annotations

import json
import os
import typing as t

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

OK = 0
DEGRADED = 2

COMMAND_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "executable": {"type": "path", "default": "/usr/local/bin/mpquic"},
}
INSTANCE_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "target": {"type": "str", "default": "all"},
    "instances_dir": {"type": "path", "default": "/etc/mpquic/instances"},
}


class Answer(t.NamedTuple):
    """What the command answered: its exit code (0, or 2 for degraded) and its JSON object."""

    rc: int
    result: dict[str, t.Any]


def installed(module: AnsibleModule) -> bool:
    """Tell whether the target has the command; without it, fail unless in check mode."""
    executable = module.params["executable"]
    found = os.access(executable, os.X_OK)
    if not found and not module.check_mode:
        module.fail_json(msg=f"{executable}: no such command; install it first (role mpquic.tunnel.daemon)")
    return found


def run(module: AnsibleModule, arguments: list[str]) -> Answer:
    """Run a command that may change the target; in check mode it only plans."""
    return ask(module, [*arguments, "--check"] if module.check_mode else arguments)


def ask(module: AnsibleModule, arguments: list[str]) -> Answer:
    """Run a command and read its JSON; its errors fail the module."""
    command = [module.params["executable"], *arguments, "--json"]
    rc, out, err = module.run_command(command)
    if rc not in (OK, DEGRADED):
        lines = [line.removeprefix("mpquic: ") for line in err.strip().splitlines()]
        module.fail_json(msg="; ".join(lines) or f"{command[0]} failed with exit code {rc}", rc=rc, cmd=command)
    try:
        result = json.loads(out)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        module.fail_json(msg=f"{command[0]} answered with something else than a JSON object", rc=rc, cmd=command)
    return Answer(rc, result)


def shows_diff(module: AnsibleModule, found: dict[str, t.Any]) -> bool:
    """Tell whether something changed, or would, and the operator asked to see it."""
    return bool(found["changed"] and module._diff)  # pylint: disable=protected-access # noqa: SLF001


def instance_arguments(module: AnsibleModule) -> list[str]:
    """Return the arguments that choose instances."""
    return [module.params["target"], "--instances", module.params["instances_dir"]]


def conclude(module: AnsibleModule, result: dict[str, t.Any], problems: list[str], *, failed: bool) -> t.NoReturn:
    """End a check or a fix. A fix warns of the problems that remain, and fails with them when a repair has failed."""
    if module.params["mode"] == "fix" and not module.check_mode:
        if failed:
            module.fail_json(msg="; ".join(problems), **result)
        for problem in problems:
            module.warn(problem)
    module.exit_json(**result)
