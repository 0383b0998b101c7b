# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command of the documentation is one that there is: each is given to the parser that would read it.

What only reads is run as well, on a host without tunnels; molecule/default runs it on hosts with tunnels.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
import yaml
from ansible.cli.playbook import PlaybookCLI
from doc_pages import OURS, PAGES, ROOT, SHELL, Command, all_commands, blocks, inner, split
from doc_reading import reads, whole
from mpquic.cli import SUBCOMMANDS
from mpquic.cli import parser as mpquic_parser

from lab.cli import parse_settings
from lab.cli import parser as lab_parser
from lab.errors import UsageError
from lab.topology import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COMMANDS = all_commands()
#: Programs of Debian that blocks of shell may call.
DEBIAN = re.compile(
    r"\.|apt-get|basename|cat|cd|chmod|cp|curl|cut|dig|echo|ethtool|git|grep|ip|journalctl|less|ls|mkdir|networkctl|nft|"
    r"openssl|ping|pip|python|resolvectl|rm|sed|sha256sum|ssh|systemctl|tar|tc|tcpdump|tracepath|xargs"
)
INVENTORIES = {"~/mysite", "inventories/mine", "inventories/example", "inventories/lab"}


def ours(commands: Sequence[Command]) -> Iterator[Command]:
    """Yield commands, and those that they run elsewhere."""
    for command in commands:
        yield command
        if words := inner(command.words):
            yield Command(command.page, command.line, words, command.named)


def faults(*programs: str) -> list[str]:
    """Return what is wrong with the commands of some programs."""
    chosen = [command for command in ours(COMMANDS) if program(command.words) in programs]
    return [f"{command}: {fault}" for command in chosen if (fault := CHECKS[program(command.words)](command))]


def program(words: Sequence[str]) -> str:
    return "ansible-playbook" if words[0].endswith(".yml") else words[0]


def unparsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """Return what a parser has against words, or an empty text."""
    said: list[str] = []

    def refuse(message: str) -> None:
        said.append(message)
        raise SystemExit(64)

    for one in parsers(parser):
        one.error = refuse  # type: ignore[assignment,method-assign]
        one.print_help = lambda *_: None  # type: ignore[method-assign]
    try:
        parser.parse_args(words)
    except SystemExit:
        pass
    except UsageError as error:
        said.append(str(error))
    return "".join(said[:1])


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for below in subparsers(parser).values():
        yield from parsers(below)


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def is_name(parser: argparse.ArgumentParser, words: Sequence[str]) -> bool:
    """Tell whether words are subcommands, one below the other, and no more."""
    for word in words:
        if word not in subparsers(parser):
            return False
        parser = subparsers(parser)[word]
    return True


@cache
def command_line() -> argparse.ArgumentParser:
    return mpquic_parser(*SUBCOMMANDS)


def check_mpquic(command: Command) -> str:
    if command.named and is_name(command_line(), command.words[1:]):
        return ""
    return unparsed(command_line(), command.words[1:])


def check_lab(command: Command) -> str:
    words = command.words[1:]
    if command.named and (words == ("-t",) or is_name(lab_parser(), words)):
        return ""
    if fault := unparsed(lab_parser(), words):
        return fault
    topology = load(ROOT / "lab/topology.yml")
    known = {
        "exec": topology.places,
        **dict.fromkeys(("crash", "start", "stop"), topology.hosts),
        **dict.fromkeys(("cut", "restore", "impair"), topology.wans),
    }
    if words[0] in known and words[1] not in known[words[0]]:
        return f"no {words[1]}, expected one of {', '.join(known[words[0]])}"
    if words[0] == "impair":
        parse_settings(list(words[2:]))
    return ""


@cache
def dry_run(words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@cache
def help_of(script: str) -> str:
    line = [sys.executable, script, "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    return done.stdout


def check_make(command: Command) -> str:
    """Let make say what it would do, and look at what it hands on."""
    words = command.words[1:]
    unused = [word for word in words if "=" in word and f"$({word.partition('=')[0]})" not in makefile()]
    if unused:
        return f"the Makefile does not use {', '.join(unused)}"
    planned = dry_run(words)
    if planned.returncode:
        return planned.stderr.strip()
    for line in planned.stdout.splitlines():
        for handed in split(line):
            if handed[0] == "ansible-playbook":
                return check_ansible(Command(command.page, command.line, handed))
            if handed[0] == "python" and not handed[1].startswith("-"):
                options = [word.partition("=")[0] for word in handed[2:] if word.startswith("--")]
                if unknown := [option for option in options if option not in help_of(handed[1])]:
                    return f"{handed[1]} has no {', '.join(unknown)}"
    return ""


@cache
def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def check_ansible(command: Command) -> str:
    words = list(command.words)
    if words[0].endswith(".yml"):
        words = ["ansible-playbook", *words]
    line = PlaybookCLI(words)
    line.init_parser()
    assert line.parser is not None
    if command.named and len(words) == 1:
        return ""
    if fault := unparsed(line.parser, words[1:]):
        return fault
    asked = line.parser.parse_args(words[1:])
    missing = [book for book in asked.args if not playbook(book).is_file()]
    strange = [where for where in asked.inventory or () if where not in INVENTORIES]
    named = [name for text in asked.extra_vars for name in re.findall(r"(\w+)=", text)]
    unknown = [name for name in named if name not in variables()]
    return "; ".join(f"no {what}" for what in (*missing, *strange, *unknown))


def playbook(name: str) -> Path:
    """Return the file of a playbook by its path, or by its name in the installed collection."""
    return ROOT / (f"playbooks/{name.removeprefix('mpquic.tunnel.')}.yml" if "mpquic.tunnel." in name else name)


@cache
def variables() -> frozenset[str]:
    """Return the variables that roles declare, and those that playbooks ask for by themselves."""
    found = set()
    for file in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"].values():
            found |= set(spec.get("options") or {})
    for file in ROOT.glob("playbooks/*.yml"):
        found |= set(re.findall(r"\bmpquic_\w+", file.read_text(encoding="utf-8")))
    return frozenset(found)


CHECKS = {"mpquic": check_mpquic, "lab/lab": check_lab, "make": check_make, "ansible-playbook": check_ansible}


def test_there_are_commands_of_every_kind() -> None:
    counts = {name: sum(program(command.words) == name for command in ours(COMMANDS)) for name in CHECKS}
    assert set(CHECKS) == OURS
    assert min(counts.values()) > 10, counts


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_the_parser_takes_them(name: str) -> None:
    assert not faults(name)


def test_blocks_of_shell_are_shell() -> None:
    found = []
    for page in PAGES:
        for block in blocks(page):
            if block.info in SHELL:
                done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
                if done.returncode:
                    found.append(f"{page.relative_to(ROOT)}:{block.line}: {done.stderr}")
    assert not found


def test_other_programs_are_those_of_debian() -> None:
    """A slip in the name of a command would make it one that nothing here looks at."""
    found = [str(command) for command in ours(COMMANDS) if not known(command.words)]
    assert not found


def known(words: Sequence[str]) -> bool:
    first = words[0]
    script = ROOT / first
    return (
        DEBIAN.fullmatch(first) is not None
        or first.startswith("ansible-")
        or program(words) in CHECKS
        or first.endswith("=")
        or (script.is_file() and os.access(script, os.X_OK))
    )


def test_units_are_those_of_the_roles() -> None:
    kept = {path.name.removesuffix(".j2") for path in ROOT.glob("roles/*/[tf]*/**/*mpquic*") if path.is_file()}
    units = {name.partition(".")[0] for name in kept if re.search(r"\.(service|socket|timer)", name)}
    assert "mpquic-watch" in units
    found = []
    for command in ours(COMMANDS):
        if command.words[0] in {"systemctl", "journalctl"}:
            for word in command.words[1:]:
                name = re.fullmatch(r"(mpquic[\w-]*)(@[\w$]+)?(\.\w+)?", word)
                if name and name[1] + ("@" if name[2] else "") not in units:
                    found.append(f"{command}: no unit {word}")
    assert not found


def test_playbooks_have_no_faults() -> None:
    books = sorted(ROOT.glob("playbooks/*.yml"))
    line = ["ansible-playbook", "--syntax-check", "-i", "inventories/example", "site.yml", *map(str, books)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=6000, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


RUNNER = """
import contextlib, io, json, sys, traceback
from mpquic.cli import main
said = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = "Traceback"
    said.append([code, out.getvalue(), err.getvalue()])
json.dump(said, sys.stdout)
"""


@pytest.mark.netns
def test_what_only_reads_ends_in_good_order_where_there_is_nothing() -> None:
    lines = sorted(
        {words[1:] for words in (command.words for command in ours(COMMANDS)) if reads(words) and whole(words)}
    )
    assert len(lines) > 20
    # A network of its own, in which nothing is up.
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", RUNNER],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        timeout=6000,
        check=True,
    )
    found = []
    for words, (code, out, err) in zip(lines, json.loads(done.stdout), strict=True):
        # 64 would be a wrong command line. 1 and 78 have to say why.
        good = (code in {0, 2} and out) or (code in {1, 78} and (out or err))
        if not good:
            found.append(f"{' '.join(words)}: {code}\n{out}{err}")
    assert not found
