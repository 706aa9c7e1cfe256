"""What is generated is committed as it is generated."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import app
from harness.docs import generated

ROOT = Path(__file__).parents[2]


def test_committed_pages_are_what_the_code_makes() -> None:
    assert generated.stale(ROOT, app) == [], "run: nox -s docs"


@pytest.fixture(scope="module")
def commands() -> str:
    """The page of all commands, which takes a second to make."""
    return generated.pages(ROOT, app)["docs/reference/cli.md"]()


@pytest.mark.parametrize(
    "word", ["punktfunk host", "punktfunk connect", "punktfunk-lab run", "--resume", "--bitrate"]
)
def test_the_commands_page_names_commands_and_options(word: str, commands: str) -> None:
    assert word in commands
