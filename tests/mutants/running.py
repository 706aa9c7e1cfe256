"""A tool's process under a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_GRACE_S = 30  # for what a tool finishes, puts back or writes after the interrupt


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    deadline: float | None,
    env: Mapping[str, str] | None = None,
) -> int | None:
    """Run ``command`` with its output in ``log`` and return its exit status.

    At ``deadline`` (of ``time.monotonic``) the tool is interrupted as by Ctrl-C, and None is returned. Tools and
    the tests that they started are a process group of their own, of which nothing is left behind.
    """
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | (env or {}),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        return process.wait(left)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
        return None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(_GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
