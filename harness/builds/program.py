"""Run the programs that build: output into a log, a word every few seconds, what they complained of in the error."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.builds import failures
from punktfunk.errors import BuildError
from punktfunk.printable import printable

EVERY_S: Final = 10.0
"""Between two words about how far a build is."""
LIMIT_S: Final = 3600.0
"""After which a program that builds is ended: a compiler that hangs holds nobody up for ever."""
_REMEMBERED: Final = 400
_LINE_BYTES: Final = 1 << 16
_SHOWN: Final = 200


def run(
    command: Sequence[str],
    what: str,
    *,
    log: Path,
    note: Callable[[str], None],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> None:
    """Run a program to its end; ``what`` says in the error and while it runs what it does.

    Raises BuildError with what it complained of, and the log that has all of it.
    """
    last: deque[str] = deque(maxlen=_REMEMBERED)
    began = said = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            bufsize=0,  # so that what can be read is not already here, where select does not see it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise BuildError(
            f"{what}: {command[0]} cannot be started: {error.strerror or error}", hint
        ) from error
    overdue = threading.Timer(LIMIT_S, process.kill)
    overdue.daemon = True
    overdue.start()
    try:
        assert process.stdout is not None
        with process.stdout, log.open("wb") as file:
            while True:
                due = said + EVERY_S - time.monotonic()
                if due <= 0:
                    said = time.monotonic()
                    note(f"{what}, {said - began:.0f} s: {last[-1].strip() if last else 'nothing said yet'}")
                elif select.select([process.stdout], [], [], due)[0]:
                    line = process.stdout.readline(_LINE_BYTES)
                    if not line:
                        break
                    file.write(line)
                    last.append(printable(line.decode(errors="replace").rstrip(), _SHOWN))
        code = process.wait()
    finally:
        overdue.cancel()
        process.kill()
        process.wait()
    if code:
        late = f" after {LIMIT_S:.0f} s" if code < 0 and time.monotonic() - began >= LIMIT_S else ""
        raise BuildError(
            f"{what} failed{late} (exit {code}):\n{failures.reason(last)}", hint or f"all that it said: {log}"
        )


def python(*arguments: str) -> list[str]:
    """Return the command that runs this Python's own modules, away from the folder that it is started in."""
    return [sys.executable, "-P", *arguments]
