"""The last words of a program that failed: what a person needs to see of pages of output."""

from __future__ import annotations

from collections.abc import Iterable

from punktfunk.printable import printable

_LINES = 12
_CHARACTERS = 200


def last_words(output: str, lines: int = 3) -> str:
    """Return the last lines of what a program wrote, joined, each printable; a word for nothing at all."""
    kept = [line.strip() for line in output.splitlines() if line.strip()]
    return " / ".join(printable(line, _CHARACTERS) for line in kept[-lines:]) or "it said nothing"


def reason(output: Iterable[str]) -> str:
    """Return what a compiler or pip complained of: from its first error on, or else its last lines."""
    kept = [line.rstrip() for line in output if line.strip()]
    first = next((n for n, line in enumerate(kept) if line.lstrip().lower().startswith("error")), None)
    chosen = kept[-_LINES:] if first is None else kept[first : first + _LINES]
    return "\n".join(printable(line, _CHARACTERS) for line in chosen) or "it said nothing"
