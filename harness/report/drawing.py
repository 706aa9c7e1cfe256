"""How every chart of a report is drawn: colours, markers and dashes, and the SVG that stands inside a page.

Colours are Okabe and Ito's (yellow and black left out: one is lost on white, the other on dark); every series
has a marker and a dash of its own as well. Text stays text, in the page's colour.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from harness.analysis.definitions import QUANTILES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
INK: Final = "#123457"  # stands for the page's text colour until the SVG is written
_FAINT: Final = "#765432"  # grid lines
_STYLE: Final[Any] = {  # the stubs want a Literal for every key
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollar signs
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
}
MOST_LINES: Final = len(COLOURS)
_NINES: Final = -np.log10(1 - np.minimum(QUANTILES, 0.9995))
"""A scale of quantiles that is stretched towards the tail; the largest stands at 99.95 %."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of a report."""

    title: str
    caption: str
    svg: str
    """Markup to stand in a page as it is."""


def draw(
    name: str, rows: int, columns: int, size: tuple[float, float], paint: Callable[[list[Axes]], None]
) -> str:
    # Half a second of CPU that a run without charts, and whoever looks at texts alone, is spared.
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The salt keeps the ids of charts on one page apart.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flat))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), size[0])


_LETTER_IN: Final = 0.068
"""Width of a letter of a legend, in inches, and of the line before it."""
_SAMPLE_IN: Final = 0.55
_ROW_PT: Final = 13.0
"""Height of a row of a legend, in points."""


def legend_above(ax: Axes, width: float) -> None:
    """Name the curves of a panel between it and its title, where no curve is; ``width`` is its own, in inches."""
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    columns = _columns(labels, width)
    ax.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns,
        borderaxespad=0.2, borderpad=0.0, columnspacing=1.2, handlelength=2.4,
    )  # fmt: skip
    title = ax.get_title(loc="left")
    if title:
        ax.set_title(title, pad=6 + _ROW_PT * -(-len(labels) // columns))


def legend_of_all(axes: Sequence[Axes], width: float) -> None:
    """Name the curves that panels share, once, above all of them; ``width`` is that of the chart, in inches."""
    named: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        axes[0].get_figure(root=True).legend(  # type: ignore[union-attr]  # of axes that are drawn there is a figure
            named.values(),
            named.keys(),
            loc="outside upper left",
            ncols=_columns(list(named), width),
            handlelength=2.4,
        )


def _columns(labels: Sequence[str], width: float) -> int:
    return max(1, min(len(labels), int(width / (_SAMPLE_IN + _LETTER_IN * max(map(len, labels))))))


def tail_line(ax: Axes, values: Sequence[float], n: int, label: str) -> None:
    """Draw values at the quantiles of every case as line ``n``, with markers at the median, 95, 99 and 99.9 %."""
    ax.plot(
        values,
        _NINES[: len(values)],
        color=COLOURS[n],
        linestyle=DASHES[n],
        marker=MARKERS[n],
        markevery=[49, 94, 98, 100],
        label=label,
    )


def tail_scale(ax: Axes) -> None:
    """Name the shares of frames beside lines of :func:`tail_line`."""
    ax.set_yticks(
        -np.log10(1 - np.array([0.01, 0.5, 0.9, 0.95, 0.99, 0.999])),
        ["1 %", "50 %", "90 %", "95 %", "99 %", "99.9 %"],
    )


def _inline(svg: str, width: float) -> str:
    """Cut a standalone SVG down to what a page embeds: no prologue, no idle ids, the page's text colour."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", svg)
    shape = f'role="img" style="max-width:{width * 104:.0f}px"'
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', shape, svg, count=1)
    svg = svg.replace(INK, "currentColor").replace(_FAINT, "var(--faint)")
    svg = re.sub(r"font: ([^;\"]*?)(\d+(?:\.\d+)?)px [^;\"]*", r"font: \1\2px sans-serif", svg)
    return re.sub(r"\n\s*", "\n", svg)


def standalone(chart: Chart) -> str:
    """Return a chart as a file of its own: on white, as no page says how it is lit."""
    box = re.search(r'viewBox="([-\d.]+) ([-\d.]+) ([\d.]+) ([\d.]+)"', chart.svg)
    assert box is not None
    width, height = box[3], box[4]
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    svg = re.sub(
        r'role="img" style="[^"]*"', f'role="img" width="{width}" height="{height}"', chart.svg, count=1
    )
    svg = svg.replace("currentColor", "#1b1f24").replace("var(--faint)", "#d8dce0")
    return re.sub(r"(<svg[^>]*>)", rf"\1\n{ground}", rounded(svg), count=1)


def rounded(svg: str) -> str:
    """Return a drawing to a hundredth of a point, which halves its size; what is written in it stays as it is."""

    def shorter(tag: re.Match[str]) -> str:
        return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])

    return re.sub("<[^>]*>", shorter, svg)
