"""The matrix of a layer as tables: two axes across and down, one table for each combination of the others."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.analysis.results import CaseResult, Status
from harness.report.text import MARK, WORD, clean

SCALE: Final = (
    "#5b2a0a",
    "#8c4510",
    "#b96a2b",
    "#d99a5b",
    "#eccda5",
    "#e6e6e0",
    "#bcd3e3",
    "#7fb0d0",
    "#3b82b5",
    "#0b5a94",
)
"""Vermillion to blue, by lightness as well as by hue: readable without colour vision and in grey."""

_WORST: Final = (Status.FAULT, Status.FAILED, Status.INTERRUPTED, Status.UNSUPPORTED, Status.PASSED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the matrix, all its repeats together."""

    text: str
    mark: str
    title: str
    anchor: str
    background: str
    ink: str
    kind: Literal["ok", "off", "idle"]
    """All passed; something failed; or it did not run, which is no failure."""


@dataclass(frozen=True, slots=True)
class Grid:
    """One table: ``rows`` are a label and its cells (None: no such case)."""

    title: str
    down: str
    across: str
    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]


def grids(cases: Sequence[CaseResult], anchors: Mapping[str, str]) -> list[Grid]:
    """Return the tables of one layer; none when its cases have no axis with two values.

    The axis with most values goes across, the next one down. ``anchors`` maps case ids to places in the page.
    """
    axes: dict[str, list[str]] = {}
    for case in cases:
        for name, value in case.params.items():
            seen = axes.setdefault(name, [])
            if clean(value) not in seen:
                seen.append(clean(value))
    order = sorted((name for name in axes if len(axes[name]) > 1), key=lambda name: -len(axes[name]))
    if not order:
        return []
    across, order = order[0], _independent(cases, order)[1:]
    down, others = order[0] if order else "", order[1:]
    table: dict[tuple[str, ...], list[CaseResult]] = {}
    for case in cases:
        key = tuple(_value(case, name) for name in (across, down, *others))
        table.setdefault(key, []).append(case)
    found = []
    for rest in itertools.product(*(axes[name] for name in others)):
        rows = [
            (label, [_cell(table.get((column, label, *rest)), anchors) for column in axes[across]])
            for label in (axes[down] if down else [""])
        ]
        if any(cell for _, cells in rows for cell in cells):
            title = ", ".join(f"{name} {value}" for name, value in zip(others, rest, strict=True))
            found.append(Grid(clean(title), clean(down), clean(across), axes[across], rows))
    return found


def _independent(cases: Sequence[CaseResult], order: Sequence[str]) -> list[str]:
    """Return the axes that say something new: not one whose value follows from an earlier one's."""
    kept: list[str] = []
    for name in order:
        for earlier in kept:
            pairs = {(_value(case, earlier), _value(case, name)) for case in cases}
            if len(pairs) == len({first for first, _ in pairs}):
                break
        else:
            kept.append(name)
    return kept


def _value(case: CaseResult, name: str) -> str:
    value: Any = case.params.get(name, "")
    return clean(value)


def _cell(cases: Sequence[CaseResult] | None, anchors: Mapping[str, str]) -> Cell | None:
    if not cases:
        return None
    worst = min(cases, key=lambda case: _WORST.index(case.status))
    values = [
        case.metrics["recovery"].value
        for case in cases
        if "recovery" in case.metrics and case.metrics["recovery"].value is not None
    ]
    shares = [value for value in values if value is not None]
    share = sum(shares) / len(shares) if shares else None
    idle = worst.status is Status.UNSUPPORTED
    background, ink = ("var(--panel)", "var(--soft)") if idle and share is None else _colours(share)
    return Cell(
        text=_percent(share) if share is not None else WORD[worst.status],
        mark="" if worst.status is Status.PASSED else MARK[worst.status],
        title=clean(f"{worst.id}: {WORD[worst.status]}"),
        anchor=anchors[worst.id],
        background=background,
        ink=ink,
        kind="ok" if worst.status is Status.PASSED else "idle" if idle else "off",
    )


def _percent(share: float) -> str:
    """Return a share in percent, one digit after the point; only all is 100 and only none is 0."""
    if share in {0.0, 1.0}:
        return f"{share * 100:.0f} %"
    return f"{min(99.9, max(0.1, share * 100)):.1f} %"


def _colours(share: float | None) -> tuple[str, str]:
    if share is None:
        return "transparent", "inherit"
    step = min(len(SCALE) - 1, max(0, int(share * len(SCALE))))
    return SCALE[step], "#ffffff" if step in {0, 1, 2, 8, 9} else "#101010"
