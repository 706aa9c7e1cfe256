"""Where a build comes from: a revision of a repository, a folder with sources, or a wheel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from harness.builds.repository import Repository
from punktfunk.errors import UsageError
from punktfunk.regular_file import read_regular

MAX_WHEEL_BYTES: Final = 256 << 20
"""Of a wheel, and a wheel's files together at most four times that; ours has 4 MB."""
MAX_FOLDER_BYTES: Final = 256 << 20
"""Of a folder's sources; ours have 6 MB."""
MAX_FOLDER_FILES: Final = 20_000

_ROOTS: Final = ("punktfunk/", "harness/")
_BESIDE: Final = frozenset(
    {
        *("pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "LICENSE-THIRD-PARTY"),
        *(".ci/constraints.txt", "docs/reference/punktfunk-core.cdx.json"),
    }
)
_NO_SOURCES: Final = frozenset({"__pycache__", "target"})


class Kind(StrEnum):
    """What was named."""

    REVISION = "revision"
    FOLDER = "folder"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True)
class Origin:
    """A build before it is made."""

    kind: Kind
    key: str
    """What it is kept by: the commit, or a digest of the sources or the wheel. Equal keys: equal builds."""
    title: str
    """What a person knows it by."""
    path: Path
    """The repository, the folder, the wheel."""


def resolve(name: str, repository: Repository) -> Origin:
    """Return what a name means: a wheel, a folder that holds this project's sources, or else a revision.

    Raises UsageError where it is none of them.
    """
    path = Path(name)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # no name of a file: too long, or with characters that no file has
        is_file = is_folder = False
    if is_file and path.suffix == ".whl":
        try:
            data = read_regular(path, MAX_WHEEL_BYTES)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
        return Origin(Kind.WHEEL, hashlib.sha256(data).hexdigest(), path.name, path.resolve())
    if is_folder and (path / "pyproject.toml").is_file():
        key = digest_of(path)
        return Origin(Kind.FOLDER, key, f"{path.resolve().name} (sources {key[:12]})", path.resolve())
    return revision(name, repository)


def revision(name: str, repository: Repository) -> Origin:
    """Return a revision's origin; raise UsageError where the repository has none of that name."""
    commit = repository.commit(name)
    if commit is None:
        raise UsageError(
            f"'{name}' is no revision of {repository.path.resolve()}, no folder with a pyproject.toml and no wheel",
            "give a commit, a branch or a tag, '.' for the sources as they stand, or the path of a .whl file",
        )
    return Origin(Kind.REVISION, commit.sha, commit.short, repository.path.resolve())


def is_source(path: str) -> bool:
    """Return whether a file, by its path in the tree, goes into a build."""
    parts = Path(path).parts
    return path in _BESIDE or (
        path.startswith(_ROOTS) and not _NO_SOURCES.intersection(parts) and not path.endswith((".so", ".pyc"))
    )


def sources(folder: Path) -> Iterator[Path]:
    """Return the files of a folder that go into a build, in order, relative to it; raise UsageError for too many."""
    found: list[str] = [name for name in _BESIDE if (folder / name).is_file()]
    size = 0
    for root in _ROOTS:
        for place, names, files in os.walk(folder / root):
            names[:] = [name for name in names if name not in _NO_SOURCES]
            for name in files:
                path = (Path(place) / name).relative_to(folder)
                if is_source(str(path)):
                    found.append(str(path))
                    size += (folder / path).lstat().st_size
            if size > MAX_FOLDER_BYTES or len(found) > MAX_FOLDER_FILES:
                raise UsageError(
                    f"{folder} holds more sources than this project has",
                    f"at most {MAX_FOLDER_BYTES >> 20} MiB in {MAX_FOLDER_FILES} files are taken",
                )
    return map(Path, sorted(found))


def digest_of(folder: Path) -> str:
    """Return the digest of a folder's sources, names included."""
    digest = hashlib.sha256()
    for path in sources(folder):
        content = (folder / path).read_bytes()
        digest.update(f"{path} {len(content)} ".encode() + content)
    return digest.hexdigest()
