# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module against the real command in a network namespace of the test."""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.testing import patch_module_args

# The daemon's tests own the namespaces; a second copy of them would only drift.
sys.path.insert(0, str(Path(__file__).parents[4] / "files" / "mpquic" / "tests" / "cli_host"))

from host_netns import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = str(Path(sys.executable).parent / "mpquic")


@pytest.fixture
def netns(tmp_path: Path) -> Iterator[Namespace]:
    with closing(Namespace(tmp_path)) as namespace:
        yield namespace


@pytest.fixture
def run(netns: Namespace) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a module in the namespace and returns its result."""

    def call(name: str, /, *, check: bool = False, **options: Any) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.mpquic.tunnel.plugins.modules.{name}")
        options = {"executable": COMMAND, "_ansible_check_mode": check, "_ansible_diff": True, **options}

        def work() -> int:
            with patch_module_args(options):
                module.main()
            return 0

        out = netns.folder / "module-out"
        child = netns.fork(work, out=out, err=netns.folder / "module-err")
        os.waitpid(child, 0)
        found = json.loads(out.read_text())
        assert isinstance(found, dict)
        return found

    return call
