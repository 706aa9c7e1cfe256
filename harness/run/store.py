"""The folder of a run: written case by case, so that whatever ends the run keeps what was finished.

::

    reports/<run id>/
        plan.json                 what was asked for; ``--resume`` reads it
        run.json                  the RunResult, once the run has ended (also when it was interrupted)
        <case id>/case.json       the CaseResult, written the moment the case ends
        <case id>/spec.json       the case's session, as it was expanded
        <case id>/...             logs, frame records, captures

Every file appears whole or not at all: it is written beside its place and renamed into it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from harness.analysis.results import MAX_RESULT_BYTES, CaseResult, RunResult, Status, case_from_json
from harness.run.whole_files import cannot, write_atomically
from harness.scenario.expand import Case
from harness.scenario.link import Backend
from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.regular_file import read_regular

FINAL = frozenset({Status.PASSED, Status.FAILED, Status.UNSUPPORTED})
"""How a case ended when ``--resume`` need not run it again."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run was asked for: enough to go on with it."""

    files: tuple[str, ...]
    seed: int | None
    backend: Backend | None
    expression: str
    cases: tuple[str, ...] = ()
    """Exact ids that were asked for; empty means all that the expression selects."""
    axes: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Values of axes that were given instead of a file's own, by file and axis."""
    post_hoc: bool = False
    """Whether the cases were chosen for what they had shown."""
    schema_version: Literal[1] = 1


_PLAN = TypeAdapter(RunPlan)


def _lock(path: Path) -> int:
    """Hold the folder for this process; the lock goes with the process, however it ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise cannot("open the run's folder", path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ResultsError(f"another process is running into {path}", "wait until it has ended") from error
    return descriptor


class RunFolder:
    """A run's folder on disk. Every method that writes raises ResultsError when it cannot."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._release = weakref.finalize(self, os.close, _lock(path))

    @classmethod
    def create(cls, out: Path, names: Sequence[str], plan: RunPlan, *, now: datetime | None = None) -> Self:
        """Make a new folder ``<time>-<scenario>-<4 hex>`` below ``out`` and write the plan into it."""
        folder = cls(new_folder(out, names, now=now))
        write_atomically(folder.path / "plan.json", json.dumps(asdict(plan), indent=2) + "\n")
        return folder

    @classmethod
    def reopen(cls, out: Path, run: str) -> tuple[Self, RunPlan]:
        """Find an earlier run by its folder or its name below ``out``; raise ResultsError when there is none."""
        path = next((p for p in (Path(run), out / run) if (p / "plan.json").is_file()), None)
        if path is None:
            known = sorted(p.parent.name for p in out.glob("*/plan.json"))[-3:]
            hint = f"the latest are {', '.join(known)}" if known else f"there are no runs in {out}"
            raise ResultsError(f"there is no run '{run}' to resume", hint)
        data = read_json(path / "plan.json")
        try:
            plan = _PLAN.validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or "all of it"
            raise ResultsError(
                f"{path / 'plan.json'} is not the plan of a run: {where}: {first['msg']}",
                "start a new run with the scenario files",
            ) from error
        return cls(path), plan

    def close(self) -> None:
        """Let another process run into the folder."""
        self._release()

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.path.name

    def case_folder(self, case: Case) -> Path:
        """Make and return a case's folder, with its expanded session in it."""
        folder = self.path / case.id
        make_folder(folder)
        write_atomically(folder / "spec.json", spec_text(case))
        return folder

    def write_case(self, result: CaseResult) -> None:
        """Write a case's result the moment it has ended."""
        write_atomically(self.path / result.id / "case.json", result.model_dump_json(indent=2) + "\n")

    def write_run(self, run: RunResult) -> None:
        """Write the run as a whole."""
        write_atomically(self.path / "run.json", run.model_dump_json(indent=2) + "\n")

    def finished(self, case: Case) -> CaseResult | None:
        """Return an earlier result of exactly this case (same session, same seed), if it need not run again.

        Raises LaterVersionError for one that must not be written over.
        """
        folder = self.path / case.id
        try:
            if (folder / "spec.json").read_text(encoding="utf-8") != spec_text(case):
                return None
            result = case_from_json((folder / "case.json").read_bytes(), folder / "case.json")
        except LaterVersionError:
            raise
        except (OSError, ResultsError):
            return None
        # What was refused for a busy machine is tried again: the machine may be quiet now.
        busy = result.status is Status.UNSUPPORTED and result.machine is not None
        return result if result.status in FINAL and result.seed == case.seed and not busy else None


def new_folder(out: Path, names: Sequence[str], *, now: datetime | None = None) -> Path:
    """Make a new folder ``<time>-<names>-<4 hex>`` below ``out``; raise ResultsError when it cannot."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    folder = out / f"{stamp}-{'+'.join(names)[:60]}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise cannot("make the report folder", folder, error) from error
    return folder


def make_folder(folder: Path) -> None:
    """Make the folder of a case where there is none; raise ResultsError when it cannot."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot("make the case's folder", folder, error) from error


def spec_text(case: Case) -> str:
    """Return a case's session as JSON, with its seed: equal text means an equal case."""
    spec = case.spec.model_dump(mode="json", exclude_unset=True)
    return json.dumps({"id": case.id, "seed": case.seed, "spec": spec}, indent=2, sort_keys=True) + "\n"


def spec_digest(case: Case) -> str:
    """Return a short name of what a case does, the same on every machine."""
    return hashlib.sha256(spec_text(case).encode()).hexdigest()[:16]


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raise ResultsError when it is not one."""
    try:
        return json.loads(read_regular(path, MAX_RESULT_BYTES))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error
