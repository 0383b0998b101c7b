# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/architecture.md says what every module of the core is for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[4]
CORE = ROOT / "files/mpquic/src/mpquic/core"


def test_every_module_of_the_core_has_its_place() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.split("\n## Inside the core\n")[1].split("\n## ")[0]
    alone, several = section.split("| in `core/multipath` | |")
    several += "".join(f"`{name}`" for name in re.findall(r"`multipath/(\w+\.py)`", alone))
    alone += "".join(f"`{name}`" for name in re.findall(r"`core/(\w+\.py)`", alone))
    folders = {CORE: alone, CORE / "multipath": several}
    missing = [
        str(module.relative_to(CORE))
        for folder, text in folders.items()
        for module in sorted(folder.glob("[!_]*.py"))
        if f"`{module.name}`" not in text
    ]
    assert not missing
