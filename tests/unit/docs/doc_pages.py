# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pages of the documentation hold: their blocks, the commands in them, and the lines on which these stand."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md"), ROOT / "lab/README.md"]
)
#: First words by which a command is recognised wherever it stands.
OURS = frozenset({"mpquic", "make", "ansible-playbook", "lab/lab"})
#: And in sentences these as well: they name our units.
_SYSTEMD = frozenset({"systemctl", "journalctl"})
#: In these blocks every line is a command, in a console those behind a prompt.
SHELL, CONSOLE = frozenset({"sh", "bash"}), "console"

_PROMPT = re.compile(r"^[\w~-]*[#$] ")
_PLAYBOOK = re.compile(r"(?:site|playbooks/\w+)\.yml")
_KEYWORDS = frozenset({"do", "then", "else", "if", "while", "!", "exec", "sudo"})
_NO_COMMAND = frozenset({"for", "done", "fi", "EOF"})
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced or indented block; ``info`` is what stands behind the fence."""

    page: Path
    line: int
    info: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page. One inside a sentence (``named``) may be no more than the name of one."""

    page: Path
    line: int
    words: tuple[str, ...]
    named: bool = False

    def __str__(self) -> str:
        """Return where it stands, and the command."""
        return f"{self.page.relative_to(ROOT)}:{self.line}: {shlex.join(self.words)}"


def tokens(page: Path) -> list[Token]:
    """Return the Markdown of a page."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for token in tokens(page):
        if token.type in {"fence", "code_block"}:
            assert token.map is not None
            first = token.map[0] + (2 if token.type == "fence" else 1)
            yield Block(page, first, token.info.strip(), token.content)


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page: those in blocks, then those in sentences and tables."""
    for block in blocks(page):
        if block.info in {*SHELL, CONSOLE, ""}:
            yield from _in_block(block)
    for token in tokens(page):
        for child in token.children or ():
            if child.type == "code_inline" and (words := _inline(child.content)):
                yield Command(page, (token.map or (0, 0))[0] + 1, words, named=True)


def all_commands() -> list[Command]:
    """Return the commands of all pages."""
    return [command for page in PAGES for command in commands(page)]


def inner(words: Sequence[str]) -> tuple[str, ...]:
    """Return the command that another one runs elsewhere, in the lab or by SSH, or an empty tuple."""
    if words[:2] == ("lab/lab", "exec"):
        return tuple(words[3:])
    if words[0] == "ssh":
        rest = list(words[1:])
        while rest and rest[0].startswith("-"):
            del rest[:2]
        return tuple(rest[1:])
    return ()


def _in_block(block: Block) -> Iterator[Command]:
    lines = enumerate(block.text.splitlines(), start=block.line)
    for number, line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines)[1]  # noqa: PLW2901 - the rest of it
        if block.info == CONSOLE:
            line, prompts = _PROMPT.subn("", line)  # noqa: PLW2901
            if not prompts:
                continue
        for words in split(line):
            if block.info in {*SHELL, CONSOLE} or words[0] in OURS:
                yield Command(block.page, number, words)


def _inline(text: str) -> tuple[str, ...]:
    found = [words for words in split(text) if words[0] in OURS | _SYSTEMD or _PLAYBOOK.fullmatch(words[0])]
    return found[0] if found else ()


def split(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the simple commands of a line of shell, without redirections, assignments and keywords."""
    lexer = shlex.shlex(line.replace("$(", " ; "), posix=True, punctuation_chars=";&|()<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        # A quote that is closed on another line; bash looks at such blocks as a whole.
        return
    simple: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if skip:
            skip = False
        elif word in {">", ">>", "<"}:
            skip = True
        elif set(word) <= set(";&|()<>"):
            if simple and simple[0] not in _NO_COMMAND:
                yield tuple(simple)
            simple = []
        elif simple or not (word in _KEYWORDS or _ASSIGNMENT.fullmatch(word)):
            simple.append(word)
