"""A host in a process of its own, with its workers counted from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


class HostProcess:
    """A host in a process of its own, and what is seen of it from outside."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        config = {
            "trust": "loopback",
            "port": 0,
            "source": {"kind": "synthetic", "frame_bytes": 2000},
            "mode": "1280x720@60",
            **fields,
        }
        path = folder / "host.json"
        path.write_text(json.dumps(config))
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "punktfunk.host", "--config", str(path)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["port"])
        self.most_workers = 0
        self.workers: set[int] = set()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 1e6

    def alive(self) -> set[int]:
        """Return the host's children, those included that it has not reaped."""
        found: set[int] = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                found.update(int(pid) for pid in (task / "children").read_text().split())
            except FileNotFoundError:
                continue
        return found

    def end(self) -> None:
        self._over.set()
        self._watcher.join()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self._log.close()

    def _watch(self) -> None:
        while not self._over.wait(0.004):
            try:
                alive = self.alive()
            except FileNotFoundError:
                return
            self.workers |= alive
            self.most_workers = max(self.most_workers, len(alive))
