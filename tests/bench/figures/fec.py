"""Draw the curves of docs/explanation/fec.md: ``python -m tests.bench.figures.fec``.

They are of `docs/explanation/fec-curves.json`, which ``cargo bench --bench curves -- --json FILE`` writes, and of the
table of rows and transforms in the page itself, whose rows are no longer in the code.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.report.drawing import (
    COLOURS,
    DASHES,
    INK,
    MARKERS,
    Chart,
    draw,
    legend_of_all,
    standalone,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

DOCS: Final = Path(__file__).parents[3] / "docs" / "explanation"
FIGURES: Final = DOCS / "fec-curves.json"
PAGE: Final = DOCS / "fec.md"
CODES: Final = ("GF(2^8)", "GF(2^16)", "reed-solomon-simd")


def drawings() -> dict[str, str]:
    """Return each drawing of the page as SVG text, by its file name."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    return {
        "fec-crossover.svg": _standalone("fec-crossover", 2, (10.4, 3.6), lambda axes: _codes(axes, figures)),
        "fec-rows.svg": _standalone("fec-rows", 1, (6.2, 3.4), lambda axes: _rows(axes[0], rows_table())),
    }


def rows_table() -> dict[str, dict[int, float]]:
    """Return the page's measurement of rows over transforms: for each block the ratio by missing shards."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("| missing |"))
    cells = [[cell.strip() for cell in re.split(r"\|", line)[1:-1]] for line in lines[head : head + 8]]
    missing = [int(cell) for cell in cells[0][1:]]
    return {row[0]: dict(zip(missing, map(float, row[1:]), strict=True)) for row in cells[2:]}


def _standalone(name: str, columns: int, size: tuple[float, float], paint: Any) -> str:
    return standalone(Chart(title=name, caption="", svg=draw(name, 1, columns, size, paint))) + "\n"


def _codes(axes: Sequence[Axes], figures: dict[str, Any]) -> None:
    """Time of 200 data shards in both codes and in the library, by losses and by recovery shards."""
    panels = (
        ("rebuild", "rebuild 200+40", "missing data shards"),
        ("encode", "encode 200 data shards", "recovery shards"),
    )
    for ax, (rows, title, label) in zip(axes, panels, strict=True):
        for n, code in enumerate(CODES):
            ax.plot(
                [row[0] for row in figures[rows]],
                [row[1 + n] for row in figures[rows]],
                color=COLOURS[n], linestyle=DASHES[n], marker=MARKERS[n], label=code,
            )  # fmt: skip
        ax.set_yscale("log")
        most = max(max(row[1:]) for row in figures[rows])
        ticks = [tick for tick in (2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick < most]
        ax.set_yticks(ticks, [str(tick) for tick in ticks])
        ax.set_yticks([], minor=True)
        ax.set_title(title)
        ax.set_xlabel(label)
        ax.set_ylabel("CPU time (µs)")
    legend_of_all(axes, 10.4)


def _rows(ax: Axes, table: dict[str, dict[int, float]]) -> None:
    """Time of rows over that of the transform, as measured before rows were removed."""
    for n, (block, ratios) in enumerate(table.items()):
        name = block.split(",")[0].removesuffix(" data shards") + (
            ", portable" if "portable" in block else ", AVX-512"
        )
        ax.plot(
            list(ratios), list(ratios.values()),
            color=COLOURS[n], linestyle=DASHES[n], marker=MARKERS[n], label=name,
        )  # fmt: skip
    ax.axhline(1, color=INK, linewidth=0.8)
    ax.set_xlabel("missing data shards")
    ax.set_ylabel("time of rows / of the transform")
    legend_of_all([ax], 6.2)


def main() -> None:
    for name, svg in drawings().items():
        (DOCS / name).write_text(svg, encoding="utf-8")
        print(DOCS / name)


if __name__ == "__main__":
    main()
