"""Runs on disk: find one by its name, read it whatever ended it, find the frame records of its cases.

What a run writes where stands in ``harness/run/store.py``; a folder may as well come from somebody else.
"""

from __future__ import annotations

from pathlib import Path

from harness.analysis.results import (
    MAX_RESULT_BYTES,
    CaseResult,
    RunResult,
    Status,
    case_from_json,
    run_from_json,
)
from punktfunk.errors import ResultsError
from punktfunk.regular_file import read_regular

RUN_FILE = "run.json"
CASE_FILE = "case.json"
FRAMES_FILE = "frames.parquet"


def find(name: str | Path, out: Path) -> Path:
    """Return the folder or file that ``name`` is as a path, else below ``out``; raise :class:`ResultsError`."""
    for path in (Path(name), out / name):
        try:
            if path.exists():
                return path
        except (OSError, ValueError):  # no name of a file: too long, or with characters that none has
            break
    known = sorted(p.parent.name for p in out.glob(f"*/{RUN_FILE}"))[-3:]
    hint = f"the latest are {', '.join(known)}" if known else f"there are no runs in {out}"
    raise ResultsError(f"there is no run '{name}'", hint)


def load(path: Path) -> tuple[RunResult, Path]:
    """Read a run from its folder or its ``run.json``; return it with its folder.

    A run that never ended has no ``run.json``: it is made of the cases that it left, and says so.
    Raises :class:`ResultsError` when there is none or it cannot be read.
    """
    file = path / RUN_FILE if path.is_dir() else path
    try:
        return run_from_json(read_regular(file, MAX_RESULT_BYTES), file), file.parent
    except FileNotFoundError as error:
        files = sorted(path.glob(f"*/{CASE_FILE}"))
        if not files:
            raise _no_run(path, error) from error
    except OSError as error:
        raise _no_run(path, error) from error
    try:
        cases = [case_from_json(read_regular(case, MAX_RESULT_BYTES), case) for case in files]
    except OSError as error:
        raise _no_run(path, error) from error
    return _unended(path, cases), path


def _no_run(path: Path, error: OSError) -> ResultsError:
    return ResultsError(
        f"there is no run at {path}: {error.strerror or error}", "give the folder of a run, or its run.json"
    )


def _unended(folder: Path, cases: list[CaseResult]) -> RunResult:
    return RunResult(
        run_id=folder.name,
        scenario="+".join(dict.fromkeys(case.scenario for case in cases)),
        started="",
        cases=cases,
        verdict=Status.INTERRUPTED,
        notes=["The run never ended; this is what it left."],
    )


def frames_file(folder: Path, case: CaseResult) -> Path | None:
    """Return the frame records of a case; None where the run kept none.

    A result file names the folder of a case: what leads out of the run's own is no folder of it.
    """
    home = folder.resolve()
    for name in (case.folder, case.id):
        try:
            file = (home / name / FRAMES_FILE).resolve()
            if name and file.is_relative_to(home) and file.is_file():
                return file
        except (OSError, ValueError):  # no name of a file
            continue
    return None


def with_cases(run: RunResult, hint: str) -> RunResult:
    """Return a run that has its cases one by one; raise ResultsError with ``hint`` for one that has a table of them."""
    if run.table is not None:
        raise ResultsError(
            f"run {run.run_id} keeps its {run.table.asked} cases in a table, and this looks at each case",
            hint,
        )
    return run
