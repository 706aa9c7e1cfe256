"""One self-contained HTML page of a comparison of two builds: what moved, by how much, and the pairs that show it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from harness.analysis import paired, paired_run, stages
from harness.analysis.definitions import FIGURES
from harness.analysis.paired import Finding, in_order
from harness.analysis.paired_run import PAGE, Comparison, Pairs
from harness.analysis.results import CaseResult, Quietness
from harness.analysis.stats import Verdict
from harness.report import builds_charts, html, text
from harness.report.builds_text import change, counts, word
from harness.report.drawing import Chart
from punktfunk.errors import CapabilityError, CheckFailedError, RegressionError, ResultsError

MOST_ROWS: Final = 400
"""Findings in the table, worst first; ``ab.json`` has all."""
MOST_PAIRS: Final = 400
"""Rows of the table of pairs."""
MOST_CASES: Final = 12
"""Cases that have a table of stages."""
_HEADINGS: Final[Mapping[int, tuple[str, str]]] = {
    0: ("passed", "no regression"),
    RegressionError.exit_code: ("failed", "regression"),
    CheckFailedError.exit_code: ("failed", "head came to no result"),
    CapabilityError.exit_code: ("unsupported", "could not be judged"),
}
_SPANS: Final = (*stages.WATERFALL, "transport", "glass_to_glass", "sealed_to_complete")
_QUANTILES: Final = ("p50", "p99")


@dataclass(frozen=True, slots=True)
class Row:
    """A finding as the page shows it."""

    finding: Finding
    description: str
    base: str
    head: str
    change: str
    chance: str
    word: str
    style: str
    seen: str
    """What as many pairs would have shown, or how many would show it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the frame path on both sides: medians over the pairs of the median and of the 99th percentile."""

    name: str
    cells: list[str]
    change: str
    word: str
    style: str


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair of a case: where its two sides are, and the command that runs it again."""

    number: int
    case: str
    seed: str
    sides: list[tuple[str, str]]
    """How each ended, and its folder relative to the page."""
    machine: str
    again: str


def write(folder: Path, *, charts: bool = True) -> Path:
    """Make the page of a comparison's folder and return its path; raise ResultsError where that cannot be."""
    page = folder / PAGE
    text_of_page = render(paired_run.load(folder), charts=charts)
    partial = page.with_name(page.name + ".part")
    try:
        partial.write_text(text_of_page, encoding="utf-8")
        partial.replace(page)
    except OSError as error:
        raise ResultsError(
            f"{page} could not be written: {error.strerror or error}", "check free space and permissions"
        ) from error
    return page


def render(compared: Pairs, *, charts: bool = True) -> str:
    """Return the page as text. It loads nothing; links lead to the folders of the pairs beside it."""
    about = compared.about
    findings = in_order(about.findings)
    status, headline = _HEADINGS.get(about.exit_code, ("fault", f"exit code {about.exit_code}"))
    moving = [f for f in findings if f.moved or not f.exact]
    return html.template("builds.html.j2").render(
        about=about,
        status=status,
        headline=headline,
        summary=counts(about.findings),
        sides=_sides(about),
        again=command_of(about),
        rows=[_row(finding) for finding in moving[:MOST_ROWS]],
        more=max(0, len(moving) - MOST_ROWS),
        equal=[f"{f.metric} of {f.case}" for f in findings if f.exact and not f.moved],
        charts=_marked(builds_charts.charts(compared, moving) if charts else []),
        stages=_stages(compared),
        quantiles=_QUANTILES,
        machine=[(_machine_word(machine), text.machine_rows(machine)) for machine in about.machine],
        busy=_busy(compared),
        pairs=_pair_rows(compared)[:MOST_PAIRS],
        more_pairs=max(0, sum(map(len, compared.pairs.values())) - MOST_PAIRS),
    )


def _marked(charts: Sequence[Chart]) -> list[tuple[str, str, Markup]]:
    return [(c.title, c.caption, Markup(c.svg)) for c in charts]  # noqa: S704 - drawn by us from escaped text


def _sides(about: Comparison) -> list[tuple[str, str, str]]:
    """Return each build's name, title and compiled core."""
    keys = {"base": about.base, "head": about.head}
    found = []
    for name, key in keys.items():
        core = about.cores.get(name, "")
        same = " (the same)" if name == "head" and core == about.cores.get("base") else ""
        found.append((name, about.titles.get(name, key), f"core {core[:12]}{same}" if core else ""))
    return found


def command_of(about: Comparison, case: str = "", pair: int | None = None) -> str:
    """Return the command that compares the same again: all of it, or one pair of one case."""
    seed = about.seed if pair is None else about.seeds[pair]
    words = [
        "punktfunk-lab",
        "ab",
        *(about.names.get(side, key[:12]) for side, key in (("base", about.base), ("head", about.head))),
    ]
    words.append(about.scenario)
    for name in (case,) if case else about.cases:
        words += ["--case", name]
    words += ["--seed", str(seed), "--pairs", str(about.pairs if pair is None else 1)]
    if about.backend:
        words += ["--backend", about.backend]
    return shlex.join(words)


def _row(finding: Finding) -> Row:
    definition = FIGURES[finding.metric]
    return Row(
        finding=finding,
        description=definition.description,
        base=text.number(finding.base, finding.unit),
        head=text.number(finding.head, finding.unit),
        change=change(finding),
        chance=f"{finding.p_value:.2g}",
        word=word(finding),
        style=_style(finding),
        seen=_seen(finding),
    )


def _style(finding: Finding) -> str:
    if not finding.gates:
        return ""
    return {Verdict.REGRESSION: "bad", Verdict.IMPROVEMENT: "ok", Verdict.TOO_FEW: "doubt"}.get(
        finding.verdict, ""
    )


def _seen(finding: Finding) -> str:
    if finding.verdict is Verdict.TOO_FEW:
        return f"{max(1, finding.pairs_needed - finding.pairs)} more pairs"
    return f"{finding.detectable:.1%}" if math.isfinite(finding.detectable) else "–"


def _stages(compared: Pairs) -> list[tuple[str, int, list[Stage]]]:
    """Return the stages of each case that spent time in any: the case, its pairs and a row a stage."""
    judged = {(f.case, f.metric): f for f in compared.about.findings}
    found = []
    for case, both in list(compared.pairs.items())[:MOST_CASES]:
        rows = [
            row
            for name in _SPANS
            if (row := _stage(name, both, judged.get((case, f"{name}_p50")))) is not None
        ]
        if rows:
            found.append((case, len(paired.believed(both, "transport_p50")), rows))
    return found


def _stage(name: str, both: paired.Pairs, finding: Finding | None) -> Stage | None:
    cells = []
    for label in _QUANTILES:
        columns = np.array(paired.table(paired.believed(both, f"{name}_{label}"), f"{name}_{label}"))
        if not columns.size or not columns.any():
            if label == _QUANTILES[0]:
                return None
            cells += ["–", "–"]
            continue
        cells += [text.number(float(value), "ms") for value in np.median(columns, axis=0)]
    said = (change(finding), word(finding), _style(finding)) if finding is not None else ("", "", "")
    return Stage(name.replace("_", " "), cells, *said)


def _machine_word(machine: Quietness) -> str:
    return "quiet" if machine.quiet else "busy"


def _busy(compared: Pairs) -> str:
    """Return how many of the pairs on real links the machine was quiet for; "" where there are none."""
    known = [
        p for both in compared.pairs.values() for p in both if any(side.machine is not None for side in p)
    ]
    if not known:
        return ""
    quiet = sum(paired.is_believable(pair) for pair in known)
    return (
        f"{quiet} of {len(known)} pairs on real links had a quiet machine, and latencies are of those alone."
    )


def _pair_rows(compared: Pairs) -> list[PairRow]:
    about = compared.about
    return [
        PairRow(
            number=number,
            case=case,
            seed=str(about.seeds[base.repeat]) if 0 <= base.repeat < len(about.seeds) else "",
            sides=[(f"{name} {text.MARK[side.status]}", _place(folder, side))
                   for (folder, name), side in zip(paired_run.SIDES.items(), (base, head), strict=True)],
            machine="" if base.machine is None else "quiet" if paired.is_believable((base, head)) else "busy",
            again=command_of(about, case, base.repeat) if 0 <= base.repeat < len(about.seeds) else "",
        )
        for case, both in compared.pairs.items()
        for number, (base, head) in enumerate(both)
    ]  # fmt: skip


def _place(folder: str, side: CaseResult) -> str:
    return f"./{folder}/{quote(side.folder.lstrip('/'))}/" if side.folder else ""
