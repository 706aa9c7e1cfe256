"""Show how far a run is and how long it will take: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.analysis.results import CaseResult, Status
from harness.report.text import clock
from punktfunk.rich_terminal import Console
from punktfunk.terminal import say

MARKS = {
    Status.PASSED: "ok",
    Status.FAILED: "FAILED",
    Status.UNSUPPORTED: "not run",
    Status.FAULT: "FAULT",
    Status.INTERRUPTED: "interrupted",
}
PLAIN_INTERVAL_S = 10.0
"""Seconds between two lines of a run that has nothing to complain about: a CI log is read, not watched."""


class Reporter(Protocol):
    """Receives the events of a run."""

    def begin(self, cases: int, estimate_s: float) -> None:
        """Report how many cases there are and how long they should take."""

    def ended(self, result: CaseResult, estimate_s: float) -> None:
        """Report that a case has ended, and how long it was thought to take."""

    def advanced(self, cases: int, bad: int, estimate_s: float) -> None:
        """Report that some cases have ended, ``bad`` of them not well, in a run of too many to report each."""

    def note(self, text: str) -> None:
        """Report something about the run as a whole."""

    def close(self) -> None:
        """Give the terminal back."""


class Remaining:
    """Estimate the time left from what cases were thought to take and what they took."""

    def __init__(self, estimate_s: float, now: float) -> None:
        self._total = max(estimate_s, 1e-9)
        self._done = 0.0
        self._began = now

    def advance(self, estimate_s: float) -> None:
        """Count a case as done."""
        self._done = min(self._total, self._done + estimate_s)

    def seconds(self, now: float) -> float:
        """Return the seconds left; the prior estimate counts for as much as the first tenth of the work."""
        elapsed = now - self._began
        left = self._total - self._done
        prior = self._total / 10
        pace = (elapsed + prior) / (self._done + prior)
        return max(0.0, left * pace)


class PlainReporter:
    """One line a failure and one every few seconds, for logs."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._cases = self._count = self._bad = 0
        self._said = 0.0
        self._remaining = Remaining(0.0, 0.0)

    def begin(self, cases: int, estimate_s: float) -> None:
        """See Reporter."""
        self._cases, self._said = cases, time.monotonic()
        self._remaining = Remaining(estimate_s, self._said)
        self._print(f"{cases} case{'s' * (cases != 1)}, about {clock(estimate_s)}")

    def ended(self, result: CaseResult, estimate_s: float) -> None:
        """See Reporter."""
        self._count += 1
        self._remaining.advance(estimate_s)
        bad = result.status is not Status.PASSED
        self._bad += bad
        now = time.monotonic()
        if bad or now - self._said > PLAIN_INTERVAL_S or self._count == self._cases:
            self._said = now
            line = f"[{self._count}/{self._cases}] {MARKS[result.status]:<7} {result.id}"
            if bad:
                line += f": {result.reason}"
            if self._count < self._cases:
                line += f"  ({clock(self._remaining.seconds(now))} left)"
            self._print(line)

    def advanced(self, cases: int, bad: int, estimate_s: float) -> None:
        """See Reporter."""
        self._count += cases
        self._bad += bad
        self._remaining.advance(estimate_s)
        now = time.monotonic()
        if now - self._said > PLAIN_INTERVAL_S or self._count == self._cases:
            self._said = now
            line = f"[{self._count}/{self._cases}] {self._bad} not passed"
            if self._count < self._cases:
                line += f"  ({clock(self._remaining.seconds(now))} left)"
            self._print(line)

    def note(self, text: str) -> None:
        """See Reporter."""
        self._print(text)

    def close(self) -> None:
        """See Reporter."""

    def _print(self, text: str) -> None:
        say(text, file=self._stream)


class TerminalReporter:
    """A progress bar with the time left; failures stand above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("cases", total=None, left="")
        self._bad = 0
        self._remaining = Remaining(0.0, 0.0)

    def begin(self, cases: int, estimate_s: float) -> None:
        """See Reporter."""
        self._remaining = Remaining(estimate_s, time.monotonic())
        self._progress.update(self._task, total=cases, left=f"{clock(estimate_s)} left")
        self._progress.start()

    def ended(self, result: CaseResult, estimate_s: float) -> None:
        """See Reporter."""
        self._remaining.advance(estimate_s)
        left = clock(self._remaining.seconds(time.monotonic()))
        self._progress.update(self._task, advance=1, left=f"{left} left")
        if result.status is not Status.PASSED:
            self._console.print(f"{MARKS[result.status]:<7} {result.id}: {result.reason}", markup=False)

    def advanced(self, cases: int, bad: int, estimate_s: float) -> None:
        """See Reporter."""
        self._bad += bad
        self._remaining.advance(estimate_s)
        left = f"{clock(self._remaining.seconds(time.monotonic()))} left"
        if self._bad:
            left += f", {self._bad} not passed"
        self._progress.update(self._task, advance=cases, left=left)

    def note(self, text: str) -> None:
        """See Reporter."""
        self._console.print(text, markup=False)

    def close(self) -> None:
        """See Reporter."""
        self._progress.stop()


def reporter(*, plain: bool) -> Reporter:
    """Return the reporter that fits where the run is watched; both write to standard error."""
    console = Console(stderr=True)
    return PlainReporter() if plain or not console.is_terminal else TerminalReporter(console)
