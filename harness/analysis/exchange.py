"""A run as one file, to be sent to somebody: a ZIP archive of its results and frame records.

Such a file comes from outside. Nothing in it names a place on this machine: members have fixed names, frame records
those of their case's number; the folder of the run and of each case are made of ids that are held to be plain names.
Sizes are bounded before anything is read, and what was unpacked is read as any result is.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from harness.analysis import exchange_table, records, runs
from harness.analysis.case_files import WHOLE
from harness.analysis.results import MAX_RESULT_BYTES, RunResult, run_from_json
from punktfunk.errors import LaterVersionError, ResultsError
from punktfunk.printable import is_printable, printable

SCHEMA_VERSION: Final = 2
"""2 where a run keeps a table, which travels as lines of JSON; what has none is written as 1."""
SUFFIX: Final = ".punktfunk.zip"
MAX_FILE_BYTES: Final = 2 << 30
MAX_UNPACKED_BYTES: Final = 4 << 30
MAX_FRAMES_BYTES: Final = 512 << 20
"""Of the frame records of a case."""
MAX_CASES: Final = 20_000
"""As many as a run has at most."""
MAX_DIRECTORY_BYTES: Final = 4 << 20
"""Of the archive's list of members, which is read before anything else is known."""
MAX_NAME_BYTES: Final = 200
"""Of the ids of a run and its cases: names of folders."""
RESERVED_RUNS: Final = frozenset(
    {"baselines", "console", "coverage", "desktops", "history", "interop", "service"}
)
"""Folders beside runs that are something else: the data set above all."""
RESERVED_CASES: Final = frozenset(
    {
        runs.RUN_FILE,
        *("plan.json", "report.html", "summary.md", "junit.xml", "figures.json", "cases", "cases.parquet"),
    }
)
"""What stands in a run's folder beside its cases."""

_ABOUT: Final = "about.json"
_FRAMES: Final = re.compile(r"frames/([0-9]{1,5})\.parquet")
_MAX_ABOUT_BYTES: Final = 4096
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What our export writes. Of the others Python unpacks each piece whole, however much a piece of a bomb makes."""
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_LOCATOR: Final = b"PK\x06\x07"
_LOCATOR_BYTES: Final = 20


# --- export -------------------------------------------------------------------------------------------------


def export(run: RunResult, folder: Path, file: Path) -> int:
    """Write a run's results and frame records as one file; return how many cases have records in it.

    Logs, captures and reports are left out. Raises :class:`ResultsError` where that cannot be done.
    """
    if len(run.cases) > MAX_CASES:
        raise ResultsError(f"run {run.run_id} has more than {MAX_CASES} cases", "archive it in a data set")
    about = {"what": "a run of punktfunk", "schema_version": 1 if run.table is None else SCHEMA_VERSION}
    beside = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(2)}.part")
    count = 0
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, allowZip64=False) as archive:
            archive.writestr(_ABOUT, json.dumps(about) + "\n")
            archive.writestr(runs.RUN_FILE, run.model_dump_json())
            if run.table is not None:
                with archive.open(exchange_table.MEMBER, "w") as member:
                    exchange_table.write(folder, member)
            for number, case in enumerate(run.cases):
                records_file = runs.frames_file(folder, case)
                if records_file is not None:
                    # Parquet is compressed already.
                    archive.write(records_file, f"frames/{number}.parquet", zipfile.ZIP_STORED)
                    count += 1
        beside.replace(file)
    except (OSError, zipfile.LargeZipFile) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ResultsError(
            f"{file} cannot be written: {why}", "name another file or free some space"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return count


# --- import -------------------------------------------------------------------------------------------------


def unpack(file: Path, out: Path) -> Path:
    """Make the folder of a run below ``out`` from a file of :func:`export`; return it.

    Raises :class:`ResultsError` for what is no such file or passes a limit, for one of a later version
    (:class:`~punktfunk.errors.LaterVersionError`), and where a run of that name is there already; nothing is left then.
    """
    made = out / f".import-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with _opened(file) as archive:
            members = _members(file, archive)
            _check_about(file, archive)
            run = run_from_json(_content(archive, members[runs.RUN_FILE], MAX_RESULT_BYTES), file)
            target = out / _folder_name(run, file)
            if target.exists():
                raise ResultsError(
                    f"there is a run {target} already", "move it away, or import into another folder"
                )
            made.mkdir(parents=True)
            _unpack_table(archive, members, run, made)
            _unpack_frames(archive, members, run, made, file)
            (made / runs.RUN_FILE).write_text(run.model_dump_json(indent=2) + "\n", encoding="utf-8")
            made.rename(target)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeError,
        exchange_table.WrongRowsError,
    ) as error:
        raise _wrong(file, str(error)) from error
    except OSError as error:
        raise ResultsError(
            f"{file} cannot be imported: {error.strerror or error}",
            "check the file, free space and permissions",
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _wrong(file: Path, why: str) -> ResultsError:
    return ResultsError(
        f"{file} is no exported run: {why}", "ask for it again, made by 'python -m harness export'"
    )


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose list of members is bounded: Python reads all of it at once."""
    if not file.is_file():
        raise _wrong(file, "it is no regular file")
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        if size > MAX_FILE_BYTES:
            raise _wrong(file, f"it has {size} bytes, more than {MAX_FILE_BYTES}")
        _check_directory(file, opened, size)
        with zipfile.ZipFile(opened) as archive:
            yield archive


def _check_directory(file: Path, opened: IO[bytes], size: int) -> None:
    """Refuse what our export does not write: a comment behind the archive, a list of members of 64 bits or too long.

    The last 22 bytes of an archive without comment say how long its list is (APPNOTE 4.3.16).
    """
    opened.seek(max(0, size - _END_BYTES - _LOCATOR_BYTES))
    tail = opened.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END) or end[-2:] != b"\0\0":
        raise _wrong(file, "it does not end as one")
    if tail[:-_END_BYTES].startswith(_LOCATOR):
        raise _wrong(file, "it is of the kind for archives of more than 4 GiB")
    length = int.from_bytes(end[12:16], "little")
    if length > MAX_DIRECTORY_BYTES:
        raise _wrong(file, f"its list of members has {length} bytes, more than {MAX_DIRECTORY_BYTES}")


def _members(file: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if name not in {_ABOUT, runs.RUN_FILE, exchange_table.MEMBER} and not _FRAMES.fullmatch(name):
            raise _wrong(file, f"'{printable(name, 100)}' does not belong into it")
        if name in found:
            raise _wrong(file, f"{name} is in it twice")
        if member.compress_type not in _METHODS:
            raise _wrong(file, f"{name} is compressed by another method than ours")
        if name.startswith("frames/") and member.file_size > MAX_FRAMES_BYTES:
            raise _wrong(file, f"{name} has {member.file_size} bytes, more than {MAX_FRAMES_BYTES}")
        found[name] = member
    total = sum(member.file_size for member in found.values())
    if total > MAX_UNPACKED_BYTES:
        raise _wrong(file, f"it unpacks to {total} bytes, more than {MAX_UNPACKED_BYTES}")
    for name in (_ABOUT, runs.RUN_FILE):
        if name not in found:
            raise _wrong(file, f"{name} is missing")
    return found


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    if member.file_size > limit:
        raise zipfile.BadZipFile(f"{member.filename} has {member.file_size} bytes, more than {limit}")
    with archive.open(member) as packed:
        # All of it at once would be unpacked before it is cut to the length that the member says it has.
        return packed.read(member.file_size)


def _check_about(file: Path, archive: zipfile.ZipFile) -> None:
    try:
        about = json.loads(_content(archive, archive.getinfo(_ABOUT), _MAX_ABOUT_BYTES))
        version = about["schema_version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _wrong(file, f"{_ABOUT} says nothing of its version") from error
    if type(version) is not int or version < 1:
        raise _wrong(file, f"{_ABOUT} says nothing of its version")
    if version > SCHEMA_VERSION:
        raise LaterVersionError(
            f"{file} has schema version {printable(str(version), 20)}; this version of the harness reads 1 to "
            f"{SCHEMA_VERSION}",
            "import it with the version that wrote it or a later one",
        )


def _folder_name(run: RunResult, file: Path) -> str:
    """Return the run's id, once it and those of its cases are plain names, each once."""
    if run.table is not None and run.table.file != WHOLE:
        raise _wrong(file, "its cases are said to be in another file than it has")
    ids = [case.id for case in run.cases]
    if len(ids) > MAX_CASES:
        raise _wrong(file, f"it has {len(ids)} cases, more than {MAX_CASES}")
    if len(set(ids)) < len(ids):
        raise _wrong(file, "a case is in it twice")
    for name in (run.run_id, *ids):
        plain = name and is_printable(name) and not name.startswith(".") and not set(name) & {"/", "\\"}
        if not plain or len(name.encode()) > MAX_NAME_BYTES or name == runs.RUN_FILE:
            raise _wrong(file, f"'{printable(name, 100)}' is no name of a folder")
    taken = RESERVED_RUNS.intersection([run.run_id]) | RESERVED_CASES.intersection(ids)
    if taken:
        raise _wrong(file, f"'{min(taken)}' is the name of something else there")
    return run.run_id


def _unpack_table(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], run: RunResult, made: Path
) -> None:
    """Make the file of rows of a run that keeps a table; raise ValueError where they are none of ours."""
    member = members.get(exchange_table.MEMBER)
    if (member is None) != (run.table is None):
        raise zipfile.BadZipFile("its cases are in a table, and it would have to hold that")
    if member is None or run.table is None:
        return
    if member.file_size > exchange_table.MAX_BYTES:
        raise zipfile.BadZipFile(
            f"its rows have {member.file_size} bytes, more than {exchange_table.MAX_BYTES}"
        )
    with archive.open(member) as packed:
        exchange_table.read(packed, run.table, made / WHOLE)


def _unpack_frames(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], run: RunResult, made: Path, file: Path
) -> None:
    """Unpack the frame records of each case into its folder, and read them once."""
    for case in run.cases:
        case.folder = case.id
    for name, member in members.items():
        number = _FRAMES.fullmatch(name)
        if number is None:
            continue
        if int(number[1]) >= len(run.cases):
            raise _wrong(file, f"{name} belongs to no case")
        place = made / run.cases[int(number[1])].id
        place.mkdir()
        with archive.open(member) as packed, (place / runs.FRAMES_FILE).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        records.read(place / runs.FRAMES_FILE, ("index",))
