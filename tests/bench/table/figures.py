"""Figures of rows: what a bench keeps with ``--json FILE``, and medians with what they spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, ValidationError

from punktfunk.printable import printable
from tests.bench.table.documents import TooLongError, bounded, first_fault

MAX_BYTES: Final = 4 << 20
"""Of a file of figures: a hundred times what the largest has."""
BYTES_A_SECOND: Final = {"GB/s": 1e9, "MiB/s": float(1 << 20), "Gbit/s": 1e9 / 8}


class BenchError(Exception):
    """A bench could not be run or understood; the text says which, why and what helps."""


def _ordered(values: tuple[float, float, float]) -> tuple[float, float, float]:
    median, smallest, largest = values
    if not smallest <= median <= largest:
        raise ValueError("the median has to lie between the smallest and the largest")
    return values


Figure = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
Spread = Annotated[tuple[Figure, Figure, Figure], AfterValidator(_ordered)]
"""Median, smallest and largest of some rounds."""
_Measured = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]
MeasuredSpread = Annotated[tuple[_Measured, _Measured, _Measured], AfterValidator(_ordered)]
"""The same of a bench: within bounds that leave it a figure in any unit, and in any ratio."""


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, smallest and largest of at least one value."""
    return statistics.median(values), min(values), max(values)


def inverse(values: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the spread of what the values are one over."""
    median, smallest, largest = values
    return 1 / median, 1 / largest, 1 / smallest


class Figures(BaseModel):
    """One row of a bench. Throughputs, more is better; what is absent was not measured."""

    model_config = ConfigDict(extra="ignore")

    work: str = Field(max_length=200)
    unit: str = "GB/s"
    ours: MeasuredSpread | None = None
    rival: MeasuredSpread | None = None
    ratio: MeasuredSpread | None = None
    """Of ours over the rival's, round by round."""
    extra: dict[str, FiniteFloat] = Field(default_factory=dict, max_length=20)
    failed: str = ""
    """Why there is no figure."""

    def throughput(self, values: tuple[float, float, float], unit: str) -> tuple[float, float, float]:
        """Return ``values`` of this row in another unit."""
        factor = BYTES_A_SECOND[self.unit] / BYTES_A_SECOND[unit]
        return values[0] * factor, values[1] * factor, values[2] * factor


class Output(BaseModel):
    """What one bench kept."""

    model_config = ConfigDict(extra="ignore")

    kernel: str = Field(default="", max_length=100)
    """The FEC kernel that ran; "" where none did."""
    rows: list[Figures] = Field(max_length=1000)

    def find(self, name: str) -> Figures | None:
        """Return a row by its name."""
        return next((row for row in self.rows if row.work == name), None)


def read(file: Path) -> Output:
    """Return what a bench kept in ``file``; raise :class:`BenchError` where that is no such file."""
    try:
        output = Output.model_validate_json(bounded(file, MAX_BYTES))
    except TooLongError as error:
        raise BenchError(f"kept more than {MAX_BYTES >> 20} MiB of figures") from error
    except FileNotFoundError as error:
        raise BenchError("kept no figures: it has no --json, or measured nothing") from error
    except ValidationError as error:
        raise BenchError(printable(f"kept figures that are none: {first_fault(error)}")) from error
    for row in output.rows:
        if row.unit not in BYTES_A_SECOND:
            raise BenchError(printable(f"kept figures that are none: {row.work} is in {row.unit}"))
    return output
