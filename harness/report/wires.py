"""Cases that differ in their wire alone, side by side: what a run says of one protocol beside another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.analysis.results import CaseResult, Metric, RunResult, Status
from harness.report.text import clean, figure, layers, number

_LATENCIES: Final = (
    ("capture_to_decoded", "capture → decoded"),
    ("transport", "capture → complete"),
    ("sealed_to_complete", "sealed → complete"),
)
"""Spans that a comparison shows, the first that was measured of them."""
HEAD: Final = (
    "wire",
    "frames recovered",
    "theory",
    "FEC overhead",
    "goodput",
    "latency p50",
    "latency p99",
    "time to picture p50",
    "time to picture p95",
)


@dataclass(slots=True)
class Point:
    """One point of a matrix, over every wire that it ran over."""

    label: str
    cases: dict[str, CaseResult] = field(default_factory=dict)
    """By protocol."""


@dataclass(slots=True)
class Comparison:
    """The points of one layer."""

    layer: str
    wires: list[str]
    """Protocols in the order of the run."""
    axes: set[str]
    """Names of the axes that choose nothing but the wire."""
    points: list[Point] = field(default_factory=list)

    @property
    def cases(self) -> list[CaseResult]:
        """Every case of it."""
        return [case for point in self.points for case in point.cases.values()]

    def latency(self) -> tuple[str, str]:
        """Return name and title of the span that stands for latency; names "" where none was measured."""
        return next(
            (
                span
                for span in _LATENCIES
                if any(measured(c, f"{span[0]}_p50") is not None for c in self.cases)
            ),
            ("", ""),
        )


def comparisons(run: RunResult) -> list[Comparison]:
    """Return the layers whose points ran over several wires; points that only one wire has are left out."""
    found = []
    for name, cases in layers(run).items():
        ran = [case for case in cases if case.status in {Status.PASSED, Status.FAILED}]
        wires = list(dict.fromkeys(case.protocol for case in ran))
        if len(wires) < 2:
            continue
        comparison = Comparison(name, wires, _wire_axes(ran))
        points: dict[str, Point] = {}
        for case in ran:
            listed = [f"{axis} {value}" for axis, value in case.params.items() if axis not in comparison.axes]
            label = clean(", ".join([*listed, f"repeat {case.repeat}"] if case.repeat else listed))
            points.setdefault(label, Point(label)).cases[case.protocol] = case
        comparison.points = [point for point in points.values() if len(point.cases) > 1]
        if comparison.points:
            found.append(comparison)
    return found


def _wire_axes(cases: Sequence[CaseResult]) -> set[str]:
    """Return the axes of which each value means one protocol and each protocol one value."""
    names = {name for case in cases for name in case.params}
    wires = {case.protocol for case in cases}
    return {
        name
        for name in names
        if len({str(case.params.get(name)) for case in cases}) == len(wires)
        and len({(str(case.params.get(name)), case.protocol) for case in cases}) == len(wires)
    }


def row(comparison: Comparison, case: CaseResult) -> list[str]:
    """Return the cells of :data:`HEAD` for a case."""
    span, _ = comparison.latency()
    return [
        clean(case.protocol),
        figure(case.metrics.get("recovery")),
        number(case.theory.get("recovery"), "fraction"),
        *(
            figure(case.metrics.get(name))
            for name in (
                "fec_overhead",
                "goodput",
                f"{span}_p50",
                f"{span}_p99",
                "recovery_time_p50",
                "recovery_time_p95",
            )
        ),
    ]


def markdown(comparison: Comparison) -> str:
    """Return a comparison as a table for a page: a row a point, each figure of all wires in one cell."""
    head = ["", *HEAD[1:]]
    lines = [
        f"{comparison.layer}, each cell {' / '.join(clean(wire) for wire in comparison.wires)}:",
        "",
        "| " + " | ".join(head) + " |",
        "| " + " | ".join(["---"] * len(head)) + " |",
    ]
    for point in comparison.points:
        rows = [row(comparison, point.cases[wire])[1:] for wire in comparison.wires if wire in point.cases]
        cells = [both[0] if len(set(both)) == 1 else " / ".join(both) for both in zip(*rows, strict=True)]
        lines.append("| " + " | ".join([point.label, *cells]) + " |")
    return "\n".join(lines) + "\n"


def measured(case: CaseResult, name: str) -> float | None:
    """Return a figure of a case; None where it was not measured."""
    metric: Metric | None = case.metrics.get(name)
    return None if metric is None else metric.value
