"""The table as text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

from harness.analysis.results import Quietness
from harness.machine.watch import rivals, run_delay_behind_others
from harness.machine.words import thieves
from punktfunk.printable import printable
from tests.bench.table.result import Table
from tests.bench.table.rivals import versions as rival_versions
from tests.bench.table.verdict import Row, Verdict

_TURNS: Final = {
    "ratio": "in turns in one process, by CPU time of the thread",
    "reference": "programs in turns; the reference by the clock on the wall",
    "parts": "in turns in one process, by CPU time of the thread",
    "figure": "in the same run",
}
_JUDGED: Final = {"ratio": "ratio", "reference": "ratio", "parts": "time / parts", "figure": "judged"}
_BESIDE_TARGET: Final = 0.02
"""A figure as near to its target as that is shown with one digit more."""


def lines(table: Table, before: Table | None = None) -> Iterable[str]:
    """Return the lines of a table: what it was measured with, rows by groups, the machine, how many ended how."""
    known = table.environment
    machine = f"{known.get('cpu', 'CPU')}, {known.get('cores', '?')} CPUs ({' '.join(table.features)})"
    yield f"punktfunk {_commit(table)}, release profile as in the wheel; {machine}"
    yield "medians of rounds (smallest … largest); verdicts by the median"
    versions = table.built.rivals if table.built else rival_versions()
    for title, group in itertools.groupby(table.rows, key=lambda row: row.target.title):
        rows = list(group)
        target = rows[0].target
        span = table.spans.get(target.bench)
        kernel = f", kernel {span.kernel}" if span and span.kernel else ""
        rival = versions.get(target.rival, target.rival)
        yield ""
        yield printable(f"{title}{kernel}, {target.unit}, beside {rival} ({_TURNS[target.judged]})", 400)
        yield from _aligned(_cells(rows, before))
    yield ""
    yield from _machine(table)
    if before is not None:
        yield (
            f"before: {printable(_commit(before), 200)} of {before.made:%Y-%m-%d %H:%M} UTC; "
            "better and worse: no round of one is as good as any of the other"
        )
        if before.environment.get("machine_class") != known.get("machine_class"):
            yield "it was another machine: compare ratios, not figures"
    counts = table.verdicts()
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if verdict in counts)


def _commit(table: Table) -> str:
    """Return which core was measured, and who compiled it where it was built elsewhere."""
    if table.built is None:
        return str(table.environment.get("git", "without a commit"))
    commit, compiler = (printable(name, 100) for name in (table.built.git, table.built.rustc))
    return f"{commit or 'without a commit'}, built elsewhere by {compiler or 'an unknown compiler'}"


def _cells(rows: list[Row], before: Table | None) -> Iterable[list[str]]:
    known = {} if before is None else {row.target.key: row for row in before.rows}
    head = ["", "ours", "rival", _JUDGED[rows[0].target.judged], "target"]
    yield [*head, *([] if before is None else ["before"]), "verdict"]
    for row in rows:
        target = row.target
        limit = f"{'≤' if target.judged == 'parts' else '≥'} {target.target:g}"
        said = row.verdict.value + (f": {printable(row.reason, 300)}" if row.reason else "")
        more = "".join(f", {printable(name, 60)} {value:g}" for name, value in row.extra.items())
        yield [
            target.short,
            spread(row.ours),
            spread(row.rival) if target.judged != "parts" else "",
            spread(row.value, target.target),
            limit,
            *([] if before is None else [change(row, known.get(target.key))]),
            said + more,
        ]


def change(now: Row, before: Row | None) -> str:
    """Return what a row's figure was before and how it moved, as far as both are believed."""
    if before is None or before.value is None:
        return "–"
    was = number(before.value[0])
    if now.value is None or not (now.believed and before.believed):
        return f"{was} (not compared)"
    percent = (now.value[0] / before.value[0] - 1) * 100
    lower, higher = now.value[2] < before.value[1], now.value[1] > before.value[2]
    if not (lower or higher):
        return f"{was} (level)"
    better = lower if now.target.judged == "parts" else higher
    return f"{was} ({percent:+.0f} %, {'better' if better else 'worse'})"


def number(value: float, more: int = 0) -> str:
    """Return a figure in three digits, and in ``more`` digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits + more}f}"


def spread(values: tuple[float, float, float] | None, target: float | None = None) -> str:
    """Return a figure with what it spreads, in one digit more where the median could be taken for its target."""
    if values is None:
        return "–"
    near = target is not None and abs(values[0] / target - 1) < _BESIDE_TARGET
    median, smallest, largest = (number(value, int(near)) for value in values)
    return f"{median} ({smallest} … {largest})"


def _aligned(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Return rows as columns; the last may be as long as it is."""
    cells = list(rows)
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]) - 1)]
    for row in cells:
        yield (
            "  "
            + "  ".join(
                [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
            ).rstrip()
        )


def _machine(table: Table) -> Iterable[str]:
    for bench, span in table.spans.items():
        yield f"{bench}: {said_of(span.machine)}"


def said_of(machine: Quietness) -> str:
    """Return whether the machine was quiet, by what, and who took it if not."""
    who = thieves(machine, rivals=True)
    if not machine.quiet:
        return printable(f"busy: {'; '.join(machine.reasons)}" + (f"; most by {who}" if who else ""), 600)
    behind = run_delay_behind_others(machine)
    waited = "" if behind is None else f", the bench waited {behind:.1%} of its time behind them"
    return (
        f"quiet (others took {rivals(machine):.0%} of {machine.cpus} CPUs in {machine.seconds:.0f} s{waited})"
    )
