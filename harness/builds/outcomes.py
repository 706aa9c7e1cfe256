"""What pairs of two builds come to: findings, what did not run or is not worth believing, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.analysis import paired
from harness.analysis.paired import Finding
from harness.analysis.paired_run import SIDES
from harness.analysis.results import Status
from harness.analysis.stats import Verdict
from harness.builds import machine
from harness.builds.pairing import PairedRun
from punktfunk.errors import (
    BusyMachineError,
    CapabilityError,
    CheckFailedError,
    PunktfunkError,
    RegressionError,
)


@dataclass(slots=True)
class Outcome:
    """What two builds differ in, as far as it is known."""

    findings: list[Finding]
    seconds_for: Callable[[int], float]
    notes: list[str] = field(default_factory=list)
    """Why not to believe it, and what did not run."""
    lost: bool = False
    """Whether head came to no result where base did."""
    refused: PunktfunkError | None = None
    """Why nothing of what has run can be judged; to be raised once the pairs are kept, to which others can be added."""

    @property
    def exit_code(self) -> int:
        """0; 3 for a regression, 1 where head did not run through, 4 where nothing could be judged."""
        if any(f.verdict is Verdict.REGRESSION and f.gates for f in self.findings):
            return RegressionError.exit_code
        if self.lost:
            return CheckFailedError.exit_code
        if all(f.verdict is Verdict.TOO_FEW for f in self.findings):
            return CapabilityError.exit_code
        return 0


def conclude(pair: PairedRun, metrics: Sequence[str]) -> Outcome:
    """Judge what has run, and say what was left out; nothing that was measured is lost where nothing can be judged."""
    findings, notes = pair.findings(metrics), []
    lost = False
    refused: PunktfunkError | None = None
    busy: list[str] = []
    runs = pair.runs
    case_of = {case.id: case for case in runs.cases}
    for case, both in pair.pairs.items():
        for side, name in enumerate(SIDES.values()):
            results = [results[side] for results in both]
            gone = [r for r in results if r.status not in {Status.PASSED, Status.FAILED}]
            if gone:
                other = sum(results[1 - side].status in {Status.PASSED, Status.FAILED} for results in both)
                # In virtual time a seed always ends the same way; on a real link a start may fail for once.
                often = runs.simulated(case_of[case]) or 2 * len(gone) >= len(both)
                lost |= name == "head" and other == len(both) and often
                words = f"{gone[0].status.value}: {gone[0].reason}"
                notes.append(
                    f"{name} came to no result in {len(gone)} of {len(both)} runs of {case} ({words})"
                )
        left_out = machine.busy_pairs(both)
        if left_out and _has_latencies(both, metrics):
            busy.append(machine.words(left_out[0]))
            notes.append(
                f"latencies of {case} are of {len(both) - len(left_out)} pairs: in {len(left_out)} {busy[-1]}"
            )
    if not findings and pair.pairs and not lost:
        if busy:
            refused = BusyMachineError(f"no latency is worth believing: {busy[0]}", machine.HINT)
        else:
            refused = CapabilityError(
                "; ".join(notes) or f"no case has a figure of {', '.join(metrics) or 'any kind'} above 0",
                "choose another metric, or cases that this machine can run",
            )
    return Outcome(findings, pair.seconds_for, notes, lost, refused)


def _has_latencies(both: paired.Pairs, metrics: Sequence[str]) -> bool:
    return not metrics or any(paired.is_wall_clock(name, both[0][0].backend) for name in metrics)
