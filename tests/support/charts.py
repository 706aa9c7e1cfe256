"""Charts as they are laid out: what stands on what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox


@contextmanager
def laid_out() -> Iterator[list[Figure]]:
    """Collect every figure that is drawn meanwhile, as it was when it was written."""
    figures: list[Figure] = []
    written = Figure.savefig

    def savefig(figure: Figure, *arguments: Any, **options: Any) -> None:
        written(figure, *arguments, **options)
        figures.append(figure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield figures


def covered(figure: Figure) -> list[str]:
    """Return what a legend of the figure covers: a panel's curves, a title, another legend; or the figure's edge."""
    legends = [*figure.legends, *(legend for ax in figure.axes if (legend := ax.get_legend()) is not None)]
    panels = [ax for ax in figure.axes if ax.get_visible()]
    others: list[tuple[str, Bbox]] = []
    for ax in panels:
        others.append((f"the curves of panel '{ax.get_title(loc='left')}'", ax.get_window_extent()))
        if ax.get_title(loc="left"):
            others.append((f"title '{ax.get_title(loc='left')}'", ax._left_title.get_window_extent()))  # type: ignore[attr-defined]
    boxes = [legend.get_window_extent() for legend in legends]
    found = [name for box in boxes for name, other in others if _overlap(box, other)]
    found += ["another legend" for a, b in itertools.combinations(boxes, 2) if _overlap(a, b)]
    edge = figure.bbox
    found += [
        "the edge"
        for box in boxes
        if box.x1 > edge.x1 + 1 or box.y1 > edge.y1 + 1 or box.x0 < -1 or box.y0 < -1
    ]
    return found


def _overlap(a: Bbox, b: Bbox) -> bool:
    """Return whether two boxes share more than a pixel of line."""
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
