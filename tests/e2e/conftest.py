"""Programs under test as processes: started with their configuration, read line by line, always ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]


class Program:
    """A headless peer: its JSON lines, its log, its end."""

    def __init__(self, module: str, config: dict[str, Any], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        self.log_path = folder / "log"
        self._log = self.log_path.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--config", str(path)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        self.seen: list[dict[str, Any]] = []
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def event(self, name: str, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the next line of that event; what comes before it is kept in ``seen``."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                pytest.fail(f"no {name!r} line within {timeout} s; log:\n{self.log_path.read_text()}")
            if not line:
                pytest.fail(f"ended without a {name!r} line; log:\n{self.log_path.read_text()}")
            event: dict[str, Any] = json.loads(line)
            self.seen.append(event)
            if event["event"] == name:
                return event

    def log_text(self) -> str:
        """Return what was logged so far."""
        return self.log_path.read_text()

    def end(self) -> None:
        """End it for good; a worker goes with it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._log.close()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start ``punktfunk.host`` or ``punktfunk.client`` with a configuration."""
    started: list[Program] = []

    def start(module: str, **config: Any) -> Program:
        started.append(Program(module, config, tmp_path / f"{len(started)}-{module}"))
        return started[-1]

    yield start
    for one in reversed(started):
        one.end()


def gone(pid: int, within: float) -> bool:
    """Return whether a process that is not ours to wait for is gone within that many seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def is_gone() -> Callable[[int, float], bool]:
    """Return a function that waits for a process to be gone."""
    return gone
