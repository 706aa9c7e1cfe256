"""The program that a desktop of our own runs: from a line of text to an argument list, and what a person calls it."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from punktfunk.errors import CapabilityError, UsageError

_OURS: Final = (sys.executable, "-m", "punktfunk")


def program_of(text: str | None) -> tuple[str, ...]:
    """Return the argument list that a command line means by ``text``; () for nothing.

    ``punktfunk`` is this installation's, found in PATH or not. Raises UsageError for quotes that do not close.
    """
    try:
        argv = tuple(shlex.split(text or ""))
    except ValueError as error:
        raise UsageError(f"{text!r} is no program with arguments: {error}", "close the quotes") from error
    if argv and argv[0] == "punktfunk":
        return (*_OURS, *argv[1:])
    return argv


def name_of(program: tuple[str, ...]) -> str:
    """Return what a person calls it."""
    if program[:3] == _OURS:
        return " ".join(("punktfunk", *program[3:4]))
    return Path(program[0]).name


def default_program() -> tuple[str, ...]:
    """Return what a headless desktop runs when nothing is configured: a terminal, or else the test card."""
    terminal = shutil.which("foot") or shutil.which("alacritty") or shutil.which("xterm")
    return (terminal,) if terminal else (*_OURS, "testcard")


def require_program(program: tuple[str, ...]) -> None:
    """Raise CapabilityError unless it can be found, and the home folder that it starts in is there."""
    if shutil.which(program[0]) is None:
        raise CapabilityError(
            f"{program[0]} cannot be started: there is no such program", "is it installed, and in PATH?"
        )
    if not Path.home().is_dir():
        raise CapabilityError(
            f"{program[0]} cannot be started: the home folder {Path.home()} is missing",
            "make it, or set HOME to a folder that is there",
        )
