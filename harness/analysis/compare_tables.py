"""Two runs of very many cases side by side: which figures moved, and on which values of which axes.

Every case is in virtual time and has the same seed on both sides, so that whatever differs is a difference of the code.
Cell by cell that says little: a packet more in the third frame moves every later loss, for the better here and for the
worse there. Over thousands of cells luck goes both ways and a cause goes one: differences are judged by the signed-rank
test, over all cells and over those of each value of each axis, together held to the gate's error (Holm).
Columns are read one figure at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness.analysis import baseline, case_files, stats
from harness.analysis.case_table import AXIS, METRIC, axes_of, to_table
from harness.analysis.definitions import METRICS
from harness.analysis.results import RunResult, Status, group_of
from harness.analysis.stats import FloatArray, Gate
from punktfunk.errors import RegressionError

if TYPE_CHECKING:
    import pyarrow as pa

IntArray = NDArray[np.int64]
Verdict = Literal["regression", "improvement", "changed", "either way"]
MOST_FACETS: Final = 6
"""Values of axes that are shown of a figure: those on which it moved most."""
FEWEST: Final = 10
"""Cells that have to move before a facet is looked at: of fewer not even all in one direction are beyond chance."""
STANDS_OUT: Final = 1.2
"""How much farther than over all cells a figure has to move on a value that is shown."""
_KEYS: Final = ("id", "status", "seed", "protocol", "backend", "digest")
_JUDGED: Final = frozenset({Status.PASSED.value, Status.FAILED.value})


@dataclass(frozen=True, slots=True)
class Facet:
    """What a figure did over all cells, or over those with one value of one axis."""

    axis: str
    """"" for all cells."""
    value: str
    cells: int
    moved: int
    worse: int
    """Cells that moved for the worse; of a figure that is neither, those that grew."""
    before: float
    after: float
    """Means over the cells."""
    p_value: float
    """Holm-adjusted over all figures and facets that moved, in the direction in which it moved."""
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Moved:
    """A figure that is not what it was in some cell."""

    metric: str
    everywhere: Facet
    facets: list[Facet]
    """Values of axes on which it moved farther than elsewhere, beyond chance; farthest first."""
    farthest: tuple[str, float, float]
    """The cell that moved most for the worse, with its figure before and after."""


@dataclass(slots=True)
class TableComparison:
    """What moved between two runs of very many cases."""

    compared: int = 0
    """Cells that both have, of the same seed and wire."""
    same: int = 0
    """Of those, the ones that are equal to the byte."""
    lost: int = 0
    """Cells that came to a result before and to none now."""
    figures: int = 0
    moved: list[Moved] = field(default_factory=list)
    """Regressions first."""
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or the exit code of a regression: a figure that moved for the worse, or a cell that was lost."""
        worse = self.lost > 0 or any(
            facet.verdict == "regression" for each in self.moved for facet in (each.everywhere, *each.facets)
        )
        return RegressionError.exit_code if worse else 0


@dataclass(frozen=True, slots=True)
class _Side:
    """A run whose rows are read by the column; those of a run without a table are made."""

    run: RunResult
    folder: Path
    made: Any = None

    def columns(self, names: Sequence[str]) -> pa.Table:
        if self.made is None:
            return case_files.read_columns(self.folder, names)
        return self.made.select([name for name in names if name in self.made.column_names])

    def names(self) -> list[str]:
        return case_files.columns_of(self.folder) if self.made is None else list(self.made.column_names)


def _side(run: RunResult, folder: Path) -> _Side:
    if run.table is not None:
        return _Side(run, folder)
    return _Side(run, folder, to_table((n, group_of(case), case) for n, case in enumerate(run.cases)))


def compare(
    a: tuple[RunResult, Path], b: tuple[RunResult, Path], *, gate: Gate | None = None
) -> TableComparison:
    """Compare run ``b`` (now) with run ``a`` (before), of which one at least keeps a table."""
    gate = gate or Gate()
    sides = _side(*a), _side(*b)
    found = TableComparison()
    rows = _common(*sides, found)
    if not rows[0].size:
        found.warnings.append("the runs have no case in common that can be compared")
        return found
    axes = _axes(sides[1], rows[1])
    names = [set(side.names()) for side in sides]
    judged = [name for name in METRICS if METRIC + name in names[0] & names[1] and baseline.is_gated(name)]
    found.figures = len(judged)
    ids = sides[1].columns(["id"]).column("id")
    raw = [each for name in judged if (each := _moves(name, sides, rows, axes, ids)) is not None]
    found.moved = _judge(raw, gate)
    return found


def _common(a: _Side, b: _Side, found: TableComparison) -> tuple[IntArray, IntArray]:
    """Return the rows of both sides that are of the same cell and came to a result, and say what is left out."""
    import pyarrow.compute as pc

    keys = a.columns(_KEYS), b.columns(_KEYS)
    if not all(table.num_rows for table in keys):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    at = pc.index_in(keys[1].column("id"), value_set=keys[0].column("id").combine_chunks())
    known = at.is_valid().to_numpy(zero_copy_only=False)
    now = np.flatnonzero(known)
    before = at.filter(at.is_valid()).to_numpy().astype(np.int64)
    alone = keys[0].num_rows + keys[1].num_rows - 2 * now.size
    if a.run.scenario != b.run.scenario:
        found.warnings.append(f"the runs are of different scenarios ({a.run.scenario} and {b.run.scenario})")
    if alone:
        found.warnings.append(f"{alone} cells are in one run only and were not compared")
    columns = {
        name: (_plain(keys[0], name)[before], _plain(keys[1], name)[now]) for name in _KEYS if name != "id"
    }
    simulated = (columns["backend"][0] == "sim") & (columns["backend"][1] == "sim")
    alike = (columns["seed"][0] == columns["seed"][1]) & (columns["protocol"][0] == columns["protocol"][1])
    ended = [np.isin(side.astype(str), list(_JUDGED)) for side in columns["status"]]
    found.lost = int(np.sum(simulated & alike & ended[0] & ~ended[1]))
    for count, words in (
        (np.sum(~simulated), "are not simulated"),
        (np.sum(simulated & ~alike), "have another seed or protocol"),
        (found.lost, "came to a result before and to none now"),
        (np.sum(simulated & alike & ~ended[0]), "came to no result before"),
    ):
        if count:
            found.warnings.append(f"{count} cells {words} and were not compared")
    kept = simulated & alike & ended[0] & ended[1]
    found.compared = int(kept.sum())
    digests = columns["digest"]
    found.same = int(np.sum(kept & (digests[0] == digests[1]) & (digests[1] != "")))
    return before[kept], now[kept]


def _plain(table: pa.Table, name: str) -> NDArray[Any]:
    if name not in table.column_names:
        return np.full(table.num_rows, "", dtype=object)
    column = table.column(name)
    if name == "seed":
        return np.asarray(column.fill_null(-1).to_numpy())
    return np.asarray(column.fill_null("").to_numpy(zero_copy_only=False))


def _axes(side: _Side, rows: IntArray) -> dict[str, tuple[list[str], IntArray]]:
    """Return the values of each axis that has several, and the number of each row's."""
    found = {}
    for name in axes_of(side.names()):
        column = (
            side.columns([AXIS + name]).column(AXIS + name).fill_null("").combine_chunks().dictionary_encode()
        )
        codes = column.indices.to_numpy().astype(np.int64)[rows]
        present = np.unique(codes)
        if present.size > 1:
            words = column.dictionary.to_pylist()
            found[name] = [words[code] for code in present], np.searchsorted(present, codes)
    return found


@dataclass(frozen=True, slots=True)
class _Raw:
    """A facet before all are judged together."""

    axis: str
    value: str
    before: FloatArray
    change: FloatArray
    up: float
    down: float


def _moves(
    name: str,
    sides: tuple[_Side, _Side],
    rows: tuple[IntArray, IntArray],
    axes: dict[str, tuple[list[str], IntArray]],
    ids: Any,
) -> tuple[str, list[_Raw], tuple[str, float, float]] | None:
    """Return a figure's facets in which it moved, that of all cells first; None where it moved nowhere."""
    columns = [
        side.columns([METRIC + name])
        .column(METRIC + name)
        .to_numpy(zero_copy_only=False)
        .astype(np.float64)[at]
        for side, at in zip(sides, rows, strict=True)
    ]
    known = np.isfinite(columns[0]) & np.isfinite(columns[1])
    change = np.where(known, columns[1] - columns[0], 0.0)
    if not np.any(change):
        return None
    facets = [_raw("", "", columns[0][known], change[known])]
    for axis, (values, codes) in axes.items():
        for code, value in enumerate(values):
            here = known & (codes == code)
            if np.count_nonzero(change[here]) >= FEWEST:
                facets.append(_raw(axis, value, columns[0][here], change[here]))
    sign = -1.0 if METRICS[name].better == "higher" else 1.0
    cell = int(np.argmax(sign * change))
    farthest = str(ids[int(rows[1][cell])].as_py()), float(columns[0][cell]), float(columns[1][cell])
    return name, facets, farthest


def _raw(axis: str, value: str, before: FloatArray, change: FloatArray) -> _Raw:
    moved = change[change != 0]
    return _Raw(axis, value, before, change, stats.signed_rank(moved), stats.signed_rank(-moved))


def _judge(raw: Sequence[tuple[str, list[_Raw], tuple[str, float, float]]], gate: Gate) -> list[Moved]:
    """Hold all facets of all figures together against chance, and keep of each figure what stands out."""
    every = [facet for _, facets, _ in raw for facet in facets]
    chances = iter(zip(stats.holm([f.up for f in every]), stats.holm([f.down for f in every]), strict=True))
    found = []
    for name, facets, farthest in raw:
        judged = [_facet(name, facet, *next(chances), gate) for facet in facets]
        everywhere, *others = judged
        reach = STANDS_OUT * abs(everywhere.after - everywhere.before)
        outstanding = [
            facet
            for facet in others
            if facet.verdict != "either way" and abs(facet.after - facet.before) > reach
        ]
        outstanding.sort(key=lambda facet: -abs(facet.after - facet.before))
        found.append(Moved(name, everywhere, outstanding[:MOST_FACETS], farthest))
    order = ("regression", "changed", "improvement", "either way")
    return sorted(
        found, key=lambda each: min(order.index(f.verdict) for f in (each.everywhere, *each.facets))
    )


def _facet(name: str, raw: _Raw, up: float, down: float, gate: Gate) -> Facet:
    better = METRICS[name].better
    grew = raw.change > 0
    verdict: Verdict = "either way"
    if min(up, down) <= gate.alpha:
        rises = up < down
        verdict = (
            "changed"
            if better == "none"
            else "improvement"
            if rises == (better == "higher")
            else "regression"
        )
    before = float(raw.before.mean())
    return Facet(
        axis=raw.axis,
        value=raw.value,
        cells=raw.change.size,
        moved=int(np.count_nonzero(raw.change)),
        worse=int(np.sum(raw.change < 0) if better == "higher" else np.sum(grew)),
        before=before,
        after=before + float(raw.change.mean()),
        p_value=min(up, down),
        verdict=verdict,
    )
