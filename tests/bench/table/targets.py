"""The table's rows and what is wanted of each, from ``punktfunk/core/benches/targets.json``.

The benches in Rust read the same file, so that a row's target stands in one place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

ROOT: Final = Path(__file__).parents[3]
CORE: Final = ROOT / "punktfunk" / "core"
FILE: Final = CORE / "benches" / "targets.json"

Judged = Literal["ratio", "reference", "parts", "figure"]
"""``ratio``: ours over its rival's, at least; ``reference``: the same beside the Rust reference; ``parts``: the time
of the whole over that of its parts alone, at most; ``figure``: our own figure, at least."""


class Target(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True)

    row: str
    """What its bench calls it."""
    title: str
    """Of the rows that it stands among."""
    bench: str
    """The program that measures it."""
    rival: str
    judged: Judged
    unit: Literal["GB/s", "MiB/s", "Gbit/s"]
    """In which its figures are shown."""
    target: float

    @property
    def key(self) -> tuple[str, str]:
        """Return what tells this row from all others: a figure can be judged in two ways."""
        return self.judged, self.row

    @property
    def short(self) -> str:
        """Return its name without what the title says already."""
        return self.row.split("/", 2)[-1] if self.row.count("/") > 1 else self.row.rpartition("/")[2]

    def reaches(self, value: float) -> bool:
        """Return whether a figure is as wanted."""
        return value <= self.target if self.judged == "parts" else value >= self.target


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    bench: str
    rival: str
    judged: Judged
    unit: Literal["GB/s", "MiB/s", "Gbit/s"]
    rows: dict[str, float] = Field(min_length=1)


class _Groups(BaseModel):
    model_config = ConfigDict(extra="forbid")

    groups: list[_Group]


def targets() -> list[Target]:
    """Return all rows in the order of the table."""
    listed = _Groups.model_validate_json(FILE.read_bytes())
    return [
        Target(row=row, target=target, **group.model_dump(exclude={"rows"}))
        for group in listed.groups
        for row, target in group.rows.items()
    ]
