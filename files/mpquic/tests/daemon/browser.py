# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, driven over ChromeDriver's HTTP interface (W3C WebDriver, and DevTools through it)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Nothing but what a test asks for: no name is resolved, nothing is fetched in the background.
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
PHONE, DESKTOP = (360, 740), (1280, 800)


def missing() -> str:
    """Return what is not installed, "" if all is there."""
    return ", ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None)


class Browser:
    """One window."""

    def __init__(self, port: int, folder: Path) -> None:
        self._base = f"http://127.0.0.1:{port}"
        options = {"binary": shutil.which("chromium"), "args": [*_FLAGS, f"--user-data-dir={folder}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str) -> Any:
        """Return what JavaScript in the page returns."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def until(self, script: str, seconds: float = 30) -> float:
        """Wait until JavaScript returns something true; return how long it took."""
        began = time.monotonic()
        while not self.run(f"return {script}"):
            assert time.monotonic() - began < seconds, f"not within {seconds} s: {script}"
            time.sleep(0.05)
        return time.monotonic() - began

    def devtools(self, command: str, **parameters: Any) -> Any:
        body = {"cmd": command, "params": parameters}
        return self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def look(self, size: tuple[int, int], scheme: str) -> None:
        """Be a screen of a size (CSS pixels), ``light`` or ``dark``."""
        width, height = size
        phone = size == PHONE
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, height: int) -> bytes:
        """Return the first so many pixels of the page as PNG."""
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(height, size["height"]), "scale": 1}
        found = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(found["data"])

    def network(self) -> list[dict[str, Any]]:
        """Return the events of DevTools' domain Network since this was last called."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [found for found in messages if found["method"].startswith("Network.")]

    def close(self) -> None:
        self._call("DELETE", self._session)


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """Start a browser with an empty profile; nothing of it stays."""
    folder = Path(tempfile.mkdtemp(prefix="mpquic-browser-"))
    log = folder / "driver.log"
    line = ["chromedriver", "--port=0", f"--log-path={log}"]
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        assert process.stdout is not None
        said = next(told for told in process.stdout if "started successfully on port" in told)
        browser = Browser(int(said.split("port ")[1].rstrip(".\n")), folder / "profile")
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
