"""Lines that tests reach, by room: what coverage.py and llvm-cov say of files, added up and put into one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

_DEPTH: Final = {"Python": 2, "Rust": 4}
"""Folders below the repository that name a room: ``punktfunk/host``, ``punktfunk/core/src/session``."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that tests reach, of those that can be reached."""

    reached: int = 0
    of: int = 0

    def __add__(self, other: Lines) -> Lines:
        return Lines(self.reached + other.reached, self.of + other.of)

    def __str__(self) -> str:
        # Never rounded up: 100 % is said of what is whole.
        share = f"{self.reached * 1000 // self.of / 10:.1f} %" if self.of else "-"
        return f"{self.reached:>6} of {self.of:>6}  {share:>7}"


Rooms = Mapping[tuple[str, str], Lines]
"""Lines by language and room."""


def of_python(report: Mapping[str, Any]) -> Iterator[tuple[str, Path, Lines]]:
    """Yield language, file and lines from a report of ``coverage json``."""
    for name, file in report["files"].items():
        summary = file["summary"]
        yield "Python", Path(name), Lines(summary["covered_lines"], summary["num_statements"])


def of_rust(report: Mapping[str, Any]) -> Iterator[tuple[str, Path, Lines]]:
    """Yield language, file and lines from a report of ``llvm-cov export``."""
    for data in report["data"]:
        for file in data["files"]:
            lines = file["summary"]["lines"]
            yield "Rust", Path(file["filename"]), Lines(lines["covered"], lines["count"])


def by_room(files: Iterable[tuple[str, Path, Lines]], root: Path) -> Rooms:
    """Add files up to rooms; what is outside of ``root`` (the standard library, other crates) is left out."""
    rooms: dict[tuple[str, str], Lines] = {}
    for language, file, lines in files:
        if not (root / file).is_relative_to(root):
            continue
        folder = (root / file).relative_to(root).parent
        room = language, str(PurePath(*folder.parts[: _DEPTH[language]]))
        rooms[room] = rooms.get(room, Lines()) + lines
    return rooms


def table(rooms: Rooms) -> str:
    """Return the lines of each room, then of each language and of all."""
    languages: dict[str, Lines] = {}
    for (language, _), lines in sorted(rooms.items()):
        languages[language] = languages.get(language, Lines()) + lines
    rows = [
        *((language, room, lines) for (language, room), lines in sorted(rooms.items())),
        *((language, "all", lines) for language, lines in languages.items()),
        ("both", "all", sum(rooms.values(), Lines())),
    ]
    width = max(len(room) for _, room, _ in rows)
    return "\n".join(f"{language:<6}  {room:<{width}}  {lines}" for language, room, lines in rows)
