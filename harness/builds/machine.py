"""Whether the machine lets latencies be compared: what others took of it before and while builds ran."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from harness.analysis import paired
from harness.analysis.results import Quietness
from harness.builds.pairing import Runs
from harness.machine.watch import Watch
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from punktfunk.errors import BusyMachineError

LOOK_S: Final = 2.0
"""For which a machine is watched before anything is built for a latency."""
HINT: Final = (
    "end what else runs here, or compare by a figure in virtual time or CPU time (core_cpu, case_cpu)"
)


def simulated(case: Case, backend: Backend | None) -> bool:
    """Return whether a case runs in virtual time, as far as is known before it runs."""
    return (backend or case.spec.link.backend) is Backend.SIM


class Quiet:
    """Watches the machine while builds run, where a latency on a real link is asked for; else it does nothing."""

    def __init__(self, runs: Runs, metrics: Sequence[str]) -> None:
        live = [case for case in runs.cases if not simulated(case, runs.backend)]
        wall = [name for name in metrics if paired.is_wall_clock(name, str(Backend.TUN))]
        self._only = (
            bool(live) and bool(metrics) and len(wall) == len(metrics) and len(live) == len(runs.cases)
        )
        self._wanted = bool(live) and (not metrics or bool(wall))
        self._watch: Watch | None = None
        self._busy = ""

    def require(self) -> None:
        """Raise BusyMachineError where latencies alone are asked for and others compute here now."""
        if not self._only:
            return
        with Watch() as watch:
            time.sleep(LOOK_S)
        if not watch.found.quiet:
            raise BusyMachineError(f"no latency can be compared here now: {_words(watch.found)}", HINT)

    def __enter__(self) -> Self:
        if self._wanted:
            self._watch = Watch()
            self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.__exit__(kind, error, trace)
            if not self._watch.found.quiet:
                self._busy = _words(self._watch.found)
            self._watch = None

    def require_believable(self) -> None:
        """Raise BusyMachineError where latencies that were measured here are not worth believing."""
        if self._busy:
            raise BusyMachineError(f"no latency is worth believing: {self._busy}", HINT)

    def trouble(self) -> str:
        """Return what makes latencies that were measured here not worth believing; "" where nothing does."""
        return self._busy


def _words(found: Quietness) -> str:
    """Return why a machine was busy, and whose programs took most of it."""
    reasons = "; ".join(found.reasons)
    thieves = ", ".join(f"{thief.name} {thief.cpu_s:.1f} s" for thief in found.thieves[:3])
    return f"{reasons} ({thieves})" if thieves else reasons
