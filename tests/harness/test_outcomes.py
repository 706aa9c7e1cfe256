"""What pairs of two builds come to on a real link: which are believed, and what a build lost."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from harness.analysis.definitions import FIGURES
from harness.analysis.results import CaseResult, Metric, Quietness, Status
from harness.builds import ab
from harness.builds.outcomes import conclude
from harness.builds.pairing import PairedRun
from harness.builds.worker import Worker
from punktfunk.errors import BusyMachineError, CheckFailedError

SCENARIO = "name: link\nseed: 3\nmedia: {{frames: 60}}\nlink: {{backend: {backend}}}\n"


def machine(*, others: float, yielding: float = 0.0, quiet: bool = True) -> Quietness:
    reasons = [] if quiet else [f"other processes took {others:.0%} of 2 CPUs"]
    return Quietness(
        quiet=quiet, reasons=reasons, seconds=2, cpus=2, others=others, others_worst=1, yielding=yielding, own=0.1
    )  # fmt: skip


QUIET = machine(others=0.0)


def side(status: Status = Status.PASSED, found: Quietness = QUIET, backend: str = "tun") -> CaseResult:
    figures = {"encode_p50": 2.0, "case_cpu": 900.0} if status is Status.PASSED else {}
    return CaseResult(
        id="link",
        scenario="link",
        seed=3,
        protocol="punktfunk/1",
        backend=backend,
        status=status,
        reason="" if figures else "the handshake took too long",
        machine=found,
        metrics={
            name: Metric(value=value, unit=FIGURES[name].unit, better=FIGURES[name].better)
            for name, value in figures.items()
        },
    )


def ran(folder: Path, both: list[tuple[CaseResult, CaseResult]], backend: str = "tun") -> PairedRun:
    """Return pairs that have run, of builds that nobody started."""
    scenario = folder / "link.yaml"
    scenario.write_text(SCENARIO.format(backend=backend), encoding="utf-8")
    runs = ab.runs_of(scenario, None, None, "", ())
    [case] = runs.cases
    nobody = cast(Worker, None)
    return PairedRun(nobody, nobody, runs, folder, pairs={case.id: both}, count=len(both))


@pytest.mark.parametrize("busy_side", [0, 1])
def test_a_busy_pair_is_told_of_by_the_side_that_was_busy_and_not_by_work_that_yields(
    busy_side: int, tmp_path: Path
) -> None:
    """Most of the CPUs went to work at idle priority on the other side, which nobody waited for."""
    sides = [side(found=machine(others=0.9, yielding=0.9))] * 2
    sides[busy_side] = side(found=machine(others=0.5, quiet=False))
    both = [(side(), side())] * 9 + [(sides[0], sides[1])]
    [note] = conclude(ran(tmp_path, both), ["encode_p50"]).notes
    assert note.endswith("are of 9 pairs: in 1 other processes took 50% of 2 CPUs")
    with pytest.raises(BusyMachineError, match="worth believing: other processes took 50% of 2 CPUs"):
        conclude(ran(tmp_path, both[-1:]), ["encode_p50"])
    assert conclude(ran(tmp_path, both), ["case_cpu"]).notes == [], "CPU time is of all pairs"


@pytest.mark.parametrize(
    ("backend", "gone", "lost"), [("tun", 1, False), ("tun", 2, False), ("tun", 3, True), ("sim", 1, True)]
)
def test_on_a_real_link_a_start_may_fail_for_once_and_in_virtual_time_never(
    backend: str, gone: int, *, lost: bool, tmp_path: Path
) -> None:
    both = [
        (side(backend=backend), side(Status.FAULT if number < gone else Status.PASSED, backend=backend))
        for number in range(6)
    ]
    outcome = conclude(ran(tmp_path, both, backend), ["case_cpu"])
    assert outcome.lost is lost
    assert (outcome.exit_code == CheckFailedError.exit_code) is lost
    assert f"head came to no result in {gone} of 6 runs" in outcome.notes[0]
