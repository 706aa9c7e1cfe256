"""A real host, a real browser: Debian's Chromium drives the console of a ``punktfunk serve`` process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "punktfunk"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
SCREENSHOTS = REPOSITORY / "reports" / "console"
"""Kept after the run, for people to look at; git ignores it."""


class ServedHost:
    """One ``punktfunk serve`` on loopback; it can die and come back with the same ports and the same state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.native_port = self.mgmt_port = "0"
        self.start()

    def start(self) -> None:
        """Start it, and read what it prints up to the line that says what to do next."""
        self._errors = (self.folder / "stderr").open("ab")
        self.process = subprocess.Popen(
            [
                *COMMAND, "serve", "--source", "testcard", "--mode", "640x360@30", "--no-mdns", "--no-gamestream",
                "--bind", "127.0.0.1", "--native-port", self.native_port,
                "--mgmt-bind", f"127.0.0.1:{self.mgmt_port}", "--state-dir", str(self.folder / "state"),
            ],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.banner = ""
        for line in self.process.stdout:
            self.banner += line
            if line.startswith("next"):
                break
        self.address = self.find(r"native host  (\S+)")
        self.fingerprint = self.find(r"fingerprint  ([0-9a-f]{64})")
        self.link = self.find(r"console +(http://\S+)")
        self.url = self.link.partition("#")[0]
        self.native_port = self.address.rpartition(":")[2]
        self.mgmt_port = self.url.rstrip("/").rpartition(":")[2]

    def find(self, pattern: str) -> str:
        """Return the pattern's group from the banner."""
        found = re.search(pattern, self.banner)
        assert found is not None, f"no {pattern!r} in {self.banner!r}; log: {self.log()}"
        return found[1]

    def log(self) -> str:
        """Return what the host wrote to standard error."""
        return (self.folder / "stderr").read_text(errors="replace")

    def fresh_link(self) -> str:
        """Have ``punktfunk console`` print another one-time link."""
        said = call("console", state_dir=self.folder / "state")
        assert said.returncode == 0, said.stderr
        found = re.search(r"http://\S+#ticket=\S+", said.stdout)
        assert found is not None, said.stdout
        return found[0]

    def change_settings(self, **changes: Any) -> None:
        """Change settings as a program does, past the console."""
        self._ask("settings", "PATCH", json.dumps(changes).encode())

    def pairing_ends_in_s(self) -> int:
        """Return what the API says of how long the PIN still holds, past the console; it has to be armed."""
        left: int = self._ask("native/pair")["expires_in_secs"]
        return left

    def _ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        token = (self.folder / "state" / "mgmt-token").read_text().strip()
        request = urllib.request.Request(
            f"{self.url}api/v1/{path}",
            data=body,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            assert answer.status == 200
            return json.load(answer)

    def kill(self) -> None:
        """End it without a word, as a crash or a power cut would."""
        self.process.kill()
        self._reap()

    def end(self) -> None:
        """End it as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self._reap()

    def _reap(self) -> None:
        try:
            self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self._errors.close()


def call(*arguments: str, state_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run a ``punktfunk`` command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments, "--state-dir", str(state_dir)],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


class Device:
    """Another machine: a client's state folder, and the commands that a person types there."""

    def __init__(self, folder: Path, name: str, host: ServedHost) -> None:
        self.folder = folder
        self.name = name
        self.host = host
        self.streams: list[subprocess.Popen[str]] = []

    def pair(self, pin: str) -> subprocess.CompletedProcess[str]:
        """``punktfunk pair``."""
        return call("pair", self.host.address, "--pin", pin, "--name", self.name, state_dir=self.folder)

    def stream(self) -> subprocess.Popen[str]:
        """``punktfunk connect``, left running; of a device that is not let in it ends by itself."""
        process = subprocess.Popen(
            [*COMMAND, "connect", self.host.address, "--name", self.name, "--state-dir", str(self.folder)],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.streams.append(process)
        return process

    def end(self) -> None:
        """End what still runs."""
        for process in self.streams:
            if process.poll() is None:
                process.terminate()
            try:
                process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@pytest.fixture(scope="module")
def browser(lack: Callable[[str], None]) -> Iterator[Any]:
    """One Chromium for a module, and not for longer: while it is there, an event loop runs in this thread."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lack("playwright (pip install playwright; no browser of its own is needed)")
    path = shutil.which("chromium")
    if path is None:
        lack("the program chromium (apt-get install chromium fonts-dejavu-core)")
    # Chromium's own sandbox refuses root; what it opens here is this project's host on loopback.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        # Nothing but the host is reachable: a request to anywhere else would fail and be seen.
        chromium = playwright.chromium.launch(
            executable_path=path,
            args=[
                *sandbox,
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def host(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedHost]:
    """One host for a module, started after it is known that there is a browser."""
    served = ServedHost(tmp_path_factory.mktemp("host"))
    yield served
    served.end()


@pytest.fixture(scope="module")
def device(host: ServedHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Device]]:
    """Return a function that gives another machine of some name."""
    made: list[Device] = []

    def make(name: str) -> Device:
        made.append(Device(tmp_path_factory.mktemp("device"), name, host))
        return made[-1]

    yield make
    for one in made:
        one.end()


class Watched:
    """A page, and whatever it complained about."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.ticket = ""
        """The one-time ticket that it was signed in by."""
        context.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"
        )
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def allow(self, pattern: str) -> None:
        """Forget complaints that a test provoked: the browser logs each answer that is no success."""
        self.complaints = [one for one in self.complaints if not re.search(pattern, one)]

    def keep(self, name: str) -> None:
        """Keep a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size
        height = self.page.evaluate("document.documentElement.scrollHeight")
        # As high as the page, so that what is fixed to the window's edge stands at the page's.
        self.page.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})
        self.page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), animations="disabled")
        self.page.set_viewport_size(size)


@pytest.fixture(scope="module")
def expect(browser: Any) -> Any:
    """Playwright's assertions that wait, with this suite's patience."""
    from playwright.sync_api import expect as playwright_expect

    playwright_expect.set_options(timeout=PATIENCE_S * 1000)
    return playwright_expect


@pytest.fixture(scope="module")
def console(browser: Any, host: ServedHost, expect: Any) -> Iterator[Watched]:
    """The console, signed in by the link of the banner, on a window of a desk."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    watched = Watched(context)
    watched.ticket = host.link.partition("#")[2]
    watched.page.goto(host.link)
    expect(watched.page.get_by_role("navigation", name="Views")).to_be_visible()
    yield watched
    context.close()
