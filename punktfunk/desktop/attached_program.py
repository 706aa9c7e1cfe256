"""A program on a desktop that is not ours: a child of this process, in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from punktfunk.desktop import OnEnd
from punktfunk.desktop.process_session import end_rest_of
from punktfunk.errors import CapabilityError

GRACE_S: Final = 0.5
"""How long it may take to end by itself before it is killed."""


class AttachedProgram:
    """Runs from its making on; raises CapabilityError where it cannot be started.

    ``display`` is the socket of the session that it is shown in, ``None`` for the one that this process is in. Should
    this process be killed, the program goes on: it is in its user's own session, which ends it. What it prints goes
    where this process's own log goes.
    """

    def __init__(self, command: Sequence[str], folder: Path, display: str | None, on_end: OnEnd) -> None:
        try:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **({} if display is None else {"WAYLAND_DISPLAY": display})},
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                start_new_session=True,
            )
        except (OSError, IndexError) as error:
            words = error.strerror if isinstance(error, OSError) else "no program is named"
            raise CapabilityError(
                f"the app cannot be started: {words}", "look at its command and folder"
            ) from error
        self._watcher = threading.Thread(
            target=lambda: on_end(self._process.wait(), ""), name="watch-app", daemon=True
        )
        self._watcher.start()

    def end(self) -> None:
        """End it and what it has started in its session; it may have ended itself before, as launchers do."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._watcher.is_alive():
                break
            # Another user's, as of sudo, is not ours to end.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            self._watcher.join(GRACE_S)
        end_rest_of(self._process.pid, GRACE_S)
