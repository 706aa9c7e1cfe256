"""Reading what other programs left in a file: no more of it than a cap, and its first fault in words."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError


class TooLongError(ValueError):
    """A file that is longer than what is read for."""


def bounded(file: Path, max_bytes: int) -> bytes:
    """Return all of a file; raise :class:`TooLongError` where that is more than ``max_bytes``, and OSError."""
    with file.open("rb") as opened:
        document = opened.read(max_bytes + 1)
    if len(document) > max_bytes:
        raise TooLongError("too long")
    return document


def first_fault(error: ValidationError) -> str:
    """Return where a document is not as expected, with dots between steps, and how; the caller makes it printable."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
