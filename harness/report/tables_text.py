"""What moved between two runs of very many cases, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.compare_tables import Facet, Moved, TableComparison
from harness.analysis.definitions import METRICS
from harness.report.text import number


def lines(found: TableComparison) -> Iterator[str]:
    """Yield a comparison as plain lines for a terminal: a figure over all cells, below it where it moved most."""
    for warning in found.warnings:
        yield f"warning: {warning}"
    if not found.compared:
        yield "nothing was compared"
        return
    rows: list[tuple[str, ...]] = [
        ("figure", "where", "cells", "moved", "for the worse", "was", "is", "p", "verdict")
    ]
    for each in found.moved:
        rows += [_row(each, facet) for facet in (each.everywhere, *each.facets)]
    if found.moved:
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        worst = [each for each in found.moved if each.everywhere.verdict == "regression" or each.facets]
        for each in worst[:3]:
            unit, (cell, before, after) = METRICS[each.metric].unit, each.farthest
            yield f"farthest for the worse in {each.metric}: {number(before, unit)} → {number(after, unit)} in {cell}"
    yield (
        f"{found.same} of {found.compared} cells are equal to the byte; {len(found.moved)} of {found.figures} figures "
        "moved in any"
    )


def _row(moved: Moved, facet: Facet) -> tuple[str, ...]:
    definition = METRICS[moved.metric]
    return (
        "" if facet.axis else moved.metric,
        f"  {facet.axis} {facet.value}" if facet.axis else "all cells",
        str(facet.cells),
        str(facet.moved),
        str(facet.worse) if definition.better != "none" else "–",
        number(facet.before, definition.unit),
        number(facet.after, definition.unit),
        f"{facet.p_value:.1g}",
        facet.verdict,
    )
