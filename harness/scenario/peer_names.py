"""How a scenario names what stands at an end of its stream: ``ours``, a name beside it, or the path of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

OURS: Final = "ours"
"""The project's own host and client, as every scenario without ``host:`` or ``client:`` has them."""
FOLDER: Final = "peers"
"""Folder beside a scenario in which a bare name is looked up."""
KEYS: Final = frozenset({"host", "client"})
"""Keys of a scenario that name a peer."""
_ENDINGS: Final = (".yaml", ".yml")


def place_of(folder: Path, value: str) -> str:
    """Return where the description is that a scenario in ``folder`` names; ``ours`` is in no file."""
    if value == OURS:
        return value
    if value.endswith(_ENDINGS):
        return str(folder / value)
    return str(folder / FOLDER / f"{value}{_ENDINGS[0]}")


def known_names(folder: Path) -> list[str]:
    """Return the names of the descriptions beside the scenarios of ``folder``, in order."""
    return sorted(path.stem for path in (folder / FOLDER).glob(f"*{_ENDINGS[0]}"))
