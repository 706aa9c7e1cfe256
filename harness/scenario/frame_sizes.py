"""How large the access units of a synthetic source are."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from harness.scenario.link import MisfitError, Model
from punktfunk.units import DataSize

MAX_FRAME_BYTES = DataSize(64 * 1024 * 1024)
"""Largest access unit of the wire (punktfunk/1 section 4.6)."""


class FrameBytes(Model):
    """Sizes of synthetic access units: one size, a list that repeats, or a normal distribution."""

    size: DataSize | None = None
    sizes: Annotated[list[DataSize], Field(min_length=1, max_length=100_000)] | None = None
    mean: DataSize | None = None
    sd: DataSize = DataSize(0)
    min: DataSize = DataSize(1)
    max: DataSize = DataSize(8 * 1024 * 1024)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        if isinstance(value, str | int | float):
            return {"size": value}
        if isinstance(value, list):
            return {"sizes": value}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(v is not None for v in (self.size, self.sizes, self.mean)) != 1:
            raise ValueError("give exactly one of a size, a list of sizes, or a mean")
        largest = max(self.sizes or [self.size or self.max])
        if largest > MAX_FRAME_BYTES:
            raise ValueError(f"frames of {largest} are over the wire's limit of {MAX_FRAME_BYTES}")
        if self.min > self.max:
            raise MisfitError("min", f"min {self.min} is above max {self.max}")
        return self

    def mean_bytes(self) -> float:
        """Return the mean size in bytes."""
        if self.sizes:
            return sum(size.bytes for size in self.sizes) / len(self.sizes)
        return float((self.size or self.mean or DataSize(0)).bytes)

    def core(self) -> dict[str, Any]:
        """Return the ``frame_bytes`` object of a simulation."""
        if self.size is not None:
            return {"kind": "constant", "bytes": self.size.bytes}
        if self.sizes is not None:
            return {"kind": "list", "bytes": [size.bytes for size in self.sizes]}
        assert self.mean is not None
        return {
            "kind": "normal",
            "mean": self.mean.bytes,
            "sd": self.sd.bytes,
            "min": self.min.bytes,
            "max": self.max.bytes,
        }
