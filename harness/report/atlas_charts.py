"""Charts of a run of very many cases: heat maps in facets, what each axis does alone, and residuals from theory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from harness.report.atlas import DECODABLE, EXPECTED, LATENCY, RECOVERY, FloatArray, Layer
from harness.report.drawing import COLOURS, DASHES, MARKERS, Chart, draw
from harness.report.matrix import SCALE
from harness.report.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_FACETS: Final = 5
"""Values of an axis that are drawn as facets of their own; of more, some are chosen over the whole range."""
_MOST_TICKS: Final = 12
_FIGURES: Final = (
    (RECOVERY, "Frames complete", "%", 100.0),
    (DECODABLE, "Frames that can be shown", "%", 100.0),
    (LATENCY, "Latency, p99 from sealed to complete", "ms", 1.0),
)


def charts(layers: Sequence[Layer]) -> list[Chart]:
    """Return the charts of every layer that has data for them."""
    found: list[Chart | None] = []
    for layer in layers:
        found += [heat_map(layer, *figure) for figure in _FIGURES]
        found += [marginals(layer, *figure) for figure in _FIGURES]
        found.append(residuals(layer))
    return [chart for chart in found if chart is not None]


def heat_map(layer: Layer, figure: str, title: str, unit: str, scale: float) -> Chart | None:
    """Two axes across and down a panel, two more as rows and columns of panels: those that move the figure most."""
    if figure not in layer.figures or len(layer.axes) < 2 or not _varies(layer.figures[figure]):
        return None
    across, down, *others = layer.strongest(figure)
    columns, rows = [*others, "", ""][:2]
    means = layer.means(figure, [axis for axis in (rows, columns, down, across) if axis]) * scale
    shown_rows, shown_columns = _facets(layer, rows), _facets(layer, columns)
    means = means.reshape(
        len(layer.axes[rows]) if rows else 1, len(layer.axes[columns]) if columns else 1, *means.shape[-2:]
    )
    low, high = float(np.nanmin(means)), float(np.nanmax(means))

    def paint(axes: list[Axes]) -> None:
        from matplotlib.colors import ListedColormap

        # Blue is good, as in the matrix of a small run: many frames, and little time.
        colours = ListedColormap(SCALE[::-1] if figure == LATENCY else SCALE)
        places = list(itertools.product(shown_rows, shown_columns))
        for ax, (row, column) in zip(axes, places, strict=True):
            image = ax.imshow(
                means[row, column], cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest"
            )
            ax.grid(visible=False)
            _ticks(ax.set_xticks, layer.axes[across], rotate=True, shown=row == shown_rows[-1])
            _ticks(ax.set_yticks, layer.axes[down], rotate=False, shown=column == shown_columns[0])
            if row == shown_rows[0] and columns:
                ax.set_title(f"{columns} {layer.axes[columns][column]}")
            if column == shown_columns[0]:
                ax.set_ylabel(f"{f'{rows} {layer.axes[rows][row]}, ' if rows else ''}{down}")
            if row == shown_rows[-1]:
                ax.set_xlabel(across)
        whole = axes[0].get_figure(root=True)
        assert whole is not None
        whole.colorbar(image, ax=axes, label=f"{title} ({unit})", shrink=0.6, aspect=40)

    rest = layer.strongest(figure)[4:]
    over = f" A cell is the mean over {', '.join(rest)}." if rest else ""
    left_out = [
        f"{name}: {len(kept)} of {len(layer.axes[name])} values"
        for name, kept in ((columns, shown_columns), (rows, shown_rows))
        if name and len(kept) < len(layer.axes[name])
    ]
    fewer = f" Panels are some of all ({'; '.join(left_out)})." if left_out else ""
    return Chart(
        title=f"{layer.name}: {title.lower()}",
        caption=clean(f"The axes that move it most, the strongest across.{over}{fewer}"),
        svg=draw(
            f"heat-{layer.name}-{figure}",
            len(shown_rows),
            len(shown_columns),
            (max(5.2, 2.3 * len(shown_columns) + 1.4), 1.9 * len(shown_rows) + 0.8),
            paint,
        ),
    )


def marginals(layer: Layer, figure: str, title: str, unit: str, scale: float) -> Chart | None:
    """What each axis does: mean over all others, with the range of nine cells in ten, and theory's mean."""
    if figure not in layer.figures or not layer.axes or not _varies(layer.figures[figure]):
        return None
    order = layer.strongest(figure)
    columns = min(4, len(order))
    rows = -(-len(order) // columns)
    theory = figure == RECOVERY and EXPECTED in layer.figures
    values = layer.figures[figure] * scale

    def paint(axes: list[Axes]) -> None:
        for ax, axis in zip(axes, order, strict=False):
            at = np.arange(len(layer.axes[axis]))
            low, high = _range(values, layer.codes[axis], at.size)
            ax.fill_between(at, low, high, color=COLOURS[0], alpha=0.15, linewidth=0, label="9 of 10 cells")
            ax.plot(
                at, layer.marginal(axis, figure) * scale, color=COLOURS[0], marker=MARKERS[0], label="mean"
            )
            if theory:
                expected = layer.marginal(axis, EXPECTED) * scale
                ax.plot(at, expected, color=COLOURS[1], linestyle=DASHES[1], label="theory's mean")
            _ticks(ax.set_xticks, layer.axes[axis], rotate=True)
            ax.set_xlabel(axis)
        for ax in axes[:: columns or 1]:
            ax.set_ylabel(unit)
        for ax in axes[len(order) :]:
            ax.set_visible(False)
        # Above the panels: a legend that is in none covers no curve.
        handles, labels = axes[0].get_legend_handles_labels()
        whole = axes[0].get_figure(root=True)
        assert whole is not None
        whole.legend(handles, labels, loc="outside upper left", ncols=len(labels))

    return Chart(
        title=f"{layer.name}: {title.lower()}, axis by axis",
        caption="Each panel is over all cells of the layer; axes are in the order of how much they move it.",
        svg=draw(f"marginals-{layer.name}-{figure}", rows, columns, (2.7 * columns, 2.5 * rows + 0.4), paint),
    )


def residuals(layer: Layer) -> Chart | None:
    """How far the cells are from theory: all of them against chance, and the mean at each value of each axis."""
    off = layer.residuals()
    known = np.isfinite(off)
    if known.sum() < 30:
        return None
    points = [
        (f"{axis} {value}", off[known & (layer.codes[axis] == code)])
        for axis, values in layer.axes.items()
        for code, value in enumerate(values)
    ]
    points = [(name, cells) for name, cells in points if cells.size]

    def paint(axes: list[Axes]) -> None:
        left, right = axes
        edges = np.linspace(-5, 5, 41)
        clipped = np.clip(off[known], -5, 5)
        left.hist(
            clipped, list(edges), density=True, color=COLOURS[0], alpha=0.5, label=f"{known.sum()} cells"
        )
        middle = np.linspace(-5, 5, 201)
        normal = np.exp(-middle * middle / 2) / np.sqrt(2 * np.pi)
        left.plot(middle, normal, color=COLOURS[1], linestyle=DASHES[1], label="chance alone, many frames")
        left.set_xlabel("measured − expected, in standard deviations")
        left.set_ylabel("density")
        left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        at = np.arange(len(points))
        reach = np.array([1.96 / np.sqrt(cells.size) for _, cells in points])
        right.fill_between(at, -reach, reach, step="mid", color=COLOURS[1], alpha=0.18, linewidth=0)
        right.plot(at, [cells.mean() for _, cells in points], color=COLOURS[0], marker=".", linestyle="none")
        step = max(1, -(-len(points) // 40))
        names = [name if n % step == 0 else "" for n, (name, _) in enumerate(points)]
        right.set_xticks(at, names, rotation=90, fontsize=6.5)
        right.set_ylabel("mean of its cells")

    return Chart(
        title=f"{layer.name}: residuals from theory",
        caption=(
            "Left: each cell's complete frames against what theory expects; bursts make rare outcomes skew. Right: the "
            "mean at each value of each axis; the band holds 95 % of what chance does to such a mean."
        ),
        svg=draw(f"residuals-{layer.name}", 1, 2, (10.8, 3.6), paint),
    )


def _varies(values: FloatArray) -> bool:
    known = values[np.isfinite(values)]
    return bool(known.size) and float(np.ptp(known)) > 0


def _facets(layer: Layer, axis: str) -> list[int]:
    if not axis:
        return [0]
    count = len(layer.axes[axis])
    if count <= _MOST_FACETS:
        return list(range(count))
    return [round(n * (count - 1) / (_MOST_FACETS - 1)) for n in range(_MOST_FACETS)]


def _range(values: FloatArray, codes: NDArray[np.int64], count: int) -> tuple[FloatArray, FloatArray]:
    """Return the 5 % and 95 % quantile of a figure at each value of an axis."""
    low, high = np.full(count, np.nan), np.full(count, np.nan)
    for code in range(count):
        cells = values[(codes == code) & np.isfinite(values)]
        if cells.size:
            low[code], high[code] = np.quantile(cells, [0.05, 0.95])
    return low, high


def _ticks(setter: Callable[..., object], names: Sequence[str], *, rotate: bool, shown: bool = True) -> None:
    """Name the values of an axis with ``set_xticks`` or ``set_yticks``; of many, some."""
    step = max(1, -(-len(names) // _MOST_TICKS))
    at = list(range(0, len(names), step))
    labels = [names[n][:14] if shown else "" for n in at]
    setter(at, labels, fontsize=7.5, rotation=90 if rotate and max(map(len, names)) > 3 else 0)
