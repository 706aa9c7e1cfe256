"""Verdicts: a row's figure beside what is wanted of it, and whether the machine lets it be believed."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel

from harness.analysis.results import Quietness
from tests.bench.table.figures import Figures, Spread, inverse
from tests.bench.table.targets import Target


class Verdict(StrEnum):
    """How a row ended."""

    REACHED = "reached"
    MISSED = "missed"
    NOT_JUDGED = "not judged"
    BUSY = "too busy to judge"


class Row(BaseModel):
    """A row with its figures and its verdict."""

    target: Target
    ours: Spread | None = None
    rival: Spread | None = None
    """Both in the target's unit."""
    value: Spread | None = None
    """What is judged: a ratio, or the figure itself."""
    extra: dict[str, float] = {}
    verdict: Verdict
    reason: str = ""
    """Why it is not judged."""

    @property
    def believed(self) -> bool:
        """Return whether its figures may be compared with others."""
        return self.verdict in {Verdict.REACHED, Verdict.MISSED}


def judge(
    target: Target,
    figures: Figures | None,
    machine: Quietness | None,
    *,
    reason: str = "",
    named_kernel: str = "",
) -> Row:
    """Return a row with its verdict, by the median of the rounds.

    ``reason`` says why figures are absent. ``machine`` is the span in which they were taken; what was not watched is
    believed no more than what was busy. With a kernel that somebody named there is no verdict: targets are those of the
    kernel that is chosen without.
    """
    ours = rival = value = None
    if figures is not None and not figures.failed:
        ours = figures.ours and figures.throughput(figures.ours, target.unit)
        rival = figures.rival and figures.throughput(figures.rival, target.unit)
        value = _judged(target, figures, ours)
    row = Row(
        target=target,
        ours=ours,
        rival=rival,
        value=value,
        extra=figures.extra if figures else {},
        verdict=Verdict.NOT_JUDGED,
    )
    if value is None:
        said = (figures.failed if figures else "") or reason
        if figures is not None and figures.failed and machine is not None and not machine.quiet:
            return row.model_copy(update={"verdict": Verdict.BUSY, "reason": said})
        return row.model_copy(update={"reason": said or f"{target.bench} has no such row"})
    if named_kernel:
        return row.model_copy(update={"reason": f"PUNKTFUNK_FEC_KERNEL={named_kernel} is set"})
    if machine is None or not machine.quiet:
        return row.model_copy(update={"verdict": Verdict.BUSY})
    reached = target.reaches(value[0])
    return row.model_copy(update={"verdict": Verdict.REACHED if reached else Verdict.MISSED})


def _judged(
    target: Target, figures: Figures, ours: tuple[float, float, float] | None
) -> tuple[float, float, float] | None:
    if target.judged == "figure":
        return ours
    if target.judged == "parts":
        return figures.ratio and inverse(figures.ratio)
    return figures.ratio
