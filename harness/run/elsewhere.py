"""Cases that run in another place than this process: what is sent there, what comes back, where it is kept.

Nothing is assumed to be shared with that place but the code: a case's folder travels with its result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from harness.analysis.results import CaseResult
from harness.run.case import run_case
from harness.run.context import RunContext
from harness.run.groups import Feed, Group
from harness.run.store import RunFolder
from harness.run.whole_files import write_bytes
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from punktfunk.errors import ResultsError
from punktfunk.printable import is_printable, printable

MOST_BYTES: Final = 64 << 20
"""Of the files of one case that are carried; what is beyond stays away, and the result says so."""
MOST_FILES: Final = 200


@dataclass(frozen=True, slots=True)
class Carried:
    """A result with the files of its folder, by their path in it."""

    result: CaseResult
    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()


class Elsewhere(Protocol):
    """A place that runs cases."""

    @property
    def slots(self) -> int:
        """Simulations that it runs at a time."""

    @property
    def carries_links(self) -> bool:
        """Whether live cases run there."""

    def rows(self, feed: Feed[Group], context: RunContext) -> Iterator[tuple[Group, bytes | None]]:
        """Simulate groups and yield each with its rows; None where everybody who had it was lost."""

    def cases(self, cases: Sequence[Case], context: RunContext) -> Iterator[tuple[Case, Carried | str]]:
        """Simulate cases and yield each with what came of it; text says why nothing did."""

    def links(self, cases: Sequence[Case], context: RunContext) -> Iterator[tuple[Case, Carried | str]]:
        """Run cases over real links there, one at a time in each place that offers one."""


def carried(cases: Sequence[Case], context: RunContext, *, simulated: bool) -> list[Carried]:
    """Run cases here, in folders that are gone afterwards, and return everything that they left; called in workers."""
    if simulated:
        context = replace(context, backend=Backend.SIM)
    found = []
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="punktfunk-lab-") as scratch:
            folder = Path(scratch) / case.id
            folder.mkdir()
            result = run_case(case, folder, context)
            found.append(_packed(result, folder))
    return found


def unpack(found: Carried, case: Case, folder: RunFolder) -> CaseResult:
    """Write the files that came with a result into the case's folder and return the result.

    Raises ResultsError for a result of another case, and for a name that would leave the folder.
    """
    place = folder.case_folder(case)
    if (found.result.id, found.result.seed) != (case.id, case.seed):
        raise ResultsError(f"a result of '{printable(found.result.id, 80)}' came back for '{case.id}'")
    for name, content in found.files.items():
        parts = Path(name).parts
        if (
            not parts
            or Path(name).is_absolute()
            or ".." in parts
            or parts == ("spec.json",)
            or not is_printable(name)
        ):
            raise ResultsError(f"a file '{printable(name, 80)}' came back that is none of a case's folder")
        try:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(place / name, content)
        except (OSError, ValueError) as error:
            # Too long a name, a folder in the place of a file, a character that this system's names cannot have.
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ResultsError(
                f"a file '{printable(name, 80)}' came back that cannot be kept: {why}"
            ) from error
    if found.left_out:
        kept = ", ".join(printable(name, 60) for name in found.left_out[:3])
        found.result.link["left_behind"] = f"{len(found.left_out)} files over {MOST_BYTES >> 20} MiB: {kept}"
    return found.result


def _packed(result: CaseResult, folder: Path) -> Carried:
    files: dict[str, bytes] = {}
    left: list[str] = []
    room = MOST_BYTES
    # Small files first: logs and records are wanted more than a capture.
    for path in sorted(
        (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()), key=lambda p: p.stat().st_size
    ):
        name = str(path.relative_to(folder))
        size = path.stat().st_size
        if size > room or len(files) >= MOST_FILES:
            left.append(name)
            continue
        files[name] = path.read_bytes()
        room -= size
    return Carried(result, files, tuple(left))
