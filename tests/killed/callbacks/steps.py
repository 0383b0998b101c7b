# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells, in the file that KILLED_STEPS names, which task of a play begins: one line for each, its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Writes a line when a task begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "steps"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: FBT001
        """Write the name of the task."""
        del is_conditional
        with Path(os.environ["KILLED_STEPS"]).open("a", encoding="utf-8") as file:
            file.write(f"{task.get_name().strip()}\n")
