"""A comparison of two builds on disk: what was compared, what moved, and the pairs behind it.

::

    reports/<run id>/ab.json     what was compared and what was found (:class:`Comparison`)
    reports/<run id>/a, b        a run each, of the build before and of the build now; cases are named after their pair
    reports/<run id>/ab.html     the page (``harness.report.builds``)
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from harness.analysis import runs
from harness.analysis.definitions import FIGURES
from harness.analysis.paired import Finding
from harness.analysis.results import CaseResult, Quietness
from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.regular_file import read_regular

SCHEMA_VERSION: Final = 1
FILE: Final = "ab.json"
PAGE: Final = "ab.html"
SIDES: Final = {"a": "base", "b": "head"}
PAIR: Final = ",pair="
"""Between the name of a case and the number of its pair."""
_MAX_BYTES: Final = 64 << 20
"""Of the file: 10,000 pairs of seeds and the figures of 1000 cases have a quarter of that."""
_ABSENT: Final[dict[str, Any]] = {
    "change": math.nan,
    "base": math.nan,
    "head": math.nan,
    "p_value": math.nan,
    "detectable": math.inf,
}
"""What null stands for in the fields of a finding."""


class Comparison(BaseModel):
    """What ``ab.json`` says."""

    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1] = SCHEMA_VERSION
    command: str = ""
    scenario: str
    base: str
    """Key of the build before: the commit, or a digest of what it was made of."""
    head: str
    names: dict[str, str] = Field(default_factory=dict)
    """What names each build on a command line, for as long as it can; in older files nothing."""
    titles: dict[str, str] = Field(default_factory=dict)
    cores: dict[str, str] = Field(default_factory=dict)
    """Digest of each compiled core; empty for a wheel, and in older files."""
    cases: list[str]
    seed: int
    backend: str | None
    pairs: int
    seeds: list[int] = Field(default_factory=list)
    """The scenario's seed in each pair; in older files nothing."""
    took_s: float = Field(ge=0, allow_inf_nan=False)
    machine: list[Quietness] = Field(default_factory=list)
    """What was found of the machine each time that pairs were run."""
    notes: list[str] = Field(default_factory=list)
    exit_code: int
    findings: list[Finding]

    @field_validator("findings", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        return [_absent(each) for each in value] if isinstance(value, list) else value

    @field_validator("findings")
    @classmethod
    def _known(cls, value: list[Finding]) -> list[Finding]:
        if any(math.isinf(figure) for finding in value for figure in (finding.base, finding.head)):
            raise ValueError("a build has a figure without end")
        # A later version may have further figures, which this one cannot name.
        return [finding for finding in value if finding.metric in FIGURES]

    @field_serializer("findings")
    def _written(self, value: list[Finding]) -> list[dict[str, Any]]:
        return [_plain(finding) for finding in value]


def _plain(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON has it, where infinity and what was not measured are null."""

    def finite(value: Any) -> Any:
        if isinstance(value, tuple):
            return [finite(each) for each in value]
        return value if not isinstance(value, float) or abs(value) < math.inf else None

    return {name: finite(value) for name, value in dataclasses.asdict(finding).items()}


def _absent(found: object) -> object:
    if not isinstance(found, dict):
        return found
    known = {name: _ABSENT.get(name) if value is None else value for name, value in found.items()}
    if isinstance(bounds := found.get("interval"), list) and len(bounds) == 2:
        known["interval"] = tuple(
            end if bound is None else bound for bound, end in zip(bounds, (-math.inf, math.inf), strict=True)
        )
    return known


@dataclass(frozen=True, slots=True)
class Pairs:
    """A comparison with the results that it was made of."""

    about: Comparison
    pairs: dict[str, list[tuple[CaseResult, CaseResult]]]
    """By case, in the order of the pairs: base, head."""


def is_one(path: Path) -> bool:
    """Return whether a folder is that of a comparison of two builds."""
    return (path / FILE).is_file()


def about(folder: Path) -> Comparison:
    """Read what a comparison's folder says of it; raise ResultsError where that is nothing, or of a later version."""
    file = folder / FILE
    try:
        document = json.loads(read_regular(file, _MAX_BYTES))
        version = document.get("schema_version") if isinstance(document, dict) else None
        if type(version) is int and version > SCHEMA_VERSION:
            raise LaterVersionError(
                f"{file} has schema version {version}; this version of the harness reads {SCHEMA_VERSION}",
                "read it with the version that wrote it or a later one, or compare again",
            )
        return Comparison.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ResultsError(f"{file} is no comparison of two builds: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{file} is no comparison of two builds: {error}") from error


def load(folder: Path) -> Pairs:
    """Read a comparison with its pairs; raise ResultsError where it cannot be read.

    Pairs whose other half an interruption took are left out.
    """
    said = about(folder)
    sides = [{case.id: case for case in runs.load(folder / side)[0].cases} for side in SIDES]
    found: dict[str, list[tuple[CaseResult, CaseResult]]] = {name: [] for name in said.cases}
    for name, base in sides[0].items():
        case, _, _ = name.rpartition(PAIR)
        if case in found and name in sides[1]:
            found[case].append((base, sides[1][name]))
    for both in found.values():
        both.sort(key=lambda pair: pair[0].repeat)
    return Pairs(said, found)
