"""What a run prints at its end: a verdict table, every failed check with its replay, where the report is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from harness.analysis.results import CaseResult, Check, LayerCounts, RunResult, Status, group_of
from harness.report.text import clock, machine_word, several_protocols, wires
from punktfunk.rich_terminal import Console

EACH_CASE_UP_TO = 16
"""A run of this many cases shows a row for each; a larger one a row for each layer."""
LOG_WIDTH = 160
"""Columns where nobody said how many there are: in a log, names of cases stay whole."""
_FAILURES_SHOWN = 10
_COLOURS = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.FAULT: "bold magenta",
    Status.UNSUPPORTED: "bright_black",  # grey: what did not run is no failure
    Status.INTERRUPTED: "yellow",
}


def show(console: Console, run: RunResult, folder: Path, reports: dict[str, Path]) -> None:
    """Print the outcome of a run; colours say nothing that the words do not."""
    for case in _failed(run.cases)[:_FAILURES_SHOWN]:
        _show_failure(console, case, folder)
    hidden = len(_failed(run.cases)) - _FAILURES_SHOWN
    if hidden > 0:
        console.print(f"… and {hidden} more; the report has them all", markup=False)
    for check in run.checks:
        if not check.passed:
            _show_check(console, check)
    console.print(verdict_table(run))
    if run.cases:
        console.print(f"protocol: {'; '.join(wires(run))}", markup=False, highlight=False)
    for check in run.checks:
        if check.passed:
            console.print(f"{check.name}: {check.measured}", markup=False, highlight=False)
    for note in run.notes:
        console.print(note, markup=False, highlight=False)
    colour = _COLOURS[run.verdict]
    console.print(f"verdict: [{colour}]{run.verdict}[/] in {clock(run.duration_s)}", highlight=False)
    shown = reports.get("html") or next(iter(reports.values()), folder)
    console.print(f"report: {shown}", markup=False, highlight=False, soft_wrap=True)


def verdict_table(run: RunResult) -> Table:
    """Return the table: one row a case for small runs, one row a layer for large ones."""
    if run.table is not None:
        return _of_layers(run.table.layers)
    return _by_case(run.cases) if len(run.cases) <= EACH_CASE_UP_TO else _by_layer(run.cases)


def _by_case(cases: Sequence[CaseResult]) -> Table:
    scenarios = {case.scenario for case in cases}
    prefix = f"{scenarios.pop()}." if len(scenarios) == 1 else ""
    table = Table(box=None, pad_edge=False)
    protocols = several_protocols(cases)
    live = any(case.machine is not None for case in cases)
    words = (
        "case",
        "link",
        *(("protocol",) if protocols else ()),
        "verdict",
        *(("machine",) if live else ()),
    )
    for name in (*words, "frames", "recovered", "p99 ms", "loss", "time"):
        table.add_column(name, justify="left" if name in words else "right")
    for case in cases:
        table.add_row(
            case.id.removeprefix(prefix),
            case.backend,
            *((case.protocol,) if protocols else ()),
            f"[{_COLOURS[case.status]}]{case.status}[/]",
            *((machine_word(case),) if live else ()),
            _figure(case, "frames_submitted", "{:.0f}"),
            _figure(case, "recovery", "{:.2%}"),
            _figure(case, "sealed_to_complete_p99", "{:.2f}"),
            _figure(case, "transport_loss", "{:.2%}"),
            f"{case.duration_s:.1f} s",
        )
    return table


def _by_layer(cases: Sequence[CaseResult]) -> Table:
    found: dict[tuple[str, str, str], LayerCounts] = {}
    for case in cases:
        key = group_of(case), case.backend, case.protocol
        counts = found.setdefault(key, LayerCounts(layer=key[0], backend=key[1], protocol=key[2]))
        counts.statuses[case.status] = counts.statuses.get(case.status, 0) + 1
        if "frames_submitted" in case.metrics:
            counts.frames += round(case.metrics["frames_submitted"].value or 0)
    return _of_layers(list(found.values()))


def _of_layers(layers: Sequence[LayerCounts]) -> Table:
    table = Table(box=None, pad_edge=False)
    protocols = len({layer.protocol for layer in layers}) > 1
    words = ("layer", "link", *(("protocol",) if protocols else ()))
    for name in (
        *words,
        "cases",
        *map(str, (Status.PASSED, Status.FAILED, Status.FAULT)),
        "not run",
        "frames",
    ):
        table.add_column(name, justify="left" if name in words else "right")
    for layer in layers:
        table.add_row(
            layer.layer,
            layer.backend,
            *((layer.protocol,) if protocols else ()),
            str(layer.cases),
            *(
                _count(layer.statuses.get(status, 0), status)
                for status in (Status.PASSED, Status.FAILED, Status.FAULT, Status.UNSUPPORTED)
            ),
            str(layer.frames),
        )
    return table


def _count(number: int, status: Status) -> str:
    return f"[{_COLOURS[status]}]{number}[/]" if number else "·"


def _figure(case: CaseResult, name: str, form: str) -> str:
    metric = case.metrics.get(name)
    return "·" if metric is None or metric.value is None else form.format(metric.value)


def _failed(cases: Sequence[CaseResult]) -> list[CaseResult]:
    return [case for case in cases if case.status in {Status.FAILED, Status.FAULT}]


def _show_failure(console: Console, case: CaseResult, folder: Path) -> None:
    lines = [f"{case.status}: {case.id}" + (f" ({case.reason})" if case.status is Status.FAULT else "")]
    for check in case.checks:
        if not check.passed:
            lines += [f"  {check.name}", f"    expected {check.expected}", f"    measured {check.measured}"]
            if check.detail:
                lines.append(f"    {check.detail}")
    lines += [f"  seed {case.seed}", f"  replay: {case.replay}", f"  artefacts: {folder / case.folder}", ""]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _show_check(console: Console, check: Check) -> None:
    lines = [f"failed: {check.name}", f"  expected {check.expected}", f"  measured {check.measured}"]
    lines += [f"  {line}" for line in check.detail.splitlines()[: 2 * _FAILURES_SHOWN]]
    console.print("\n".join([*lines, ""]), markup=False, highlight=False, soft_wrap=True)
