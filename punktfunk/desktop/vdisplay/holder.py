"""Outputs that are taken away when their maker is killed: sway itself would keep them for ever."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from punktfunk.desktop.vdisplay import holder_program
from punktfunk.errors import DesktopError

_END_LIMIT_S: Final = 2.0


class OutputHolder:
    """A process that lives as long as this one, and longer if there is something to clear up.

    It learns what there is by a pipe, whose end it cannot miss however this process ends. One that was killed itself is
    started again with the next word to it.
    """

    def __init__(self, ipc_path: str) -> None:
        self._command = [sys.executable, "-I", "-S", str(Path(holder_program.__file__)), ipc_path]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def holds(self) -> bool:
        """Whether it was told of anything."""
        return self._process is not None

    def tell(self, made: Collection[str], before: Collection[str] | None = None) -> None:
        """Have these outputs taken away at the end, and those that come since there were those ``before``.

        Raises DesktopError where there can be no process for it.
        """
        line = json.dumps({"made": sorted(made), "before": None if before is None else sorted(before)})
        for _ in range(2):
            if self._process is None:
                self._process = self._start()
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                self.close()
                continue
            return

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise DesktopError(
                f"no process can be started to take outputs away in the end: {error.strerror}",
                "are there too many processes, or open files?",
            ) from error

    def close(self) -> None:
        """Let it end: it clears up what it was told of last. Closing twice is harmless."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
