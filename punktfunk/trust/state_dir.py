"""Where a program keeps its state unless it is told otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def default_state_dir() -> Path:
    """Return where identities are kept: ``$XDG_CONFIG_HOME/punktfunk`` or ``~/.config/punktfunk``."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "punktfunk"
