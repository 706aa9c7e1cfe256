"""Cases in groups: what is sent to a worker at a time, and what it sends back.

Work is handed out by the group so that handing it out costs little beside doing it, and a group is small enough that
a worker that is lost takes little with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from harness.analysis.case_table import to_table
from harness.analysis.results import Status, group_of
from harness.run.case import failed_result, row_of
from harness.run.context import RunContext
from harness.run.estimate import row_s
from harness.scenario.expand import Case
from harness.scenario.link import Backend

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

TARGET_S: Final = 1.0
"""Estimated work of a group: a thousand times what sending it costs."""
LEAST, MOST = 50, 1000
"""Cases of a group: at most a thousandth of the run within these bounds, so that the files of its parts stay few."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that are sent together, with their places in the run."""

    places: tuple[int, ...]
    cases: tuple[Case, ...]
    estimate_s: float

    def halves(self) -> list[Group]:
        """Return it as two groups, to find out which case it is that ends its worker."""
        middle = len(self.cases) // 2
        return [
            Group(self.places[part], self.cases[part], self.estimate_s / 2)
            for part in (slice(None, middle), slice(middle, None))
        ]


class Feed(Generic[T]):
    """Work that has not been handed out, with what has to be done again first."""

    def __init__(self, source: Iterable[T]) -> None:
        self._source = iter(source)
        self._again: list[T] = []

    def take(self) -> T | None:
        """Return the next piece of work; None when there is none at this time."""
        return self._again.pop() if self._again else next(self._source, None)

    def give_back(self, work: Iterable[T]) -> None:
        """Have work handed out again."""
        self._again.extend(work)


def grouped(cases: Iterable[tuple[int, Case]], total: int) -> Iterator[Group]:
    """Return cases, each with its place among ``total``, in groups of neighbours."""
    most = min(MOST, max(LEAST, total // 1000))
    places: list[int] = []
    kept: list[Case] = []
    seconds = 0.0
    for place, case in cases:
        places.append(place)
        kept.append(case)
        seconds += row_s(case)
        if len(kept) >= most or seconds >= TARGET_S:
            yield Group(tuple(places), tuple(kept), seconds)
            places, kept, seconds = [], [], 0.0
    if kept:
        yield Group(tuple(places), tuple(kept), seconds)


def tabulated(group: Group, context: RunContext) -> bytes:
    """Simulate a group and return a row for each of its cases, as an Arrow stream; called in workers."""
    return _stream(
        to_table(
            (place, group_of(result), result)
            for place, case in zip(group.places, group.cases, strict=True)
            for result in (row_of(case, context),)
        )
    )


def lost(group: Group, reason: str) -> pa.Table:
    """Return the rows of a group that no worker survived."""
    results = [failed_result(case, Backend.SIM, Status.FAULT, reason) for case in group.cases]
    return to_table(
        (place, group_of(result), result) for place, result in zip(group.places, results, strict=True)
    )


def rows(stream: bytes) -> pa.Table:
    """Return the rows that :func:`tabulated` sent."""
    import pyarrow as pa

    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()


def _stream(table: pa.Table) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
