"""Whether the machine lets latencies be compared: what others took of it before and while builds ran."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from harness.analysis import paired
from harness.analysis.results import CaseResult, Quietness
from harness.builds.pairing import Runs
from harness.machine.watch import Watch, rivals
from harness.scenario.link import Backend
from punktfunk.errors import BusyMachineError

LOOK_S: Final = 2.0
"""For which a machine is watched before anything is built for a latency."""
HINT: Final = (
    "end what else runs here, or compare by a figure in virtual time or CPU time (core_cpu, case_cpu)"
)


def require_quiet(runs: Runs, metrics: Sequence[str]) -> None:
    """Raise BusyMachineError where latencies on real links alone are asked for and others compute here now."""
    if not metrics or not all(paired.is_wall_clock(name, str(Backend.TUN)) for name in metrics):
        return
    if any(runs.simulated(case) for case in runs.cases):
        return
    with Watch() as watch:
        time.sleep(LOOK_S)
    if not watch.found.quiet:
        raise BusyMachineError(f"no latency can be compared here now: {words(watch.found)}", HINT)


@contextmanager
def watched(spans: list[Quietness]) -> Iterator[None]:
    """Watch the machine meanwhile, and add what was found to ``spans``, however it ends."""
    watch = Watch()
    try:
        with watch:
            yield
    finally:
        spans.append(watch.found)


def busy_pairs(both: Sequence[tuple[CaseResult, CaseResult]]) -> list[Quietness]:
    """Return what was found of the machine in the pairs of a case that it was too busy for, the busiest first."""
    found = [
        max(
            (side.machine for side in pair if side.machine is not None and not side.machine.quiet), key=rivals
        )
        for pair in both
        if not paired.is_believable(pair)
    ]
    return sorted(found, key=rivals, reverse=True)


def words(found: Quietness) -> str:
    """Return why a machine was busy, and whose programs took most of it."""
    reasons = "; ".join(found.reasons)
    thieves = ", ".join(
        f"{thief.name} {thief.cpu_s:.1f} s" for thief in found.thieves[:3] if not thief.yields
    )
    return f"{reasons} ({thieves})" if thieves else reasons
