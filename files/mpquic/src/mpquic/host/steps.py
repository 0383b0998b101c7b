# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan is a list of steps; each knows how to be done and undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpquic.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpquic.host.netlink import Kernel


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the host; `text` says it to the operator, `undo` takes it back."""

    text: str
    do: Callable[[Kernel], None]
    undo: Callable[[Kernel], None]


def apply(kernel: Kernel, steps: Sequence[Step]) -> None:
    """Do all steps in order; when one fails, undo those before it, last first.

    Raises:
        HostError: a step failed; the message names it and says what could not be undone, if anything.

    """
    done: list[Step] = []
    for step in steps:
        try:
            step.do(kernel)
        except (HostError, OSError) as error:
            remains = [kept.text for kept in reversed(done) if not _undone(kernel, kept)]
            note = f" (could not undo: {'; '.join(remains)})" if remains else ""
            raise HostError(f"{step.text}: {reason(error)}{note}") from error
        done.append(step)


def _undone(kernel: Kernel, step: Step) -> bool:
    try:
        step.undo(kernel)
    except (HostError, OSError):
        return False
    return True


def reason(error: BaseException) -> str:
    """Return an exception's text without Python's decoration."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
