"""A whole table: what ``--json`` keeps and ``--compare`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from harness.analysis.results import Quietness
from harness.run.whole_files import write_atomically
from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.printable import printable
from tests.bench.table.built import Built
from tests.bench.table.documents import TooLongError, bounded
from tests.bench.table.figures import MAX_BYTES
from tests.bench.table.verdict import Row

SCHEMA_VERSION: Final = 1
FEATURES: Final = (
    *(
        "avx2",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512vbmi",
        "gfni",
        "vaes",
        "vpclmulqdq",
        "pclmulqdq",
        "aes",
    ),
    *("asimd", "pmull", "sve"),
)
"""What kernels of FEC and AES choose by, as ``/proc/cpuinfo`` calls them."""


class Span(BaseModel):
    """One bench as it ran."""

    kernel: str = ""
    machine: Quietness


class Table(BaseModel):
    """All rows with their verdicts, and what they were measured with."""

    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1] = SCHEMA_VERSION
    made: AwareDatetime
    environment: dict[str, Any]
    """As of every run of the harness: processor, cores, kernels, commit."""
    features: list[str]
    built: Built | None = None
    """From what the programs were made, where that was elsewhere: then the environment's commit is not theirs."""
    reference: str = ""
    """The reference's folder; "" where none was named."""
    spans: dict[str, Span]
    rows: list[Row] = Field(max_length=1000)

    def verdicts(self) -> dict[str, int]:
        """Return how many rows ended how."""
        found: dict[str, int] = {}
        for row in self.rows:
            found[row.verdict.value] = found.get(row.verdict.value, 0) + 1
        return found


def features(cpuinfo: str) -> list[str]:
    """Return those of :data:`FEATURES` that the first processor in the text of ``/proc/cpuinfo`` has."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            has = set(value.split())
            return [feature for feature in FEATURES if feature in has]
    return []


def save(table: Table, file: Path) -> None:
    """Write a table whole or not at all; raise :class:`ResultsError` where that cannot be."""
    write_atomically(file, table.model_dump_json(indent=1) + "\n")


def load(file: Path) -> Table:
    """Return the table that ``file`` keeps.

    Raises :class:`ResultsError` where it keeps none, and its :class:`LaterVersionError` for a later version.
    """
    try:
        return Table.model_validate_json(bounded(file, MAX_BYTES))
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror}") from error
    except TooLongError as error:
        raise ResultsError(
            f"{file} is no table of a bench: it is longer than {MAX_BYTES >> 20} MiB"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("schema_version",) and first["type"] == "literal_error":
            version = printable(str(first["input"]), 40)
            raise LaterVersionError(
                f"{file} has schema_version {version} and this version reads {SCHEMA_VERSION}: compare with a later one"
            ) from error
        where = printable(".".join(str(step) for step in first["loc"]))
        raise ResultsError(
            f"{file} is no table of a bench: {where + ': ' if where else ''}{first['msg']}"
        ) from error
