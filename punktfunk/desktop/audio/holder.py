"""A shell that outlives this process by what it has to put back: it waits for the end of a pipe, which comes however
this process ends.
"""

from __future__ import annotations

import contextlib
import select
import subprocess
from collections.abc import Mapping


class ShellHolder:
    """Runs ``script`` with one argument; it is to write a line once it has done its work, and to end with its input."""

    def __init__(self, script: str, argument: str, *, env: Mapping[str, str], limit_s: float) -> None:
        self._limit_s = limit_s
        self._process = subprocess.Popen(
            ["sh", "-c", script, "sh", argument],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the shell."""
        return self._process.pid

    def has_begun(self) -> bool:
        """Wait until it has done its work; return whether it has in time."""
        said = self._process.stdout
        assert said is not None
        answers, _, _ = select.select([said], [], [], self._limit_s)
        return bool(answers and said.readline())

    def close(self) -> None:
        """Let it put back what it has to, and wait for that as long as for its beginning. Closing twice is harmless."""
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._limit_s)
