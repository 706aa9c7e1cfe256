"""The rooms that are mutated, as ``rooms.toml`` names them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("punktfunk/core")
FILE = Path(__file__).with_name("rooms.toml")


@dataclass(frozen=True, slots=True)
class Room:
    """Sources that are mutated together, and the tests that should notice."""

    name: str
    language: Literal["python", "rust"]
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[Path]:
        """Return the sources relative to the repository, sorted; Rust's own test modules are left out."""
        base = CORE if self.language == "rust" else Path()
        found = {p.relative_to(ROOT) for glob in self.sources for p in (ROOT / base).glob(glob)}
        return sorted(p for p in found if "tests" not in p.parts and p.name != "tests.rs")


def load(names: Sequence[str] = ()) -> list[Room]:
    """Return the rooms of that name, or all; raise ``SystemExit`` where a name is none."""
    rooms = [
        Room(name, table["language"], tuple(table["sources"]), tuple(table["tests"]))
        for name, table in tomllib.loads(FILE.read_text()).items()
    ]
    unknown = sorted(set(names) - {room.name for room in rooms})
    if unknown:
        raise SystemExit(f"no room {', '.join(unknown)}; there are {', '.join(room.name for room in rooms)}")
    return [room for room in rooms if not names or room.name in names]
