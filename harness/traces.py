"""Link traces: rate, delay and loss over time, from CSV files.

A trace is CSV with a header: ``at_ms`` (rising from 0) and any of ``rate_kbps``, ``delay_ms`` and
``loss_percent``. Lines that start with ``#`` are comments: say there where the trace comes from. An empty
cell leaves that quantity as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from punktfunk.units import Bitrate, Duration, Probability

COLUMNS = ("at_ms", "rate_kbps", "delay_ms", "loss_percent")
MAX_POINTS = 100_000
"""A trace is held in memory and copied to the core: 100,000 points are 27 hours at one a second."""


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
    """Read a CSV trace; raise ValueError that names the line when one cannot be meant."""
    points: list[TracePoint] = []
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(_without_comments(file))
        header = rows.fieldnames or []
        unknown = set(header) - set(COLUMNS)
        if unknown or "at_ms" not in header:
            raise ValueError(
                f"{path.name} wants the columns at_ms and any of {', '.join(COLUMNS[1:])}; it has {header}"
            )
        for number, row in enumerate(rows, start=1):
            try:
                points.append(_point(row))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path.name}, point {number}: {error}") from error
            if len(points) > MAX_POINTS:
                raise ValueError(f"{path.name} has more than {MAX_POINTS} points")
    if not points:
        raise ValueError(f"{path.name} has no points")
    if points[0].at.ns != 0 or any(b.at <= a.at for a, b in pairwise(points)):
        raise ValueError(f"{path.name}: at_ms starts at 0 and rises")
    return points


def _without_comments(lines: Iterable[str]) -> Iterable[str]:
    return (line for line in lines if line.strip() and not line.startswith("#"))


def _point(row: dict[str, str | None]) -> TracePoint:
    def cell(name: str) -> float | None:
        text = (row.get(name) or "").strip()
        return float(text) if text else None

    at, rate, delay, loss = (cell(name) for name in COLUMNS)
    if at is None:
        raise ValueError("at_ms is empty")
    return TracePoint(
        at=Duration(round(at * 1e6)),
        rate=None if rate is None else Bitrate(round(rate * 1000)),
        delay=None if delay is None else Duration(round(delay * 1e6)),
        loss=None if loss is None else Probability(loss / 100),
    )
