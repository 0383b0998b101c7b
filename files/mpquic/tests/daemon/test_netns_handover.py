# SPDX-License-Identifier: GPL-3.0-or-later
"""Running daemons handed to new processes while packets pass, in network namespaces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from handing import Flow, hand_over

if TYPE_CHECKING:
    from multiwan import MultiWan
    from wan import Wan

pytestmark = [pytest.mark.netns, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

NONE_LOST = {"client": 0, "server": 0}


@pytest.mark.parametrize("role", ["client", "server"])
def test_nothing_is_lost_when_one_end_is_handed_over(wan: Wan, role: str) -> None:
    wan.bring_up()
    with Flow(wan) as flow:
        code, answer = hand_over(wan, role)
    assert code == 0, (answer, wan.log(role))
    assert flow.lost == NONE_LOST, (flow, wan.log("client"), wan.log("server"))
    print(flow)


@pytest.mark.parametrize("role", ["client", "server"])
def test_nothing_is_lost_over_several_paths(wans: MultiWan, role: str) -> None:
    wans.bring_up()
    with Flow(wans) as flow:
        code, answer = hand_over(wans, role)
    assert code == 0, (answer, wans.log(role))
    assert flow.lost == NONE_LOST, (flow, wans.log("client"), wans.log("server"))
    print(flow)
