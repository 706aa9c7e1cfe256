"""Two runs side by side, or the two sides of an interleaved run: what moved, and whether to believe it.

Simulated cases compare exactly. Cases over real links compare by segments of a second or more, long enough
that neighbours no longer resemble each other (see ``harness.analysis.stats``); as the machine may have changed between
the two runs, such a difference is shown and never gated. What gates is an *interleaved* run: a scenario whose
matrix has the axis ``ab: [a, b]``, whose repeats run a and b in turn in random order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from harness.analysis import baseline, records, runs, stages, stats
from harness.analysis.definitions import METRICS
from harness.analysis.results import CaseResult, Check, RunResult, Status
from harness.analysis.stats import FloatArray, Gate, Judgement, Verdict
from punktfunk.errors import RegressionError

AXIS: Final = "ab"
"""Axis of the matrix whose values ``a`` and ``b`` an interleaved run compares."""
SHORTEST_SEGMENT: Final = 60
FEWEST_SEGMENTS: Final = 10
REGRESSION: Final = "regression"
"""First word of the checks that make a run exit with the code of a regression."""

JUDGED: Final = tuple(f"{span.name}_p50" for span in stages.SPANS)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one case in both runs."""

    case: str
    metric: str
    unit: str
    was: float | None
    now: float | None
    interval: tuple[float, float] | None
    """95 % interval of now / was; None for exact figures."""
    p_value: float | None
    """Holm-adjusted; None for exact figures."""
    verdict: str
    gates: bool
    """Whether it decides the exit code."""


@dataclass(slots=True)
class Comparison:
    """What moved between two runs."""

    rows: list[Row] = field(default_factory=list)
    """Figures that moved, or could not be judged; gating ones first."""
    warnings: list[str] = field(default_factory=list)
    """Why not to believe it."""
    compared: int = 0
    """Figures that were looked at."""

    @property
    def exit_code(self) -> int:
        """0, or the exit code of a regression."""
        worse = any(row.gates and row.verdict == "regression" for row in self.rows)
        return RegressionError.exit_code if worse else 0


def compare(a: tuple[RunResult, Path], b: tuple[RunResult, Path]) -> Comparison:
    """Compare run ``b`` (now) with run ``a`` (before), case by case."""
    (before, before_folder), (now, now_folder) = a, b
    found = Comparison(warnings=_doubts(before, now))
    _compare_exact(before, now, found)
    _compare_timed(before, before_folder, now, now_folder, found)
    found.rows.sort(key=lambda row: (not row.gates, row.verdict != "regression"))
    if not {case.id for case in before.cases} & {case.id for case in now.cases}:
        found.warnings.append("the runs have no case in common")
    return found


def _doubts(a: RunResult, b: RunResult) -> list[str]:
    found = []
    for name, what in (("machine_class", "machines of another class"), ("kernel", "another kernel")):
        was, now = a.environment.get(name), b.environment.get(name)
        if was != now:
            found.append(f"the runs were made on {what} ({was} and {now}): their times do not compare")
    if a.scenario != b.scenario:
        found.append(f"the runs are of different scenarios ({a.scenario} and {b.scenario})")
    for run, name in ((a, "first"), (b, "second")):
        if run.verdict in {Status.FAULT, Status.INTERRUPTED}:
            found.append(f"the {name} run ended {run.verdict.value}")
    ids = {c.id for c in a.cases} ^ {c.id for c in b.cases}
    if ids:
        found.append(f"{len(ids)} cases are in one run only and were not compared, such as {min(ids)}")
    found += _other_ends(a, b)
    seeds = {c.id: c.seed for c in a.cases}
    other = [c.id for c in b.cases if seeds.get(c.id, c.seed) != c.seed]
    if other:
        found.append(
            f"{len(other)} cases have another seed, such as {other[0]}: simulated figures do not compare"
        )
    return found


def _other_ends(a: RunResult, b: RunResult) -> list[str]:
    """Return what has to be known of cases that ran over another wire, or between other programs, than before."""
    found = []
    earlier = {c.id: c for c in a.cases}
    pairs = [(earlier[c.id], c) for c in b.cases if c.id in earlier]
    wires = [(was, now) for was, now in pairs if was.protocol != now.protocol]
    if wires:
        was, now = wires[0]
        found.append(
            f"{len(wires)} cases ran over another protocol ({was.protocol} and {now.protocol}), such as {now.id}: "
            "what moved in them is the difference of two wires, and simulated figures do not compare"
        )
    others = [
        (role, was.peers[role].program, now.peers[role].program)
        for was, now in pairs
        if was.protocol == now.protocol and was.backend == now.backend
        for role in was.peers
        if role in now.peers and was.peers[role].program != now.peers[role].program
    ]
    for role, before, after in dict.fromkeys(others):
        found.append(f"the runs had another {role} ({before} and {after})")
    return found


def _compare_exact(before: RunResult, now: RunResult, found: Comparison) -> None:
    simulated = [case for case in before.cases if case.backend == "sim" and case.status is Status.PASSED]
    kept = baseline.Baseline(
        scenario=before.scenario,
        cases={
            c.id: baseline.BaselineCase(
                seed=c.seed, protocol=c.protocol, digest=c.digest, figures=baseline.gated(c)
            )
            for c in simulated
        },
    )
    present = {(case.id, case.protocol) for case in now.cases if case.backend == "sim"}
    found.compared += sum(len(c.figures) for name, c in kept.cases.items() if (name, c.protocol) in present)
    for move in baseline.compare(now, kept):
        unit = METRICS[move.metric].unit
        found.rows.append(
            Row(move.case, move.metric, unit, move.was, move.now, None, None, move.verdict, gates=True)
        )


def _compare_timed(
    before: RunResult, before_folder: Path, now: RunResult, now_folder: Path, found: Comparison
) -> None:
    earlier = {case.id: case for case in before.cases if case.metrics}
    samples: list[tuple[CaseResult, CaseResult, str, FloatArray, FloatArray]] = []
    lacking = 0
    for case in now.cases:
        was = earlier.get(case.id)
        if was is None or "sim" in (was.backend, case.backend):
            continue
        tables = [_table(folder, c) for folder, c in ((before_folder, was), (now_folder, case))]
        for span in stages.SPANS:
            pair = [_segments(stages.durations_ms(t, span)) if t else np.empty(0) for t in tables]
            if all(side.size >= FEWEST_SEGMENTS and np.all(side > 0) for side in pair):
                samples.append((was, case, f"{span.name}_p50", pair[0], pair[1]))
            elif value_of(was, f"{span.name}_p50") and value_of(case, f"{span.name}_p50"):
                lacking += 1
    found.compared += len(samples)
    if samples:
        found.warnings.append(
            "the two runs were not interleaved, so a change of the machine between them cannot be told from a change "
            f"of the program; confirm with an interleaved run (a matrix with '{AXIS}: [a, b]')"
        )
    if lacking:
        found.warnings.append(
            f"{lacking} latencies have fewer than {FEWEST_SEGMENTS} independent segments and were not judged: "
            "run longer"
        )
    adjusted = stats.holm([stats.mann_whitney(x, y) for *_, x, y in samples])
    gate = Gate()
    for (was, case, name, x, y), p in zip(samples, adjusted, strict=True):
        ratio = float(np.median(y) / np.median(x))
        if p <= gate.alpha and abs(math.log(ratio)) > math.log1p(gate.tolerance):
            found.rows.append(
                Row(
                    case.id,
                    name,
                    "ms",
                    value_of(was, name),
                    value_of(case, name),
                    _ratio_interval(x, y),
                    p,
                    "slower" if ratio > 1 else "faster",
                    gates=False,
                )
            )


def _table(folder: Path, case: CaseResult) -> records.Records | None:
    file = runs.frames_file(folder, case)
    return records.read(file)[0] if file else None


def _segments(values: FloatArray) -> FloatArray:
    """Return medians of segments that are as short as independence between neighbours allows."""
    length = SHORTEST_SEGMENT
    medians = stats.segment_percentiles(values, length)
    while medians.size >= 2 * FEWEST_SEGMENTS and stats.correlation_time(medians) > 1.5:
        length *= 2
        medians = stats.segment_percentiles(values, length)
    return medians


def _ratio_interval(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    rng = np.random.default_rng(1)
    a = np.median(rng.choice(x, size=(2000, x.size)), axis=1)
    b = np.median(rng.choice(y, size=(2000, y.size)), axis=1)
    low, high = np.quantile(b / a, [0.025, 0.975])
    return float(low), float(high)


def value_of(case: CaseResult, name: str) -> float | None:
    """Return a figure of a case; None where it was not measured."""
    metric = case.metrics.get(name)
    return None if metric is None else metric.value


# --- interleaved --------------------------------------------------------------------------------------------


def interleaved_pairs(cases: Sequence[CaseResult]) -> dict[str, list[tuple[float, float]]]:
    """Return the (a, b) pairs of every judged figure of an interleaved run, by figure and the other axes.

    Cases pair by repeat. A figure that a pair lacks, or that is 0, is left out of that pair.
    """
    others = other_axes([case.params for case in cases])
    sides: dict[tuple[str, int], dict[str, CaseResult]] = defaultdict(dict)
    for case in cases:
        side = case.params.get(AXIS)
        if side in ("a", "b") and case.status in {Status.PASSED, Status.FAILED}:
            rest = ", ".join(f"{name} {case.params[name]}" for name in others if name in case.params)
            sides[rest, case.repeat][str(side)] = case
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (rest, _), both in sorted(sides.items(), key=lambda item: item[0]):
        if len(both) < 2:
            continue
        for name in JUDGED:
            was, now = value_of(both["a"], name), value_of(both["b"], name)
            if was and now and was > 0 and now > 0:
                pairs[f"{name} ({rest})" if rest else name].append((was, now))
    return dict(pairs)


def other_axes(listed: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the axes that vary within a side: what only follows from ``ab`` is what the sides differ in."""
    names = dict.fromkeys(name for params in listed for name in params if name != AXIS)
    return [
        name
        for name in names
        if any(
            len({str(params.get(name)) for params in listed if params.get(AXIS) == side}) > 1
            for side in ("a", "b")
        )
    ]


def only_regressed(run: RunResult) -> bool:
    """Return whether nothing failed but the comparison of an interleaved run."""
    failed = [check for check in run.checks if not check.passed]
    return (
        bool(failed)
        and all(check.name.startswith(f"{REGRESSION}: ") for check in failed)
        and all(case.status in {Status.PASSED, Status.UNSUPPORTED} for case in run.cases)
    )


def interleaved_checks(cases: Sequence[CaseResult], gate: Gate | None = None) -> list[Check]:
    """Return one check a figure of an interleaved layer; none when it is not interleaved.

    A failed one names the stage; one that could not be judged for want of samples passes and says so, with
    the number of pairs that it would take.
    """
    pairs = interleaved_pairs(cases)
    if not pairs:
        return []
    gate = gate or Gate()
    judged = stats.judge(pairs, gate=gate)  # what is judged are latencies: higher is worse
    # A stage says more than a sum of stages: it comes first.
    judged.sort(key=lambda j: j.name.partition("_p50")[0] not in stages.WATERFALL)
    return [_check(judgement, gate) for judgement in judged]


def _check(judgement: Judgement, gate: Gate) -> Check:
    low, high = judgement.interval
    change = f"{judgement.ratio - 1:+.1%}"
    if math.isfinite(low) and math.isfinite(high):
        change += f" ({low - 1:+.1%} … {high - 1:+.1%})"
    detail = {
        Verdict.TOO_FEW: (
            f"not judged: {judgement.pairs} pairs are too few for {gate.effect:.0%}; at least {judgement.pairs_needed} "
            "are wanted"
        ),
        Verdict.SAME: f"a change of {judgement.detectable:.1%} would have been seen",
        Verdict.IMPROVEMENT: "better",
        Verdict.REGRESSION: "",
    }[judgement.verdict]
    return Check(
        name=f"{REGRESSION}: {judgement.name}"
        + (" (not judged)" if judgement.verdict is Verdict.TOO_FEW else ""),
        passed=judgement.verdict is not Verdict.REGRESSION,
        expected=f"b at most {gate.tolerance:.0%} above a",
        measured=f"{change}, adjusted p {judgement.p_value:.2g}, {judgement.pairs} pairs",
        detail=detail,
    )


def text(found: Comparison) -> str:
    """Return a comparison as plain lines for a terminal."""
    lines = [f"warning: {warning}" for warning in found.warnings]
    if not found.rows:
        lines.append(
            f"nothing moved in {found.compared} figures" if found.compared else "nothing was compared"
        )
        return "\n".join(lines) + "\n"
    head = ("case", "metric", "was", "now", "now/was", "p", "verdict")
    table = [head]
    for row in found.rows:
        ratio = f"{row.now / row.was:.3f}" if row.was and row.now is not None else "–"
        if row.interval:
            ratio += f" [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
        table.append(
            (
                row.case,
                row.metric,
                _shown(row.was, row.unit),
                _shown(row.now, row.unit),
                ratio,
                "exact" if row.p_value is None else f"{row.p_value:.2g}",
                row.verdict + ("" if row.gates else " (not gated)"),
            )
        )
    widths = [max(len(line[n]) for line in table) for n in range(len(head))]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    lines.append(f"{len(found.rows)} of {found.compared} figures moved")
    return "\n".join(lines) + "\n"


def _shown(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.5g} {unit}".rstrip()
