"""Apps on a headless desktop: they see its display, are heard of when they end, and are gone when they are ended."""

from __future__ import annotations

import queue
import sys
from pathlib import Path

import pytest

from punktfunk.desktop import DesktopOptions
from punktfunk.desktop.headless_desktop import HeadlessDesktop
from punktfunk.errors import CapabilityError
from tests.support.waiting import PATIENCE_S, eventually

WRITES = "import os, sys, time; open('said', 'w').write(os.environ['WAYLAND_DISPLAY']); time.sleep(float(sys.argv[1]))"


def test_an_app_runs_in_the_session_and_is_ended(desktop_parts: None, tmp_path: Path) -> None:
    ends: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def over(status: int, words: str) -> None:
        ends.put((status, words))

    options = DesktopOptions(program=(sys.executable, "-c", "import time; time.sleep(600)"), audio=False)
    with HeadlessDesktop(options) as desktop:
        running = desktop.run((sys.executable, "-c", WRITES, "600"), tmp_path, over)
        eventually(
            lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_text(), "the app's display"
        )
        running.end()
        assert ends.get(timeout=PATIENCE_S)[0] < 0
        running.end()
        desktop.run((sys.executable, "-c", "print('no level'); raise SystemExit(3)"), tmp_path, over)
        assert ends.get(timeout=PATIENCE_S) == (3, "no level")
        with pytest.raises(CapabilityError):
            desktop.run(("/no/such/program",), tmp_path, over)
        desktop.run((sys.executable, "-c", WRITES, "600"), tmp_path, over)
    assert ends.get(timeout=PATIENCE_S)[0] != 0
