"""Charts of recovery against loss: what was measured, on the curve and in the band that theory says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.analysis.agreement import curve
from harness.analysis.results import CaseResult
from harness.analysis.stats import FloatArray, wilson
from harness.report.drawing import COLOURS, DASHES, MARKERS, MOST_LINES, Chart, draw, legend_above
from harness.report.text import clean, layer_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panel: TypeAlias = tuple[str, float]
"""Title of a panel, and its burst length."""


def recovery(cases: Sequence[CaseResult]) -> Chart | None:
    """Measured recovery on the theory's curve and 95 % band: a panel per code, burstiness and size of frames.

    Layers of several protocols are left out: ``wire_charts`` draws one beside the other.
    """
    wires: dict[str, set[str]] = {}
    for case in cases:
        wires.setdefault(layer_of(case), set()).add(case.protocol)
    judged = [case for case in with_curve(cases) if len(wires[layer_of(case)]) == 1]
    if len({c.theory["loss"] for c in judged}) < 2:
        return None
    fitting = sum(c.theory["p_value"] > 0.001 for c in judged)
    return Chart(
        title="FEC recovery against loss",
        caption=(
            "Points: measured share of complete frames with 95 % intervals. Lines: exact theory; bands: where 95 % "
            f"of measurements of this size should fall. {len(judged)} cells, {fitting} with p above 0.001 before "
            "correction."
        ),
        svg=draw_panels("recovery", recovery_panels(judged)),
    )


def with_curve(cases: Sequence[CaseResult]) -> list[CaseResult]:
    """Return the cases that theory has a curve for; losses without chance have none."""
    counted = {layer_of(c) for c in cases if c.theory.get("periodic")}
    # A line is drawn for one percentage: points whose FEC followed loss lie on none.
    return [
        c
        for c in cases
        if "p_value" in c.theory and layer_of(c) not in counted and "fec_percent_followed" not in c.theory
    ]


def draw_panels(name: str, panels: Mapping[Panel, Mapping[str, Sequence[CaseResult]]]) -> str:
    """Return the chart of panels as markup, two a row, in the order of the run."""
    order = list(panels)
    columns = min(len(order), 2)
    rows = -(-len(order) // columns)
    top = max(c.theory["loss"] for lines in panels.values() for cases in lines.values() for c in cases)

    def paint(axes: list[Axes]) -> None:
        for ax, key in zip(axes, order, strict=False):
            _recovery_panel(ax, key, panels[key], top)
        for ax in axes[len(order) :]:
            ax.set_visible(False)

    return draw(name, rows, columns, (5.2 * columns, 3.5 * rows + 0.2), paint)


def recovery_panels(judged: Sequence[CaseResult]) -> dict[Panel, dict[str, list[CaseResult]]]:
    """Return cases with a theory by (code, burst length), then by FEC percentage as a legend names it."""
    return panels_of(judged, lambda case: f"{case.theory['fec_percent']:g} % FEC", ())


def panels_of(
    judged: Sequence[CaseResult], line: Callable[[CaseResult], str], lines_of: Collection[str]
) -> dict[Panel, dict[str, list[CaseResult]]]:
    """Return cases by panel and by ``line`` in it; axes named in ``lines_of`` make lines, and no panels."""
    layers: dict[str, list[CaseResult]] = {}
    for case in judged:
        layers.setdefault(layer_of(case), []).append(case)
    splitting = {name: _splitting(cases) - set(lines_of) for name, cases in layers.items()}
    panels: dict[Panel, dict[str, list[CaseResult]]] = {}
    for case in judged:
        layer = layer_of(case)
        extra = [f"{name} {value}" for name, value in case.params.items() if name in splitting[layer]]
        title = ", ".join([_code_of(case), *extra])
        panel = panels.setdefault((title, _burst_of(case, layers[layer])), {})
        panel.setdefault(line(case), []).append(case)
    return panels


def _splitting(cases: Sequence[CaseResult]) -> set[str]:
    """Return the axes of a layer that change a curve: neither loss nor its bursts, FEC or the code follow from them."""
    names = {name for case in cases for name in case.params}
    found = set()
    for name in names:
        alike: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
        for case in cases:
            others = tuple(sorted((n, str(v)) for n, v in case.params.items() if n != name))
            drawn = tuple(round(case.theory[key], 9) for key in ("loss", "burst_packets", "fec_percent"))
            alike.setdefault((others, case.repeat), set()).add((*drawn, _code_of(case)))
        if len({str(case.params.get(name)) for case in cases}) > 1 and all(
            len(s) == 1 for s in alike.values()
        ):
            found.add(name)
    return found


def theory_line(case: CaseResult, burst: float, losses: Sequence[float]) -> FloatArray:
    """Return the theory's recovery in percent at other losses, for the code of a case and a panel's bursts."""
    return np.array(curve({**case.theory, "burst_packets": burst}, losses)) * 100


def _code_of(case: CaseResult) -> str:
    for value in case.params.values():
        if str(value) in {"gf8", "gf16"}:
            return {"gf8": "GF(2⁸)", "gf16": "GF(2¹⁶)"}[str(value)]
    return layer_of(case).removeprefix(f"{case.scenario}.")


def _burst_of(case: CaseResult, judged: Sequence[CaseResult]) -> float:
    """Return a case's burst length; one without loss goes with the lossy case that it is most like."""
    if case.theory["loss"] > 0:
        return round(case.theory["burst_packets"], 2)
    lossy = [c for c in judged if c.theory["loss"] > 0 and layer_of(c) == layer_of(case)]
    if not lossy:
        return 1.0
    like = max(lossy, key=lambda c: sum(c.params.get(n) == v for n, v in case.params.items()))
    return round(like.theory["burst_packets"], 2)


def _recovery_panel(ax: Axes, key: Panel, lines: Mapping[str, Sequence[CaseResult]], top: float) -> None:
    code, burst = key
    grid = np.linspace(0, top, 33)
    # With more redundancies than styles, ones spread over the whole range are shown.
    chosen = sorted(lines, key=lambda name: (lines[name][0].theory["fec_percent"], name))
    if len(chosen) > MOST_LINES:
        chosen = [chosen[round(i * (len(chosen) - 1) / (MOST_LINES - 1))] for i in range(MOST_LINES)]
    for n, label in enumerate(chosen):
        cases = sorted(lines[label], key=lambda c: c.theory["loss"])
        colour, dash, marker = COLOURS[n], DASHES[n], MARKERS[n]
        loss = [c.theory["loss"] * 100 for c in cases]
        # The curve is that of one frame of the mean size. At the cells the theory of the frames that were really
        # sent is known, so the line goes through that; between them line and band keep their distance.
        exact = np.array([c.theory["recovery"] for c in cases]) * 100
        offset = exact - theory_line(cases[0], burst, [c.theory["loss"] for c in cases])
        line = np.clip(theory_line(cases[0], burst, list(grid)) + np.interp(grid * 100, loss, offset), 0, 100)
        below = np.interp(grid * 100, loss, [_reach(c, "recovery_low") for c in cases])
        above = np.interp(grid * 100, loss, [_reach(c, "recovery_high") for c in cases])
        known = (grid * 100 >= loss[0]) & (grid * 100 <= loss[-1])
        ax.plot(grid[known] * 100, line[known], color=colour, linestyle=dash)
        ax.fill_between(
            grid[known] * 100,
            np.maximum(0, line + below)[known],
            np.minimum(100, line + above)[known],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        value, low, high = np.array([_measured(c) for c in cases]).T * 100
        ax.errorbar(
            loss,
            value,
            yerr=[np.maximum(0, value - low), np.maximum(0, high - value)],
            color=colour,
            marker=marker,
            linestyle="none",
            capsize=2,
            elinewidth=0.9,
            label=clean(label),
        )
    ax.set_title(clean(f"{code}, {kind_of(burst)}"))
    ax.set_xlabel("packets lost (%)")
    ax.set_ylabel("frames complete (%)")
    # Cells that are all near 100 % fill the panel; 0 stays in sight wherever any comes near it.
    lowest = min(_measured(c)[1] * 100 for cases in lines.values() for c in cases)
    bottom = lowest - 5 if lowest > 75 else -3
    ax.set_ylim(bottom, 100 + (100 - bottom) * 0.03)
    legend_above(ax, 4.4)


def kind_of(burst: float) -> str:
    """Return a burst length in words."""
    return "independent loss" if burst <= 1 else f"bursts of {burst:g} packets"


def _reach(case: CaseResult, bound: str) -> float:
    return (case.theory[bound] - case.theory["recovery"]) * 100


def _measured(case: CaseResult) -> tuple[float, float, float]:
    found = case.theory
    share = found["complete"] / found["frames"]
    metric = case.metrics.get("recovery")
    interval = metric.interval if metric and metric.interval else None
    low, high = interval or wilson(found["complete"], found["frames"]) or (share, share)
    return share, low, high
