"""A run of very many cases in few figures: what each axis does, what two of them do together, and its worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.analysis.case_files import columns_of, read_columns, rows_where
from harness.analysis.case_table import AXIS, METRIC, THEORY, axes_of, result_of
from harness.analysis.results import CaseResult
from harness.report.text import clean, number

FloatArray: TypeAlias = NDArray[np.float64]

RECOVERY: Final = METRIC + "recovery"
DECODABLE: Final = METRIC + "decodable"
LATENCY: Final = METRIC + "sealed_to_complete_p99"
EXPECTED: Final = THEORY + "recovery"
SHOWN: Final = (RECOVERY, DECODABLE, LATENCY)
_JUDGED: Final = tuple(THEORY + name for name in ("p_value", "complete", "expected", "sd"))
WORST: Final = 12
"""Cells of each list of the worst."""
_MOST_AXES: Final = 12
_APART: Final = 4
"""Axes, those that move a figure most, in which the worst cells of it differ: as many as a heat map shows."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The cells of one layer that ended with figures, column by column, shape (cells,) each."""

    name: str
    axes: dict[str, list[str]]
    """Values of each axis that has several, in the order of the scenario."""
    codes: dict[str, NDArray[np.int64]]
    """The number of each cell's value."""
    place: NDArray[np.int64]
    figures: dict[str, FloatArray]
    """By column; nan where a cell has none, and a column that no cell has is missing."""

    def marginal(self, axis: str, figure: str) -> FloatArray:
        """Return the mean of a figure at each value of an axis, over all others."""
        return self.means(figure, (axis,))

    def means(self, figure: str, axes: Sequence[str]) -> FloatArray:
        """Return the mean of a figure at each combination of some axes, over all others; nan where there is none."""
        values = self.figures[figure]
        shape = tuple(len(self.axes[axis]) for axis in axes)
        where = np.ravel_multi_index(tuple(self.codes[axis] for axis in axes), shape)
        known = np.isfinite(values)
        sums = np.bincount(where[known], weights=values[known], minlength=int(np.prod(shape)))
        counts = np.bincount(where[known], minlength=int(np.prod(shape)))
        means = np.full(counts.size, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means.reshape(shape)

    def strongest(self, figure: str) -> list[str]:
        """Return the axes, the one that moves a figure most first."""

        def effect(axis: str) -> float:
            means = self.marginal(axis, figure)
            return float(np.nanvar(means)) if np.isfinite(means).any() else 0.0

        return sorted(self.axes, key=effect, reverse=True)

    def residuals(self) -> FloatArray:
        """Return how far each cell is from theory in standard deviations; nan where chance has no room."""
        if not set(_JUDGED) <= set(self.figures):
            return np.full(self.place.size, np.nan)
        sd = self.figures[THEORY + "sd"]
        off = self.figures[THEORY + "complete"] - self.figures[THEORY + "expected"]
        return np.where(sd > 0, off / np.where(sd > 0, sd, 1.0), np.nan)


@dataclass(frozen=True, slots=True)
class Worst:
    """A list of cells with the command that runs each again."""

    title: str
    rows: list[tuple[str, str, str, str]]
    """The cell, its figure, what theory says, the command."""


def layers_of(folder: Path) -> list[Layer]:
    """Return the layers of a run's table."""
    names = axes_of(columns_of(folder))[:_MOST_AXES]
    columns = [AXIS + name for name in names]
    table = read_columns(folder, ["place", "layer", *columns, *SHOWN, EXPECTED, *_JUDGED])
    if not table.num_rows:
        return []
    place, first = np.unique(table.column("place").to_numpy(), return_index=True)
    layer = np.asarray(table.column("layer").to_numpy()[first])
    found = []
    for name in dict.fromkeys(layer.tolist()):
        members = layer == name
        rows = first[members]
        axes: dict[str, list[str]] = {}
        codes: dict[str, NDArray[np.int64]] = {}
        for axis, column in zip(names, columns, strict=True):
            texts = table.column(column).fill_null("").to_numpy()[rows]
            values, order, code = np.unique(texts.astype(str), return_index=True, return_inverse=True)
            if values.size > 1:
                ranks = np.argsort(order)
                axes[axis] = [clean(values[rank]) for rank in ranks]
                codes[axis] = np.argsort(ranks)[code]
        figures = {
            figure: np.asarray(table.column(figure).to_numpy()[rows], dtype=np.float64)
            for figure in (*SHOWN, EXPECTED, *_JUDGED)
            if figure in table.column_names
        }
        found.append(Layer(clean(name), axes, codes, place[members], figures))
    return found


def worst_of(layer: Layer, folder: Path) -> list[Worst]:
    """Return the cells that somebody should look at, worst first."""
    lists = []
    for title, figure, sign in (
        ("Farthest from theory", THEORY + "p_value", 1),
        ("Fewest frames complete", RECOVERY, 1),
        ("Latest frames (p99 from sealed to complete)", LATENCY, -1),
    ):
        values = layer.figures.get(figure)
        if values is None or not np.isfinite(values).any():
            continue
        order = np.argsort(sign * np.where(np.isfinite(values), values, sign * np.inf), kind="stable")
        order = order[: int(np.isfinite(values).sum())]
        # Each cell is a chance of its own to miss theory; of another figure neighbours of a bad cell say no more.
        apart = () if figure.startswith(THEORY) else tuple(layer.strongest(figure)[:_APART])
        places = [int(layer.place[cell]) for cell in _first_of_each(layer, order, apart)]
        rows = [_shown(result_of(row), figure) for row in rows_where(folder, places)]
        lists.append(Worst(f"{title}, the worst of each {', '.join(apart)}" if apart else title, rows))
    return lists


def _first_of_each(layer: Layer, order: NDArray[np.int64], axes: Sequence[str]) -> list[int]:
    """Return the first cells that differ in some axes; without axes the first."""
    found: dict[tuple[int, ...], int] = {}
    for cell in order.tolist():
        found.setdefault(tuple(int(layer.codes[axis][cell]) for axis in axes) or (cell,), cell)
        if len(found) == WORST:
            break
    return list(found.values())


def _shown(case: CaseResult, figure: str) -> tuple[str, str, str, str]:
    cell = clean(", ".join(f"{name} {value}" for name, value in case.params.items()) or case.id)
    expected = case.theory.get("recovery")
    if figure.startswith(THEORY):
        said = (
            f"{case.theory.get('complete', 0):.0f} of {case.theory.get('frames', 0):.0f} complete, "
            f"p {case.theory['p_value']:.2g} before correction"
        )
    else:
        metric = case.metrics[figure.removeprefix(METRIC)]
        said = number(metric.value, metric.unit)
    return cell, said, number(expected, "fraction"), clean(case.replay)
