"""What a scenario found when all was well, kept in ``reports/baselines`` to hold later runs against.

Two kinds of figures are kept apart. Figures of the simulated link depend on the code and the seed alone: they
are gated, exactly. Wall-clock figures depend on the machine and on the hour: they are kept by machine class
to be read, and never gated; a change of latency is shown by an interleaved A/B run (``harness.analysis.compare``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.analysis.definitions import METRICS
from harness.analysis.results import MAX_RESULT_BYTES, PROTOCOL_OF_VERSION_1, CaseResult, RunResult, Status
from punktfunk.errors import ResultsError
from punktfunk.regular_file import read_regular

SCHEMA_VERSION: Final = 1
FOLDER: Final = Path("reports/baselines")

_GROUPS: Final = frozenset({"frames", "packets", "cost"})
_LATENCIES: Final = ("sealed_to_complete_p50", "sealed_to_complete_p99")
_WALL_CLOCK: Final = ("encode_p50", "seal_p50", "transport_p50", "transport_p99", "decode_p50", "goodput")


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class BaselineCase(_Model):
    """One simulated case."""

    seed: int
    protocol: str = PROTOCOL_OF_VERSION_1
    digest: str
    """Equal digests: nothing moved, without a look at the figures."""
    figures: dict[str, float] = Field(default_factory=dict)


class Figure(_Model):
    """A wall-clock figure, to be read and not gated."""

    value: float
    unit: str
    interval: tuple[float, float] | None = None
    n: int | None = None


class Baseline(_Model):
    """A baseline file."""

    schema_version: int = SCHEMA_VERSION
    scenario: str
    git: str = ""
    made: str = ""
    cases: dict[str, BaselineCase] = Field(default_factory=dict)
    wall_clock: dict[str, dict[str, dict[str, Figure]]] = Field(default_factory=dict)
    """By machine class, case and metric."""


@dataclass(frozen=True, slots=True)
class Move:
    """A gated figure that is not what it was."""

    case: str
    metric: str
    was: float | None
    now: float | None
    verdict: Literal["regression", "improvement", "changed"]

    def __str__(self) -> str:
        def shown(value: float | None) -> str:
            return "not measured" if value is None else f"{value:.6g}"

        return f"{self.case}: {self.metric} was {shown(self.was)}, is {shown(self.now)} ({self.verdict})"


def path_of(scenario: str, folder: Path = FOLDER) -> Path:
    """Return where a scenario's baseline is kept."""
    return folder / f"{scenario}.json"


def snapshot(run: RunResult, earlier: Baseline | None = None) -> Baseline:
    """Return the baseline that a run makes; wall-clock figures of other machine classes are kept from ``earlier``.

    Raises :class:`ResultsError` for a run in which something failed: that is nothing to hold others against.
    """
    failed = [c.id for c in run.cases if c.status not in {Status.PASSED, Status.UNSUPPORTED}]
    if failed or run.verdict in {Status.FAILED, Status.FAULT, Status.INTERRUPTED}:
        raise ResultsError(
            f"run {run.run_id} ended {run.verdict.value} and makes no baseline"
            + (f" ({failed[0]} did not pass)" if failed else ""),
            "mend what failed and run the scenario again",
        )
    wall_clock = dict(earlier.wall_clock) if earlier else {}
    measured = {
        case.id: {
            name: Figure(value=metric.value, unit=metric.unit, interval=metric.interval, n=metric.n)
            for name in _WALL_CLOCK
            if (metric := case.metrics.get(name)) is not None and metric.value is not None
        }
        for case in run.cases
        if case.backend != "sim" and case.status is Status.PASSED
    }
    if measured:
        wall_clock[_machine(run)] = measured
    return Baseline(
        scenario=run.scenario,
        git=str(run.environment.get("git", "")),
        made=run.started,
        cases={
            case.id: BaselineCase(
                seed=case.seed, protocol=case.protocol, digest=case.digest, figures=gated(case)
            )
            for case in run.cases
            if case.backend == "sim" and case.status is Status.PASSED
        },
        wall_clock=wall_clock,
    )


def gated(case: CaseResult) -> dict[str, float]:
    """Return the figures of a simulated case that a baseline gates: counts, shares and two latencies."""
    return {
        name: metric.value
        for name, metric in case.metrics.items()
        if metric.value is not None and is_gated(name)
    }


def is_gated(name: str) -> bool:
    """Return whether a baseline gates a figure of a simulated case."""
    return (
        name in METRICS
        and METRICS[name].deterministic
        and (METRICS[name].group in _GROUPS or name in _LATENCIES)
        and not name.endswith(("_p95", "_p999"))
    )


def compare(run: RunResult, baseline: Baseline) -> list[Move]:
    """Return every gated figure that moved, worst first. Cases that only one side has are not compared.

    A case whose digest is the same moved nothing. A case with another seed or over another protocol is another
    experiment: it is left out.
    """
    moves = []
    for case in run.cases:
        was = baseline.cases.get(case.id)
        if was is None or case.backend != "sim" or case.digest == was.digest:
            continue
        if (case.seed, case.protocol) != (was.seed, was.protocol):
            continue
        if case.status is Status.UNSUPPORTED:
            continue
        now = gated(case)
        for name in sorted({*was.figures, *now}):
            before, after = was.figures.get(name), now.get(name)
            if before != after:
                moves.append(Move(case.id, name, before, after, _verdict(name, before, after)))
    return sorted(moves, key=lambda move: (move.verdict != "regression", move.verdict == "changed"))


def _verdict(
    name: str, was: float | None, now: float | None
) -> Literal["regression", "improvement", "changed"]:
    better = METRICS[name].better if name in METRICS else "none"
    if was is None or now is None or better == "none":
        return "changed"
    return "improvement" if (now < was) == (better == "lower") else "regression"


def load(path: Path) -> Baseline:
    """Read a baseline; raise :class:`ResultsError` when it is none, or of a later version."""
    try:
        found = Baseline.model_validate_json(read_regular(path, MAX_RESULT_BYTES))
    except OSError as error:
        raise ResultsError(
            f"there is no baseline {path}: {error.strerror or error}",
            "make one from a run that passed: python -m harness baseline RUN",
        ) from error
    except ValidationError as error:
        raise ResultsError(f"{path} is not a baseline: {error.errors()[0]['msg']}") from error
    if not 1 <= found.schema_version <= SCHEMA_VERSION:
        raise ResultsError(
            f"{path} has schema version {found.schema_version}; this reads 1 to {SCHEMA_VERSION}"
        )
    return found


def save(baseline: Baseline, path: Path) -> None:
    """Write a baseline whole or not at all, its keys sorted so that a change shows as itself in a diff."""
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(baseline.model_dump(mode="json"), indent=1, sort_keys=True)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ResultsError(f"{path} could not be written: {error.strerror or error}") from error


def _machine(run: RunResult) -> str:
    return str(run.environment.get("machine_class", "unknown"))
