"""The user's own data folder, where desktops look for the entries of programs (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def data_home() -> Path:
    """Return ``$XDG_DATA_HOME``, or ``~/.local/share`` where that is no absolute path."""
    named = os.environ.get("XDG_DATA_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local/share"


def applications() -> Path:
    """Return the folder of the user's own entries of programs."""
    return data_home() / "applications"


def write_whole(path: Path, text: str) -> None:
    """Write a file, by another name first: a desktop that watches its folder never reads half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
