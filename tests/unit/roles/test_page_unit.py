# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of the status page, rendered as Ansible renders it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "roles" / "page" / "templates" / "mpquic-page.service.j2"
HERE = {"page_address": "127.0.0.1", "page_port": 45901, "page_from": []}
THERE = {"page_address": "2001:db8::20", "page_port": 8443, "page_from": ["198.51.100.0/24", "2001:db8::5/128"]}


def render(variables):
    environment = jinja2.Environment(
        trim_blocks=True, keep_trailing_newline=True, autoescape=False, undefined=jinja2.StrictUndefined
    )
    environment.filters["regex_replace"] = lambda value, pattern, new: re.sub(pattern, new, value)
    environment.tests["match"] = lambda value, pattern: re.match(pattern, value) is not None
    return environment.from_string(TEMPLATE.read_text()).render(**variables)


def test_on_the_host_itself_it_speaks_with_nobody_else():
    unit = render(HERE)
    assert "ExecStart=/usr/local/bin/mpquic page serve --listen 127.0.0.1:45901\n" in unit
    assert "IPAddressDeny=any\nIPAddressAllow=localhost\n" in unit


def test_elsewhere_with_those_who_may_try():
    unit = render(THERE)
    assert "--listen [2001:db8::20]:8443 --allow 198.51.100.0/24 --allow 2001:db8::5/128\n" in unit
    assert "IPAddressDeny=any\nIPAddressAllow=198.51.100.0/24 2001:db8::5/128\n" in unit
    assert "IPAddress" not in render(THERE | {"page_from": []})


@pytest.mark.parametrize("variables", [HERE, THERE])
def test_the_command_takes_these_arguments(variables, tmp_path):
    (command,) = re.findall("^ExecStart=/usr/local/bin/mpquic (.*)$", render(variables), re.MULTILINE)
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    line = [sys.executable, "-m", "mpquic", *shlex.split(command)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)
    # All is understood, and then there is no password.
    assert (done.returncode, "password: No such file" in done.stderr) == (78, True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("variables", [HERE, THERE])
def test_systemd_understands_it(variables, tmp_path):
    path = tmp_path / "mpquic-page.service"
    path.write_text(render(variables).replace("/usr/local/bin/mpquic", "/bin/true"))
    line = ["systemd-analyze", "verify", "--man=no", "--generators=no", path]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, [one for one in done.stderr.splitlines() if "mpquic-page" in one]) == (0, [])
    line = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", path]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
