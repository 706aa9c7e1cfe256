"""Link traces: rate, delay and loss over time, from CSV files.

A trace is CSV with a header: ``at_ms`` (rising from 0) and any of ``rate_kbps``, ``delay_ms`` and
``loss_percent``. Lines that start with ``#`` are comments: say there where the trace comes from. An empty
cell leaves that quantity as it is.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.printable import printable
from punktfunk.regular_file import read_text
from punktfunk.units import Bitrate, Duration, Probability

MAX_POINTS = 100_000
"""A trace is held in memory and copied to the core: 100,000 points are 27 hours at one a second."""
MAX_BYTES = 16 << 20
"""Of a file: 100,000 points of 160 characters."""
MAX_CELL_CHARACTERS = 64
"""Of a number or a column's name."""
LIMITS = {
    "at_ms": (864e6, "ten days"),
    "rate_kbps": (400e6, "400 Gbit/s"),
    "delay_ms": (60e3, "60 s"),
    "loss_percent": (100.0, "100 %"),
}
"""The most that each column may say, as the core's link model has it; the least is 0."""
COLUMNS = tuple(LIMITS)


class TracePoint(BaseModel):
    """From this time on the link has these values; what is None stays as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Duration
    rate: Bitrate | None = None
    delay: Duration | None = None
    loss: Probability | None = Field(None, description="Independent loss.")

    def core(self) -> dict[str, Any]:
        """Return the point as the core's link model takes it."""
        point: dict[str, Any] = {"at_ms": self.at.ms}
        if self.rate is not None:
            point["rate_kbps"] = self.rate.kbps
        if self.delay is not None:
            point["delay_us"] = self.delay.us
        if self.loss is not None:
            point["loss_p"] = self.loss.value
        return point


def read_trace(path: Path) -> list[TracePoint]:
    """Read a CSV trace; raise ValueError that says where (``file:line:column``) one is invalid."""
    name = printable(path.name, MAX_CELL_CHARACTERS)
    try:
        text = read_text(path, MAX_BYTES)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from error
    lines = _lines(text)
    number, header = next(lines, (1, []))
    unknown = [column for column in header if column not in LIMITS]
    if unknown or "at_ms" not in header or len(set(header)) < len(header):
        shown = printable(", ".join(header), 200)
        raise ValueError(
            f"{name}:{number}:1: wants the columns at_ms and any of {', '.join(COLUMNS[1:])}; it has {shown}"
        )
    points: list[TracePoint] = []
    for number, cells in lines:
        if len(points) == MAX_POINTS:
            raise ValueError(f"{name}:{number}:1: a trace has at most {MAX_POINTS} points")
        if len(cells) > len(header):
            raise ValueError(f"{name}:{number}:1: {len(cells)} cells under {len(header)} columns")
        try:
            point = _point(header, cells)
        except _CellError as error:
            column = 1 + sum(len(before) + 1 for before in cells[: error.cell])
            raise ValueError(f"{name}:{number}:{column}: {error}") from None
        if not points and point.at.ns:
            raise ValueError(f"{name}:{number}:1: at_ms starts at 0")
        if points and point.at.ns <= points[-1].at.ns:
            raise ValueError(f"{name}:{number}:1: at_ms rises from point to point")
        points.append(point)
    if not points:
        raise ValueError(f"{name} has no points")
    return points


class _CellError(ValueError):
    """What is wrong with a cell, counted from 0; the line is known to who reads lines."""

    def __init__(self, cell: int, what: str) -> None:
        super().__init__(what)
        self.cell = cell


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that is no comment, with the line's number."""
    longest = csv.field_size_limit()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            # csv.field_size_limit is another module's to change; what is longer than it is no line of a trace.
            yield number, next(csv.reader([line])) if len(line) < longest else line.split(",")


def _point(header: list[str], cells: list[str]) -> TracePoint:
    values: dict[str, float | None] = dict.fromkeys(COLUMNS)
    for place, (column, cell) in enumerate(zip(header, cells, strict=False)):
        text = cell.strip()
        if text:
            values[column] = _value(place, column, text)
    at, rate, delay, loss = values.values()
    if at is None:
        raise _CellError(0, "at_ms is empty")
    return TracePoint(
        at=Duration(round(at * 1e6)),
        rate=None if rate is None else Bitrate(round(rate * 1000)),
        delay=None if delay is None else Duration(round(delay * 1e6)),
        loss=None if loss is None else Probability(loss / 100),
    )


def _value(place: int, column: str, text: str) -> float:
    try:
        value = float(text) if len(text) <= MAX_CELL_CHARACTERS else None
    except ValueError:
        value = None
    if value is None:
        raise _CellError(place, f"{column}: '{printable(text, 40)}' is not a number")
    most, words = LIMITS[column]
    if not (math.isfinite(value) and 0 <= value <= most):
        raise _CellError(
            place, f"{column}: {printable(text, 40)} is out of range, from 0 to {most:.0f} ({words})"
        )
    return value
