"""Where a scenario is wrong: file:line:column, the line, a caret, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from punktfunk.errors import ScenarioError
from punktfunk.printable import printable, printable_lines
from punktfunk.regular_file import read_regular

_MAX_BYTES = 1_000_000
_SHOWN = 500
"""Characters of a line that are shown before, in and after what is meant."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A stretch of one line of a file; line and column count from 1, as editors do."""

    file: str
    line: int = 1
    column: int = 1
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def shifted(self, columns: int, width: int) -> Position:
        """Return a stretch that starts ``columns`` later in the same line."""
        return Position(self.file, self.line, self.column + columns, width)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, where, and what to do about it."""

    at: Position
    message: str
    hint: str = ""

    def render(self) -> str:
        """Write the problem with its line and a caret; without them when the file cannot be read."""
        # Names and values of a file are part of both, and a line of ours is one line.
        head = printable(f"{self.at}: {self.message}")
        hint = f" {printable(self.hint)}" if self.hint else ""
        line = _source_line(self.at)
        if line is None:
            return head + (f"\n  →{hint}" if hint else "")
        number = str(self.at.line)
        start = self.at.column - 1
        before, meant, after = (
            printable_lines(part, _SHOWN)
            for part in (line[:start], line[start : start + self.at.width], line[start + self.at.width :])
        )
        # Tabs keep their width in the line of the caret, so that it stands below what it means.
        indent = "".join("\t" if c == "\t" else " " for c in before)
        caret = "^" * max(1, len(meant))
        return f"{head}\n {number} | {before}{meant}{after}\n {' ' * len(number)} | {indent}{caret}{hint}"


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return ``did you mean 'x'?`` for the closest known word, else the fallback."""
    words = list(known)
    folded = {w.lower(): w for w in reversed(words)}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean '{folded[near[0]]}'?" if near else otherwise


def one_of(words: Sequence[str]) -> str:
    """Join words as ``'a', 'b' or 'c'``."""
    quoted = [f"'{word}'" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def scenario_error(problems: Iterable[Problem]) -> ScenarioError:
    """Make one error of all problems, in the order of the files, each said once."""
    ordered = sorted(set(problems))
    count = f"{len(ordered)} problems in" if len(ordered) > 1 else "a problem in"
    files = ", ".join(dict.fromkeys(problem.at.file for problem in ordered))
    return ScenarioError(f"{count} {files}\n" + "\n".join(problem.render() for problem in ordered))


def _source_line(at: Position) -> str | None:
    try:
        lines = read_regular(at.file, _MAX_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return None
    return lines[at.line - 1].rstrip() if 0 < at.line <= len(lines) else None
