"""Figures, statuses and hostile names as text that is safe and short wherever a report puts it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from harness.analysis.results import CaseResult, Check, Metric, Quietness, RunResult, Status
from harness.machine.words import thieves
from punktfunk.printable import printable_lines

MARK: Final[Mapping[Status, str]] = {
    Status.PASSED: "✓",
    Status.FAILED: "✗",
    Status.UNSUPPORTED: "–",
    Status.FAULT: "!",
    Status.INTERRUPTED: "…",
}
"""One character a status, so that colour is never the only sign."""

WORD: Final[Mapping[Status, str]] = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.UNSUPPORTED: "did not run",
    Status.FAULT: "harness fault",
    Status.INTERRUPTED: "interrupted",
}


def clean(value: object) -> str:
    """Return a value as text that breaks neither a document (XML 1.0 included) nor its reading direction."""
    return printable_lines(str(value))


def chart_label(text: str, longest: int) -> str:
    """Return a name as a chart shows it: on one line, its end where it is longer than ``longest`` characters."""
    shown = clean(text).replace("\n", " ")
    # Matplotlib hides the entry of a legend that begins with _.
    return "\u200b" + (shown if len(shown) <= longest else "…" + shown[1 - longest :])


def number(value: float | None, unit: str = "") -> str:
    """Return a figure with its unit, four digits at most; "–" for what was not measured, % for a fraction."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "fraction":
        return f"{_digits(value * 100)} %"
    return clean(f"{_digits(value)} {'µs' if unit == 'us' else unit}".rstrip())


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.4g}" if abs(value) >= 1e-4 else f"{value:.2g}"


def figure(metric: Metric | None) -> str:
    """Return a metric's value with its unit; "–" when it was not measured."""
    return "–" if metric is None else number(metric.value, metric.unit)


def interval(metric: Metric | None) -> str:
    """Return a metric's interval without unit, "" when it has none."""
    if metric is None or metric.interval is None or metric.value is None:
        return ""
    scale = 100 if metric.unit == "fraction" else 1
    return " … ".join(_digits(bound * scale) for bound in metric.interval)


def is_disbelieved(case: CaseResult) -> bool:
    """Return whether a case's figures were taken on a machine that was busy, and say nothing of what was measured."""
    return (
        case.machine is not None and not case.machine.quiet and case.status in {Status.PASSED, Status.FAILED}
    )


def disbelief(case: CaseResult) -> str:
    """Return why a case's figures are not worth believing and who took the machine; "" where it was quiet."""
    if case.machine is None or case.machine.quiet:
        return ""
    words = f"not worth believing: {'; '.join(case.machine.reasons)}"
    who = thieves(case.machine, rivals=True)
    return clean(f"{words}; most by {who}" if who else words)


def machine_word(case: CaseResult) -> str:
    """Return what a table says of the machine beside a case: ``quiet``, ``busy``, or nothing for virtual time."""
    return "" if case.machine is None else "quiet" if case.machine.quiet else "busy"


def machine_rows(machine: Quietness) -> list[tuple[str, str]]:
    """Return what was found of the machine over a case, as rows of name and text; what is unknown is left out."""
    late = f"{machine.timer_p99_ms:.2f} ms, {machine.timer_max_ms:.2f} ms" if machine.timers else None
    delay = machine.run_delay
    rows: list[tuple[str, str | None]] = [
        ("figures of time", "worth believing" if machine.quiet else "not worth believing"),
        *(("because", reason) for reason in machine.reasons),
        ("to know", machine.remark or None),
        ("other processes", f"{machine.others:.1%} of {machine.cpus} CPUs"),
        ("of it at idle priority", f"{machine.yielding:.1%}" if machine.yielding else None),
        ("in the worst half second", f"{machine.others_worst:.1%}"),
        ("our own", f"{machine.own:.1%}"),
        ("steal", _share(machine.steal)),
        ("CPU pressure (PSI)", _share(machine.pressure)),
        ("of our cgroup", _share(machine.cgroup_pressure)),
        ("withheld by its quota", _share(machine.throttled)),
        (
            "run-queue delay",
            None if delay is None else f"{delay:.1%} of the time ({machine.run_delay_thread})",
        ),
        ("timers late by 5 ms", _share(machine.timers_late)),
        ("their p99, max", late),
        ("who else", thieves(machine, 5) or None),
    ]
    return [(name, clean(value)) for name, value in rows if value is not None]


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"


def layer_of(case: CaseResult) -> str:
    """Return the layer that a case's id names (``matrix`` of ``matrix.loss=2,fec=20``), else its scenario."""
    return case.id.partition("=")[0].rpartition(".")[0] or case.scenario


def layers(run: RunResult) -> dict[str, list[CaseResult]]:
    """Return the cases by layer, in the order of the run; a run of one scenario does not repeat its name."""
    found: dict[str, list[CaseResult]] = {}
    one = len({case.scenario for case in run.cases}) == 1
    for case in run.cases:
        name = layer_of(case)
        found.setdefault(name.removeprefix(f"{case.scenario}.") if one else name, []).append(case)
    return found


def is_matrix(run: RunResult) -> bool:
    """Return whether a run has hosts and clients for axes."""
    return any({"host", "client"} <= case.params.keys() for case in run.cases)


def params(case: CaseResult) -> str:
    """Return a case's matrix values in one line."""
    listed = [f"{name} {value}" for name, value in case.params.items()]
    return clean(", ".join([*listed, f"repeat {case.repeat}"] if case.repeat else listed))


def wire(case: CaseResult) -> str:
    """Return a case's protocol with the programs at its ends: ``punktfunk/1 (punktfunk.host → punktfunk.client)``."""
    programs = dict.fromkeys(case.peers[role].program for role in ("host", "client") if role in case.peers)
    return clean(f"{case.protocol} ({' → '.join(programs)})" if programs else case.protocol)


def wires(run: RunResult) -> list[str]:
    """Return every wire of a run's cases, once; of a protocol whose peers are known nowhere its name alone."""
    found = dict.fromkeys(wire(case) for case in run.cases if case.peers)
    named = {case.protocol for case in run.cases if case.peers}
    return [*found, *dict.fromkeys(wire(case) for case in run.cases if case.protocol not in named)]


def several_protocols(cases: Iterable[CaseResult]) -> bool:
    """Return whether a table of cases has to say which protocol each ran over."""
    return len({case.protocol for case in cases}) > 1


def failures(run: RunResult) -> list[tuple[CaseResult | None, Check]]:
    """Return every failed check with its case (None: over the whole run), sweep checks first."""
    failed: list[tuple[CaseResult | None, Check]] = [(None, c) for c in run.checks if not c.passed]
    return failed + [(case, c) for case in run.cases for c in case.checks if not c.passed]


def verdict_line(run: RunResult) -> str:
    """Return one sentence that says how a run ended."""
    if run.table is not None:
        statuses, ran = run.table.statuses, sum(run.table.statuses.values())
        checks, held = run.table.checks, run.table.held
    else:
        states = [case.status for case in run.cases]
        statuses = {status: states.count(status) for status in Status if status in states}
        each = [check for case in run.cases for check in case.checks]
        ran, checks, held = len(states), len(each), sum(check.passed for check in each)
    counts = ", ".join(f"{count} {WORD[status]}" for status, count in statuses.items())
    held += sum(check.passed for check in run.checks)
    cases = f"{ran} case{'s' * (ran != 1)}"
    return f"{cases}: {counts or 'none ran'}; {held} of {checks + len(run.checks)} checks held"


def duration(seconds: float) -> str:
    """Return a time as ``4 min 12 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested plain data as rows of name and text."""
    if isinstance(value, Mapping):
        return [
            row
            for name, item in value.items()
            for row in flat(item, f"{prefix}.{name}" if prefix else str(name))
        ]
    if isinstance(value, list | tuple):
        return [(clean(prefix), clean(", ".join(map(str, value))))]
    return [(clean(prefix), clean(value))]


def clock(seconds: float) -> str:
    """Write a span as people do: ``8 s``, ``2 min 05 s``, ``1 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
