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
        points.append(_point(dict(zip(header, cells, strict=False)), header, cells, f"{name}:{number}"))
        if len(points) == 1 and points[0].at.ns:
            raise ValueError(f"{name}:{number}:1: at_ms starts at 0")
        if len(points) > 1 and points[-1].at <= points[-2].at:
            raise ValueError(f"{name}:{number}:1: at_ms rises from point to point")
    if not points:
        raise ValueError(f"{name} has no points")
    return points


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that is no comment, with the line's number."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            # csv.field_size_limit is another module's to change; what is longer than it is no line of a trace.
            yield number, next(csv.reader([line])) if len(line) < csv.field_size_limit() else line.split(",")


def _point(row: dict[str, str], header: list[str], cells: list[str], where: str) -> TracePoint:
    def cell(column: str) -> float | None:
        text = row.get(column, "").strip()
        if not text:
            return None
        at = f"{where}:{1 + sum(len(before) + 1 for before in cells[: header.index(column)])}"
        value = _number(text)
        if value is None:
            raise ValueError(f"{at}: {column}: '{printable(text, 40)}' is not a number")
        most, words = LIMITS[column]
        if not (math.isfinite(value) and 0 <= value <= most):
            raise ValueError(
                f"{at}: {column}: {printable(text, 40)} is out of range, from 0 to {most:.0f} ({words})"
            )
        return value

    at, rate, delay, loss = (cell(column) for column in COLUMNS)
    if at is None:
        raise ValueError(f"{where}:1: at_ms is empty")
    return TracePoint(
        at=Duration(round(at * 1e6)),
        rate=None if rate is None else Bitrate(round(rate * 1000)),
        delay=None if delay is None else Duration(round(delay * 1e6)),
        loss=None if loss is None else Probability(loss / 100),
    )


def _number(text: str) -> float | None:
    try:
        return float(text) if len(text) <= MAX_CELL_CHARACTERS else None
    except ValueError:
        return None
