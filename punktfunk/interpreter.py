"""How a program of ours starts another one: by the same Python, which looks for modules where this one does."""

from __future__ import annotations

import sys


def module_command(module: str) -> list[str]:
    """Return the command that runs ``module``; with -P where this process was started so.

    A service is: its working folder is the user's home, where a file may be called as a module of ours is.
    """
    return [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", module]
