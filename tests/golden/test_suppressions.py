"""Whoever silences a check says why, in the line that does it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNEXPLAINED = re.compile(
    r"# type: ignore(?:\[[a-z, -]+\])?(?!\[|  # \S)"  # mypy's, with a code and a comment of its own
    r"|# noqa(?:: ?[A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*)?(?![0-9]|, ?[A-Z]|: ?[A-Z]| - \S)"  # ruff's, with codes and a dash
)


def unexplained(text: str) -> list[int]:
    """Return the lines that silence a check and do not say why."""
    return [number for number, line in enumerate(text.splitlines(), 1) if UNEXPLAINED.search(line)]


def test_what_silences_a_check_says_why() -> None:
    files = [path for folder in ("punktfunk", "harness") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 250
    found = {str(path.relative_to(ROOT)): unexplained(path.read_text()) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        ("x = y  # type: ignore[arg-type]", True),
        ("x = y  # type: ignore", True),
        ("x = y  # type: ignore[a, b-c]  # the stub is wrong", False),
        ("import x  # noqa", True),
        ("import x  # noqa: F401", True),
        ("import x  # noqa: F401, S108", True),
        ("import x  # noqa: F401 is it there", True),
        ("import x  # noqa: F401 - is it there?", False),
        ("import x  # noqa: F401, S108 - is it there?", False),
    ],
)
def test_a_reason_is_asked_for(line: str, silent: bool) -> None:
    assert bool(unexplained(line)) is silent
