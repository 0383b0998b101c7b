# SPDX-License-Identifier: GPL-3.0-or-later
"""PRIVATE. What the play brought back from each host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.mpquic.tunnel.plugins.plugin_utils._site_report import plain

#: Exit codes of mpquic that come with an answer: all is well, or something is not.
_ANSWERED = (0, 2)
_NOT_FOUND = 127
_TIMED_OUT = 124
REACHED, UNREACHABLE, UNASKED, LEGACY = "reached", "unreachable", "not asked", "other implementation"


@dataclass(frozen=True)
class Host:
    """What one host said.

    ``answers`` are the JSON objects of the questions it answered, ``complaints`` why it did not answer the others, both
    by the name of the question. ``changes`` is what a run of site.yml would change, None where that is not known.
    """

    state: str
    reason: str = ""
    answers: Mapping[str, plain.Entry] = field(default_factory=dict)
    complaints: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] | None = None

    def said(self, question: str) -> plain.Entry:
        """Return the answer to a question, an empty one without any."""
        return self.answers.get(question, {})

    @cached_property
    def figures(self) -> Mapping[str, list[plain.Entry]]:
        """The figures that it recorded, by instance."""
        found: dict[str, list[plain.Entry]] = {}
        for one in plain.entries(self.said("history"), "figures"):
            found.setdefault(plain.text(one, "instance"), []).append(one)
        return found


def read(found: Mapping[str, Any] | None) -> Host:
    """Read the results of the play: ``reached``, ``answers``, ``changes``; None of a host that was not asked."""
    if found is None:
        return Host(UNASKED, "this run was not for it")
    reached = plain.inner(found, "reached")
    if not reached.get("ping"):
        return Host(UNREACHABLE, _one_line(plain.text(reached, "msg")) or "it does not answer")
    answers, complaints = {}, {}
    for result in plain.entries(plain.inner(found, "answers"), "results"):
        name = plain.text(plain.inner(result, "item"), "name")
        answer, complaint = _answer(result)
        if answer is None:
            complaints[name] = complaint
        else:
            answers[name] = answer
    if not answers and not complaints:
        return Host(UNREACHABLE, "it was lost while it was asked")
    changes = found.get("changes")
    told = None if changes is None else tuple(plain.text(change, "text") for change in plain.entries(found, "changes"))
    return Host(REACHED, "", answers, complaints, told)


def _answer(result: plain.Entry) -> tuple[plain.Entry | None, str]:
    """Return the object that a command printed, or None and why there is none."""
    code = result.get("rc")
    if code in _ANSWERED:
        try:
            found = json.loads(result["stdout"])
        except (KeyError, TypeError, ValueError, RecursionError):
            found = None
        return (found, "") if isinstance(found, Mapping) else (None, "it answered with something else than JSON")
    if code == _TIMED_OUT:
        return None, "no answer within a minute"
    if code == _NOT_FOUND:
        return None, "mpquic is not installed there"
    said = plain.text(result, "stderr") or plain.text(result, "msg")
    return None, _one_line(said.replace("mpquic: ", "")) or f"exit code {code}"


def _one_line(said: str) -> str:
    return " ".join(said.split())
