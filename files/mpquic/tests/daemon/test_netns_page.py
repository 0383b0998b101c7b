# SPDX-License-Identifier: GPL-3.0-or-later
"""The status page of real daemons, seen with a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from browser import DESKTOP, PHONE, Browser, browsing, missing
from multiwan import MultiWan
from paged import HOST, Told, paging
from wan import NOBODY, made, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        bool(missing()) and os.environ.get("CI") != "true", reason=f"not installed: {missing()} (make browser)"
    ),
]
SEEN = "document.querySelector('#picture svg [data-id]')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with closing(Told(tmp_path_factory.mktemp("told"))) as found:
        yield found


@contextmanager
def told_page(told: Told, folder: Path) -> Iterator[str]:
    with paging(folder, told.run_dir, history=told.history, instances=told.instances) as url:
        yield url


def level(browser: Browser, name: str) -> str:
    """Return what the picture says of a node."""
    found: str = browser.run(f"return document.querySelector('#picture [data-id=\"{name}\"]')?.dataset.level ?? ''")
    return found


def row(browser: Browser, name: str) -> str:
    found: str = browser.run(f"return document.querySelector('#ends [data-id=\"{name}\"]')?.textContent ?? ''")
    return found


def test_a_path_that_is_blocked_turns_red_within_two_seconds(browser: Browser, tmp_path: Path) -> None:
    with made(MultiWan(2)) as wan:
        assert isinstance(wan, MultiWan)
        wan.bring_up()
        places = {"history": tmp_path / "history.db", "instances": tmp_path}
        with paging(tmp_path, wan.folder, **places) as url:
            browser.look(DESKTOP, "light")
            browser.open(url)
            node = "path:client:wan2"
            browser.until(f"{SEEN} && document.querySelector('#picture [data-id=\"{node}\"]')")
            assert {level(browser, f"path:client:wan{number}") for number in (1, 2)} == {"good"}
            link = f"[data-link='{node} wan:{wan.wans[1]}']"
            assert browser.run(f'return document.querySelector("{link}").dataset.level') == "good"
            wan.block(2)
            blocked = time.monotonic()
            until(lambda: wan.path("wan2")["state"] == "down", 20)
            known = time.monotonic()
            browser.until(f"document.querySelector(\"{link}\").dataset.level == 'bad'", 10)
            took = time.monotonic() - known
            sys.stdout.write(
                f"red {took:.2f} s after the daemon knew, {time.monotonic() - blocked:.2f} s after the fault\n"
            )
            assert took < 2
            assert level(browser, node) == "bad"
            assert level(browser, "path:client:wan1") == "good"
            assert "down" in row(browser, node)
            # Its reason may be another one a moment later.
            until(lambda: wan.path("wan2")["reason"] in row(browser, node), 5)
            browser.until("document.querySelector('#told').textContent.includes('Path wan2 of client: down')", 5)
            assert "doctor" in browser.run("return document.querySelector('#summary').textContent")
            wan.unblock(2)
            browser.until(f"document.querySelector(\"{link}\").dataset.level == 'good'", 60)
            wan.stop("client")
            browser.until("document.querySelector('#ends [data-id=\"tunnel:client\"]')?.dataset.level != 'good'", 10)


def test_all_of_a_site_is_there_from_here_alone_small_and_soon(told: Told, browser: Browser, tmp_path: Path) -> None:
    with told_page(told, tmp_path) as url:
        browser.look(DESKTOP, "light")
        # The page of an earlier test asks on, and what a browser keeps of it would not be fetched.
        browser.open("about:blank")
        browser.network()
        browser.devtools("Network.clearBrowserCache")
        browser.open(url)
        browser.until(f"{SEEN} && document.querySelector('.line') && document.querySelector('#events time')")
        drawn = browser.run(
            "return performance.getEntriesByType('resource').find(e => e.name.endsWith('/state')).responseEnd"
        )
        painted = browser.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        found = browser.network()
        asked = [one["params"]["request"]["url"] for one in found if one["method"] == "Network.requestWillBeSent"]
        size = sum(one["params"]["encodedDataLength"] for one in found if one["method"] == "Network.loadingFinished")
        said = f"first paint {painted:.0f} ms, state there {drawn:.0f} ms, {len(asked)} requests, {size:.0f} bytes"
        sys.stdout.write(f"{said}\n")
        places = {urlsplit(one).netloc.rpartition("@")[2] for one in asked if not one.startswith("data:")}
        assert places == {urlsplit(url).netloc.rpartition("@")[2]}
        assert len(asked) >= 7
        assert 5_000 < size < 200_000
        assert browser.run("return document.title").endswith(
            f"{HOST}: 3 of 3 up, 1 with faults: mpquic doctor says more"
        )
        wanted = {
            "lan:172.16.3.0/24": "good",
            "class:mp1:voice": "good",
            "tunnel:1": "good",
            "tunnel:mp1": "good",
            "path:mp1:wan1": "good",
            "path:mp1:wan2": "bad",
            "path:mp1:wan3": "unsure",
            "wan:enp7s4": "bad",
            "wan:enp7s6": "good",
            "vps:203.0.113.10": "good",
        }
        assert {name: level(browser, name) for name in wanted} == wanted
        assert "no answer" in row(browser, "path:mp1:wan2")
        assert "8.3 %" in row(browser, "path:mp1:wan3")
        assert "2 h 30 min ago: no answer" in row(browser, "path:mp1:wan1")
        lines = browser.run("return [...document.querySelectorAll('.line')].map(one => one.textContent)")
        assert [line.split(",")[0] for line in lines if line.startswith("Path wan2")] == [
            "Path wan2 of mp1down for 15 min 0 s"
        ]
        assert browser.run("return document.querySelector('#notes').hidden")
        lost = {"tunnel": "2", "code": "rule_missing", "message": "no rule"}
        (told.run_dir / "watch.json").write_text(json.dumps({"remaining": [lost]}))
        browser.until("document.querySelector('#notes').textContent.includes('tunnel 2: rule_missing: no rule')", 5)
        (told.run_dir / "watch.json").unlink()
        events = browser.run("return [...document.querySelectorAll('#events li')].map(one => one.textContent)")
        assert len(events) == 7
        assert "path wan2, tunnel mp1: down" in events[0]


def test_it_can_be_used_on_a_phone_and_without_a_mouse_or_colours(told: Told, browser: Browser, tmp_path: Path) -> None:
    with told_page(told, tmp_path) as url:
        browser.look(PHONE, "dark")
        browser.open(url)
        browser.until(f"{SEEN} && document.querySelector('.line')")
        # Nothing is wider than the screen but what can be scrolled by itself.
        assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
        marks = browser.run("return [...document.querySelectorAll('#picture .mark text')].map(one => one.textContent)")
        assert set(marks) == {"✓", "!", "✕"}
        assert browser.run("return document.querySelector('#picture svg').getAttribute('aria-label')")
        assert browser.run("return document.querySelector('#told').getAttribute('aria-live')") == "polite"
        for name in ("html[lang]", "main", "h1", "th[scope=col]", "tbody th[scope=row]", ".wide[tabindex='0']"):
            assert browser.run(f'return !!document.querySelector("{name}")'), name
        back = browser.run("return getComputedStyle(document.body).backgroundColor")
        browser.look(PHONE, "light")
        assert browser.run("return getComputedStyle(document.body).backgroundColor") != back
        for scheme in ("light", "dark"):
            browser.look(DESKTOP, scheme)
            ratios = browser.run(_CONTRASTS)
            assert min(ratios.values()) >= 4.5, (scheme, ratios)


def test_names_that_peers_choose_are_only_text(told: Told, browser: Browser, tmp_path: Path) -> None:
    evil = "<img src=x onerror=document.title='gone'>"
    before = told.answers["mp1"]
    told.answers["mp1"] = before | {"paths": [path | {"name": evil, "reason": evil} for path in before["paths"]]}
    try:
        with told_page(told, tmp_path) as url:
            browser.look(DESKTOP, "light")
            browser.open(url)
            browser.until(SEEN)
            assert evil in browser.run("return document.querySelector('#ends').textContent")
            assert browser.run("return document.images.length") == 0
            assert "gone" not in browser.run("return document.title").split()
    finally:
        told.answers["mp1"] = before


def test_without_login_the_browser_shows_nothing(told: Told, browser: Browser, tmp_path: Path) -> None:
    with told_page(told, tmp_path) as url:
        browser.open("about:blank")
        browser.network()
        browser.open(url.replace("correct", "wrong"))
        found = [one["params"]["response"] for one in browser.network() if one["method"] == "Network.responseReceived"]
        assert {one["status"] for one in found} == {401}
        assert not browser.run("return !!document.querySelector('#picture')")


def test_old_figures_are_said_to_be_old(told: Told, browser: Browser, tmp_path: Path) -> None:
    with told_page(told, tmp_path) as url:
        browser.look(DESKTOP, "light")
        browser.open(url)
        browser.until(SEEN)
    browser.until("!document.querySelector('#stale').hidden", 10)
    assert "what is shown is old" in browser.run("return document.querySelector('#stale').textContent")


def test_the_history_is_read_by_the_group_of_the_unit_beside_who_writes_it(told: Told) -> None:
    """As the unit runs it: another user, who may write neither the file nor its folder."""
    folder = told.history.parent
    until_root = [one for one in (folder, *folder.parents) if one.stat().st_mode & 0o005 != 0o005]
    modes = {one: one.stat().st_mode for one in until_root}
    writer = "import sys,time; from pathlib import Path; from mpquic.host.history.store import Store\n"
    writer += "s = Store(Path(sys.argv[1])); s.prune(time.time()); print('there', flush=True); sys.stdin.read()"
    reader = "import sys,time; from pathlib import Path; from mpquic.page import day\n"
    reader += "file, now = Path(sys.argv[1]), time.time(); "
    reader += "print(len(day.read(file, now)['lines']), day.events(file, now)['why'])"
    setpriv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    setpriv += [f"--{kind}=-all,+dac_read_search" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
    line = [sys.executable, "-c", writer, str(told.history)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        try:
            for one in until_root:
                one.chmod(0o755)
            for suffix in ("", "-wal", "-shm"):
                shutil.chown(f"{told.history}{suffix}", 0, NOBODY)
            done = subprocess.run(
                [*setpriv, sys.executable, "-c", reader, str(told.history)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert done.stdout == "6 \n"
        finally:
            for one, mode in modes.items():
                one.chmod(mode)
            process.communicate("")


#: The contrast (WCAG 2.2) of each colour of text with each background that it is on.
_CONTRASTS = """
const style = getComputedStyle(document.documentElement);
const light = (hex) => {
  const long = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, '$&$&') : hex;
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(long.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const of = (name) => light(style.getPropertyValue(`--${name}`).trim());
const found = {};
for (const back of ['back', 'card']) for (const name of ['text', 'quiet', 'good', 'unsure', 'bad']) {
  const [high, low] = [of(name), of(back)].sort((a, b) => b - a);
  found[`${name} on ${back}`] = (high + 0.05) / (low + 0.05);
}
return found;
"""
