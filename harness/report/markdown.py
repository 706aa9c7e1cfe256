"""A run as Markdown for the summary page of a CI job: verdict first, then what failed, then the figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.analysis.results import CaseResult, CaseTable, RunResult, Status
from harness.report.text import (
    MARK,
    WORD,
    clean,
    duration,
    failures,
    figure,
    is_disbelieved,
    layers,
    machine_word,
    number,
    params,
    several_protocols,
    verdict_line,
    wires,
)

ROWS = 40
"""Rows of one table; CI pages have a limit, and the HTML report has the rest."""

FIGURES = (
    "recovery",
    "transport_loss",
    "transport_p50",
    "transport_p99",
    "strip_glass_to_glass_p50",
    "goodput",
)


def render(run: RunResult) -> str:
    """Return the run as GitHub-flavoured Markdown."""
    parts = [
        f"## {MARK[run.verdict]} {_inline(run.scenario)}: {WORD[run.verdict]}",
        f"{verdict_line(run)}, in {duration(run.duration_s)}.",
    ]
    parts += _failed(run)
    parts += _checks(run)
    several = several_protocols(run.cases)
    if run.table is not None:
        parts += _counted(run.table)
    for name, cases in layers(run).items():
        parts += _layer(name, cases, protocols=several)
    if run.notes:
        parts += ["### Notes", "\n".join(f"- {_inline(note)}" for note in run.notes)]
    machine = run.environment.get("machine_class", "unknown machine")
    over = f", over {_inline('; '.join(wires(run)))}" if run.cases else ""
    parts.append(f"Run {_code(run.run_id)}, started {_inline(run.started)}, on {_code(str(machine))}{over}.")
    return "\n\n".join(parts) + "\n"


def _failed(run: RunResult) -> list[str]:
    rows = []
    failed = failures(run)
    for case, check in failed[:ROWS]:
        where = "whole sweep" if case is None else case.id
        again = "" if case is None or not case.replay else _code(case.replay)
        rows.append(
            (_inline(where), _inline(check.name), _inline(check.expected), _inline(check.measured), again)
        )
    faults = [c for c in run.cases if c.status in {Status.FAULT, Status.INTERRUPTED}]
    rows += [
        (_inline(c.id), WORD[c.status], "", _inline(c.reason), _code(c.replay) if c.replay else "")
        for c in faults[:ROWS]
    ]
    if not rows:
        return []
    more = max(0, len(failed) - ROWS) + max(0, len(faults) - ROWS)
    table = _table(("where", "what", "expected", "measured", "replay"), rows)
    return ["### What failed", table + (f"\n\n… and {more} more." if more else "")]


def _checks(run: RunResult) -> list[str]:
    held = [check for check in run.checks if check.passed]
    if not held:
        return []
    lines = (
        f"- {MARK[Status.PASSED]} {_inline(check.name)}: {_inline(check.measured)}"
        + (f" ({_inline(check.detail)})" if check.detail else "")
        for check in held
    )
    return ["### Checks over the sweep", "\n".join(lines)]


def _counted(table: CaseTable) -> list[str]:
    """Return how the cases of each layer ended, of a run that keeps a table of them."""
    head = ("layer", "protocol", "cases", *(WORD[status] for status in table.statuses), "frames")
    rows = [
        (
            _inline(layer.layer),
            _inline(layer.protocol),
            number(layer.cases),
            *(number(layer.statuses.get(status, 0)) for status in table.statuses),
            number(layer.frames),
        )
        for layer in table.layers[:ROWS]
    ]
    return ["### Layers", _table(head, rows), f"A row for each case: {_code(table.file)}."]


def _layer(name: str, cases: Sequence[CaseResult], *, protocols: bool) -> list[str]:
    shown = [key for key in FIGURES if any(_measured(case, key) for case in cases)]
    theory = any("recovery" in case.theory for case in cases)
    live = any(case.machine is not None for case in cases)
    head = (
        "",
        "case",
        *(("protocol",) if protocols else ()),
        *(("machine",) if live else ()),
        *(key.replace("_", " ") for key in shown),
        *(("theory",) if theory else ()),
    )
    rows = []
    for case in sorted(cases, key=lambda c: c.status is Status.PASSED)[:ROWS]:
        row = [MARK[case.status], _inline(params(case) or case.id)]
        row += [_inline(case.protocol)] if protocols else []
        row += [_machine(case)] if live else []
        row += [figure(case.metrics.get(key)) for key in shown]
        if theory:
            row.append(number(case.theory.get("recovery"), "fraction"))
        rows.append(tuple(row))
    more = f"\n\n… and {len(cases) - ROWS} more, all in the report." if len(cases) > ROWS else ""
    return [f"### {_inline(name)}", _table(head, rows) + more]


def _machine(case: CaseResult) -> str:
    return "**busy: not worth believing**" if is_disbelieved(case) else machine_word(case)


def _measured(case: CaseResult, name: str) -> bool:
    metric = case.metrics.get(name)
    return metric is not None and metric.value is not None


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _inline(text: str) -> str:
    """Escape what Markdown or the HTML inside it would read as markup; one line."""
    text = re.sub(r"\s+", " ", clean(text)).strip()
    text = re.sub(r"([\\`*_{}\[\]()#!|~$@]|:(?=//|[a-z0-9_+-]+:))", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """Return text as inline code that no backtick or table bar of its own ends."""
    text = re.sub(r"\s+", " ", clean(text)).strip().replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"
