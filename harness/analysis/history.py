"""How each figure went over the commits: series of runs, and where a new level begins.

A figure that a simulated link repeats exactly changes where it has another value. Any other figure is noise around a
level: levels are found by PELT over the ranks of the runs (``ruptures``), so that neither outliers nor the shape of
the noise matter, and what is found is held against chance before it counts. A change begins with a commit, never
between two runs of the same one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np

from harness.analysis import commits, stats
from harness.analysis.definitions import FIGURES
from harness.analysis.loading import Results
from harness.analysis.stats import FloatArray
from punktfunk.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

FALSE_DISCOVERIES: Final = 0.05
"""Share of the changes that are shown which may be chance (Benjamini–Hochberg over all series)."""
SHORTEST_LEVEL: Final = 3
"""Runs that make a level at least."""
PENALTY: Final = 2.0
"""Cost of a further level, times the logarithm of the number of runs; ranks have the variance 1."""
ANY_MACHINE: Final = "any machine"
"""In place of a machine class for what is the same on all."""
_TIMES: Final = frozenset(name for name, row in FIGURES.items() if row.group in {"latency", "cost"})
"""Figures that a busy machine moves."""
MAX_SERIES: Final = 200_000
MAX_FIGURES: Final = 4_000_000
"""Rows of figures that are joined with their cases, which takes a kilobyte each."""

Verdict = Literal["regression", "improvement", "changed"]


@dataclass(frozen=True, slots=True)
class Key:
    """What a series is of. Another seed, protocol or machine class is another experiment."""

    scenario: str
    machine: str
    case: str
    metric: str
    backend: str
    protocol: str
    seed: int


@dataclass(frozen=True, slots=True)
class Change:
    """A new level of a figure."""

    commit: int
    """Number of the first commit at that level."""
    before: float
    after: float
    """Medians of both levels; of an exact figure its values."""
    p_value: float | None
    """Adjusted for the places where it could have been found; None for an exact figure."""
    verdict: Verdict


@dataclass(slots=True)
class Series:
    """A figure over runs, in the order of their commits."""

    key: Key
    exact: bool
    commits: np.ndarray[tuple[int], np.dtype[np.int64]]
    """Number of each run's commit in :attr:`History.commits`."""
    values: FloatArray
    changes: list[Change] = field(default_factory=list)
    unsteady: bool = False
    """Whether an exact figure had two values at one commit."""

    def levels(self) -> list[tuple[int, int]]:
        """Return first and last commit of each level, in order."""
        begins = [int(self.commits[0]), *(change.commit for change in self.changes)]
        ends = [
            *(int(self.commits[self.commits < begin].max()) for begin in begins[1:]),
            int(self.commits[-1]),
        ]
        return list(zip(begins, ends, strict=True))

    def noise(self) -> float | None:
        """Return the standard deviation of the runs around their level as a share of it; None where unknown.

        It is judged on the median deviation, which single outliers do not move.
        """
        if self.exact or self.values.size < SHORTEST_LEVEL:
            return None
        shares = []
        for begin, end in self.levels():
            level = self.values[(self.commits >= begin) & (self.commits <= end)]
            middle = float(np.median(level))
            if middle == 0:
                return None
            shares.append(np.abs(level / middle - 1))
        # The median itself was taken from few values, which are closer to it than to the true level.
        few = self.values.size / max(1, self.values.size - len(shares))
        return float(1.4826 * np.median(np.concatenate(shares)) * math.sqrt(few))


@dataclass(slots=True)
class History:
    """Series of figures over commits."""

    commits: list[str]
    """From old to new."""
    by_repository: bool
    """Whether a repository told their order; else it is that of their first runs."""
    series: list[Series]
    runs: int
    first: str
    last: str
    """When the first and the last run were made."""
    machine: dict[str, dict[str, list[tuple[int, float]]]] = field(default_factory=dict)
    """Noise of each machine class: name of what was measured → commit and value of each run."""

    @property
    def changes(self) -> list[tuple[Series, Change]]:
        """Every change with its series: regressions first, then the largest ratio."""
        found = [(series, change) for series in self.series for change in series.changes]
        order = ("regression", "changed", "improvement")
        return sorted(found, key=lambda item: (order.index(item[1].verdict), -_size(item[1])))


def _size(change: Change) -> float:
    if change.before <= 0 or change.after <= 0:
        return math.inf
    return abs(math.log(change.after / change.before))


def history(
    results: Results, *, scenario: str = "*", metrics: Sequence[str] = ("*",), repository: Path | None = None
) -> History:
    """Return the series of every figure that matches, with the changes in it.

    ``scenario`` and ``metrics`` are patterns (``encode_*``). Runs of no commit, cases that neither passed nor failed,
    and times of a machine that was not quiet, are left out. Raises :class:`ResultsError` where nothing is left.
    """
    cases = results.read(
        "cases",
        [
            "scenario",
            "seed",
            "protocol",
            "backend",
            "status",
            "started",
            "git",
            "machine_class",
            "quiet",
            "others",
        ],
    )
    cases = cases[cases["status"].isin(["passed", "failed"]) & cases["git"].notna()]
    cases = cases[[fnmatchcase(name, scenario) for name in cases["scenario"].astype(object)]]
    if cases.empty:
        raise ResultsError(
            "there are no results of a commit to draw a history of",
            "run scenarios in a clone, then: python -m harness archive RUN…",
        )
    named = {name for name in FIGURES if any(fnmatchcase(name, pattern) for pattern in metrics)}
    figures = results.read("figures", ["metric", "value"], metrics=named)
    if len(figures) > MAX_FIGURES:
        raise ResultsError(
            f"these are {len(figures)} figures, more than {MAX_FIGURES}",
            "choose with --scenario and --metric",
        )
    order, told = _commit_order(cases, repository or Path.cwd())
    joined = _joined(cases, figures, order)
    series = _series(joined)
    _find_changes(series)
    started = cases["started"].dropna()
    return History(
        commits=order,
        by_repository=told,
        series=series,
        runs=int(cases["run"].nunique()),
        first=f"{started.min():%Y-%m-%d}" if len(started) else "",
        last=f"{started.max():%Y-%m-%d}" if len(started) else "",
        machine=_machines(results, cases, series, order),
    )


def _commit_order(cases: pd.DataFrame, repository: Path) -> tuple[list[str], bool]:
    times = cases["started"].dt.as_unit("us").astype("int64").where(cases["started"].notna(), 0)
    first = times.groupby(cases["git"].astype(object)).min()
    return commits.ordered({str(commit): float(time) for commit, time in first.items()}, repository)


def _joined(cases: pd.DataFrame, figures: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return a row a figure with what its case is, in the order of commits and of time."""
    plain = cases.astype({name: object for name in cases.columns if cases[name].dtype == "category"})
    plain = plain.assign(commit=plain["git"].map({commit: place for place, commit in enumerate(order)}))
    values = figures[["run", "case", "metric", "value"]].astype(
        {"run": object, "case": object, "metric": object}
    )
    rows = values.merge(plain, on=["run", "case"])
    rows = rows[np.isfinite(rows["value"])]
    # What a machine that was not quiet took for something is no figure of the program.
    rows = rows[rows["quiet"].fillna(value=True).astype(bool) | ~rows["metric"].isin(_TIMES)]
    exact = (rows["backend"] == "sim") & rows["metric"].map(lambda name: FIGURES[name].deterministic)
    machine = rows["machine_class"].fillna("unknown").where(~exact, ANY_MACHINE)
    found: pd.DataFrame = rows.assign(exact=exact, machine=machine)
    return found.sort_values(["commit", "started"], kind="stable")


def _series(rows: pd.DataFrame) -> list[Series]:
    keys = ["scenario", "machine", "case", "metric", "backend", "protocol", "seed"]
    groups = rows.groupby(keys, sort=False)
    if groups.ngroups > MAX_SERIES:
        raise ResultsError(
            f"these are {groups.ngroups} series, more than {MAX_SERIES}",
            "choose with --scenario and --metric",
        )
    found = []
    for key, group in groups:
        scenario, machine, case, metric, backend, protocol, seed = cast("tuple[Any, ...]", key)
        found.append(
            Series(
                key=Key(scenario, machine, case, metric, backend, protocol, int(seed)),
                exact=bool(group["exact"].iloc[0]),
                commits=group["commit"].to_numpy(dtype=np.int64),
                values=group["value"].to_numpy(dtype=np.float64),
            )
        )
    return found


# --- changes ------------------------------------------------------------------------------------------------


def _find_changes(series: Sequence[Series]) -> None:
    """Find the changes of every series, and keep those that all of them together do not explain by chance."""
    found: list[tuple[Series, int, float]] = []
    for each in series:
        if each.exact:
            each.changes = _exact_changes(each)
        else:
            steps = noisy_changes(each.commits, each.values)
            found += [(each, commit, p) for commit, p in steps] or [(each, 0, 1.0)]
    if not found:
        return
    from scipy.stats import false_discovery_control

    adjusted = false_discovery_control([p for _, _, p in found])
    kept: dict[int, tuple[Series, list[tuple[int, float]]]] = {}
    for (each, commit, p), chance in zip(found, adjusted, strict=True):
        if p < 1 and chance <= FALSE_DISCOVERIES:
            kept.setdefault(id(each), (each, []))[1].append((commit, p))
    for each, steps in kept.values():
        ends = [int(each.commits[0]), *(commit for commit, _ in steps), int(each.commits[-1]) + 1]
        middles = [
            float(np.median(each.values[(each.commits >= begin) & (each.commits < end)]))
            for begin, end in itertools.pairwise(ends)
        ]
        each.changes = [
            Change(commit, before, after, p, _verdict(each.key.metric, before, after))
            for (commit, p), (before, after) in zip(steps, itertools.pairwise(middles), strict=True)
        ]


def _exact_changes(series: Series) -> list[Change]:
    found: list[Change] = []
    last: dict[int, float] = {}
    for commit, value in zip(series.commits.tolist(), series.values.tolist(), strict=True):
        series.unsteady |= last.get(commit, value) != value
        last[commit] = value
    previous: float | None = None
    for commit, value in last.items():
        if previous is not None and value != previous:
            found.append(Change(commit, previous, value, None, _verdict(series.key.metric, previous, value)))
        previous = value
    return found


def noisy_changes(
    order: np.ndarray[tuple[int], np.dtype[np.int64]], values: FloatArray
) -> list[tuple[int, float]]:
    """Return the commits at which a noisy figure has a new level, each with its p-value.

    ``order`` has each run's commit, ascending. The p-value is that of Mann and Whitney between the two levels, times
    the number of commits at which a change could have been found; those above :data:`FALSE_DISCOVERIES` are left out.
    """
    boundaries = np.flatnonzero(np.diff(order)) + 1
    found = sorted(
        {int(boundaries[np.argmin(np.abs(boundaries - index))]) for index in _breaks(values)}
        if boundaries.size
        else ()
    )
    while found:
        ends = [0, *found, values.size]
        chances = [
            min(1.0, stats.mann_whitney(values[a:b], values[b:c]) * boundaries.size)
            for a, b, c in zip(ends, ends[1:], ends[2:], strict=False)
        ]
        worst = int(np.argmax(chances))
        if chances[worst] <= FALSE_DISCOVERIES:
            return [(int(order[index]), p) for index, p in zip(found, chances, strict=True)]
        del found[worst]
    return []


def _breaks(values: FloatArray) -> list[int]:
    """Return where PELT splits a series of runs into levels, by its ranks."""
    if values.size < 2 * SHORTEST_LEVEL or np.ptp(values) == 0:
        return []
    from ruptures import KernelCPD
    from scipy.stats import rankdata

    ranks = rankdata(values)
    ranks = (ranks - ranks.mean()) / ranks.std()
    search = KernelCPD(kernel="linear", min_size=SHORTEST_LEVEL).fit(ranks.reshape(-1, 1))
    return [int(index) for index in search.predict(pen=PENALTY * math.log(values.size))[:-1]]


def _verdict(metric: str, before: float, after: float) -> Verdict:
    better = FIGURES[metric].better
    if better == "none":
        return "changed"
    return "improvement" if (after < before) == (better == "lower") else "regression"


# --- the machine --------------------------------------------------------------------------------------------

TIMERS: Final = "lateness of the link's timers, 99th percentile (ms)"
OTHERS: Final = "CPUs that other processes took, worst case (%)"
SPREAD: Final = "distance of wall-clock medians from their level (%)"


def _machines(
    results: Results, cases: pd.DataFrame, series: Sequence[Series], order: Sequence[str]
) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return what says how noisy each machine class was at each commit, apart from any single figure."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    places = {commit: place for place, commit in enumerate(order)}
    links = results.links[["run", "case", "late_p99"]].dropna()
    plain = {"run": object, "case": object}
    late = links.astype(plain).merge(
        cases[["run", "case", "git", "machine_class"]].astype(plain), on=["run", "case"]
    )
    for (machine, _), rows in late.groupby([late["machine_class"].astype(object), "run"]):
        place = places[str(rows["git"].iloc[0])]
        found.setdefault(str(machine), {}).setdefault(TIMERS, []).append(
            (place, float(rows["late_p99"].median()))
        )
    shares_of_others = cases[["run", "git", "machine_class", "others"]].dropna()
    for (machine, _), rows in shares_of_others.groupby(
        [shares_of_others["machine_class"].astype(object), "run"], observed=True
    ):
        place = places[str(rows["git"].iloc[0])]
        found.setdefault(str(machine), {}).setdefault(OTHERS, []).append(
            (place, float(rows["others"].max()) * 100)
        )
    spreads: dict[tuple[str, int], list[float]] = {}
    for each in series:
        if each.exact or not each.key.metric.endswith("_p50"):
            continue
        for begin, end in each.levels():
            inside = (each.commits >= begin) & (each.commits <= end)
            middle = float(np.median(each.values[inside]))
            if middle > 0 and inside.sum() >= SHORTEST_LEVEL:
                for commit, value in zip(
                    each.commits[inside].tolist(), each.values[inside].tolist(), strict=True
                ):
                    spreads.setdefault((each.key.machine, commit), []).append(abs(value / middle - 1) * 100)
    for (machine, commit), shares in sorted(spreads.items()):
        found.setdefault(machine, {}).setdefault(SPREAD, []).append((commit, float(np.median(shares))))
    return found
