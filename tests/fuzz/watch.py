"""Run a fuzzer, keep what it prints, and say meanwhile how far it is."""

from __future__ import annotations

import resource
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

NEWS_S: Final = 20
"""A minute without a word looks like a program that hangs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a fuzzer ended: its exit code, all that it printed, and how long it took."""

    returncode: int
    output: str
    seconds: float
    cpu_s: float
    """Much less than ``seconds`` where others had the machine: then little was fuzzed."""

    def times(self) -> str:
        """Return both times as a line of results has them."""
        return f"{self.seconds:.0f} s ({self.cpu_s:.0f} s of CPU)"


def run(
    command: Sequence[str],
    news: Callable[[str, float], None],
    *,
    env: Mapping[str, str] | None = None,
    every_s: float = NEWS_S,
) -> Ended:
    """Run a command to its end; call ``news`` with its output and its seconds so far, every ``every_s``."""
    lines: list[str] = []
    began, cpu_before = time.monotonic(), _children_cpu_s()
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    process.wait(every_s)
                    break
                except subprocess.TimeoutExpired:
                    news("".join(lines), time.monotonic() - began)
        finally:
            process.kill()  # whoever ends this ends the fuzzer, too
        reader.join()
    return Ended(process.returncode, "".join(lines), time.monotonic() - began, _children_cpu_s() - cpu_before)


def plan(what: str, count: int, seconds: int) -> str:
    """Return what a run is going to do, so that nobody waits for it without knowing for how long."""
    total = count * seconds
    lasting = f"{total / 60:.0f} min" if total >= 120 else f"{total} s"
    return f"{count} {what}, {seconds} s each: {lasting} beside their starts, with a word every {NEWS_S} s"


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
