"""One self-contained HTML page of a run: verdict first, then why, then everything else.

Columns of the table of cases are ``_HEADLINE``, those of the ledger ``_FLOW``; a figure that there is not yet begins in
``harness/analysis/definitions.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from harness.analysis import stages
from harness.analysis.definitions import FREEZE, METRICS, PERCENTILES, STRIP
from harness.analysis.results import CaseResult, RunResult, Status
from harness.report import atlas, plots, text, wires
from harness.report.drawing import Chart
from harness.report.matrix import grids

_HEADLINE: Final = (
    "recovery",
    "transport_loss",
    "transport_p50",
    "transport_p99",
    "strip_glass_to_glass_p50",
    "strip_agreement",
    "goodput",
)
_SPANS: Final = (*(span.name for span in stages.SPANS), STRIP, FREEZE)
_FLOW: Final = (
    ("packets_sealed", "sealed"),
    ("packets_sent", "sent"),
    ("link_in", "link in"),
    ("dropped_loss", "lost"),
    ("dropped_queue", "queue full"),
    ("duplicated", "duplicated"),
    ("delivered", "delivered"),
    ("packets_received", "received"),
    ("packets_used", "used"),
    ("packets_late", "late"),
    ("packets_duplicate", "duplicate"),
    ("data_shards_recovered", "shards rebuilt"),
)


@dataclass(frozen=True, slots=True)
class CaseView:
    """What the page shows of one case."""

    case: CaseResult
    anchor: str
    href: str
    """Folder of the case, relative to the page; "" when it has none."""
    params: str
    wire: str
    """Its protocol, and the programs at its ends."""
    spans: list[tuple[str, list[str]]]
    """Latency table: name of the span, its percentiles."""
    figures: list[tuple[str, str, str, str]]
    """Other metrics: name, value, interval, description."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The ledgers of one layer and direction, summed."""

    layer: str
    direction: str
    cases: int
    flow: list[str]
    off: list[tuple[str, int, str, str]]
    """Balances that are not zero: equation, amount, case, anchor."""
    equations: int


def render(run: RunResult, *, charts: bool = True, folder: Path | None = None) -> str:
    """Return the page as text, with its charts or a word about how to get them.

    It loads nothing, and shows names from outside as text only. Of a run of very many cases it shows what the table in
    ``folder`` says as a whole, and one by one the worst and those that did not pass.
    """
    cells = atlas.layers_of(folder) if run.table is not None and folder is not None else []
    drawn = (_drawn(run, cells) if cells or run.table is None else []) if charts else []
    anchors = {case.id: f"case-{n}" for n, case in enumerate(run.cases)}
    layers = text.layers(run)
    by_name = {name: [_view(case, anchors) for case in cases] for name, cases in layers.items()}
    flow, ledgers = _ledgers(layers, anchors)
    return template("report.html.j2").render(
        run=run,
        status=run.verdict.value,
        word=text.WORD[run.verdict],
        mark=text.MARK[run.verdict],
        summary=text.verdict_line(run),
        wires=text.wires(run),
        failures=[
            (None if case is None else _view(case, anchors), check) for case, check in text.failures(run)
        ],
        faults=[
            _view(case, anchors)
            for case in run.cases
            if case.status in {Status.FAULT, Status.INTERRUPTED}
            or (case.status is Status.FAILED and all(check.passed for check in case.checks))
        ],
        layers=by_name,
        grids={name: grids(cases, anchors) for name, cases in layers.items()} if run.table is None else {},
        table=run.table,
        worst=[(layer.name, atlas.worst_of(layer, folder)) for layer in cells] if folder is not None else [],
        wire_head=wires.HEAD,
        comparisons=[
            (
                comparison.layer,
                comparison.latency()[1],
                [
                    (
                        point.label,
                        [(anchors[case.id], wires.row(comparison, case)) for case in point.cases.values()],
                    )
                    for point in comparison.points
                ],
            )
            for comparison in wires.comparisons(run)
        ],
        headline=_headline(run.cases, anchors),
        charts=[(chart.title, chart.caption, Markup(chart.svg)) for chart in drawn],  # noqa: S704 - made above from escaped text
        left_out=not charts,
        flow=flow,
        ledgers=ledgers,
        environment=text.flat(run.environment),
        percentiles=[label for label, _ in PERCENTILES],
    )


def _drawn(run: RunResult, cells: Sequence[atlas.Layer]) -> list[Chart]:
    if run.table is None:
        return plots.charts(run)
    from harness.report import atlas_charts

    return atlas_charts.charts(cells)


@lru_cache(maxsize=4)
def template(name: str) -> jinja2.Template:
    """Return a template of this package, whose texts are escaped and made printable."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": text.duration,
        "figure": text.figure,
        "number": text.number,
    }
    environment.globals |= {
        "MARK": text.MARK,
        "WORD": text.WORD,
        "disbelief": text.disbelief,
        "is_disbelieved": text.is_disbelieved,
        "machine_rows": text.machine_rows,
        "machine_word": text.machine_word,
    }
    return environment.get_template(name)


def _finalize(value: object) -> object:
    """Make every text of the page printable; markup is ours."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else text.clean(value)


def _view(case: CaseResult, anchors: Mapping[str, str]) -> CaseView:
    spans = []
    shown = set()
    for span in _SPANS:
        keys = [f"{span}_{label}" for label, _ in PERCENTILES]
        shown.update(keys)
        cells = [case.metrics.get(key) for key in keys]
        if any(metric is not None and metric.value is not None for metric in cells):
            spans.append((span.replace("_", " "), [text.number(m.value if m else None) for m in cells]))
    figures = [
        (
            name.replace("_", " "),
            text.figure(metric),
            text.interval(metric),
            METRICS[name].description if name in METRICS else "",
        )
        for name, metric in case.metrics.items()
        if name not in shown and metric.value is not None
    ]
    return CaseView(
        case=case,
        anchor=anchors[case.id],
        href=f"./{quote(case.folder.lstrip('/'))}/" if case.folder else "",
        params=text.params(case) or text.clean(case.id),
        wire=text.wire(case),
        spans=spans,
        figures=figures,
    )


def _headline(
    cases: Sequence[CaseResult], anchors: Mapping[str, str]
) -> tuple[list[str], list[tuple[CaseView, list[tuple[str, str]]]]]:
    """Return the table of the cases that ran over real sockets: names of the figures, a row a case."""
    real = [case for case in cases if case.backend != "sim" and case.metrics]
    names = [
        name
        for name in _HEADLINE
        if any((m := case.metrics.get(name)) is not None and m.value is not None for case in real)
    ]
    rows = [
        (
            _view(case, anchors),
            [(text.figure(case.metrics.get(n)), text.interval(case.metrics.get(n))) for n in names],
        )
        for case in real
    ]
    return [name.replace("_", " ") for name in names], rows


def _ledgers(
    layers: Mapping[str, Sequence[CaseResult]], anchors: Mapping[str, str]
) -> tuple[list[str], list[LedgerView]]:
    """Return the counts that are shown (those that are not 0 everywhere) and the ledgers by layer and direction."""
    kept = [
        (layer, direction, [(case, case.ledgers[direction]) for case in cases if direction in case.ledgers])
        for layer, cases in layers.items()
        for direction in sorted({name for case in cases for name in case.ledgers})
    ]
    flow = [
        (name, label)
        for name, label in _FLOW
        if any(ledger.counts.get(name) for _, _, pairs in kept for _, ledger in pairs)
    ]
    views = [
        LedgerView(
            layer=layer,
            direction=direction.replace("_", " "),
            cases=len(pairs),
            flow=[
                text.number(sum(ledger.counts.get(name, 0) for _, ledger in pairs))
                if any(name in ledger.counts for _, ledger in pairs)
                else "–"
                for name, _ in flow
            ],
            off=[
                (name, value, case.id, anchors[case.id])
                for case, ledger in pairs
                for name, value in ledger.balances.items()
                if value
            ],
            equations=sum(len(ledger.balances) for _, ledger in pairs),
        )
        for layer, direction, pairs in kept
    ]
    return [label for _, label in flow], views
