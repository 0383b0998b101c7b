# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells, in the file that KILLED_STEPS names, which task of a play begins, and which does something to a host.

One line each: "task NAME", and "acts" after the task that changes something or speaks to the guard.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Writes a line when a task begins, and when it acts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "steps"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: FBT001
        """Write the name of the task."""
        del is_conditional
        self._write(f"task {task.get_name().strip()}")

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Write the name of the handler."""
        self._write(f"task {task.get_name().strip()}")

    def v2_runner_on_ok(self, result: Any) -> None:
        """Write that the task acts; to arm and to confirm the guard is no change of the host, but matters here."""
        role = getattr(result._task, "_role", None)
        guard = role is not None and role.get_name().endswith("guard") and result._task.action.endswith("command")
        if result._result.get("changed") or guard:
            self._write("acts")

    def _write(self, line: str) -> None:
        with Path(os.environ["KILLED_STEPS"]).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
