"""What a build or a run leaves behind is in no commit: git ignores it and keeps none of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def _a_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("these files are no checkout of git")


def test_nothing_that_is_ignored_is_tracked() -> None:
    found = git("ls-files", "--cached", "--ignored", "--exclude-standard", "-z")
    assert (found.returncode, found.stdout.split("\0")[:-1]) == (0, []), found.stderr


@pytest.mark.parametrize(
    "left",
    [
        "default_10086762638580315180_0_12179.profraw",  # a program built with counters, by itself
        "punktfunk/core/_core.cpython-311-x86_64-linux-gnu.so",
        "punktfunk/core/target/release/libpunktfunk_core.a",
        "tests/unit/__pycache__/test_units.cpython-311.pyc",
        "reports/coverage/lcov.info",
    ],
)
def test_what_builds_and_runs_leave_is_ignored(left: str) -> None:
    assert git("check-ignore", "--no-index", "--quiet", left).returncode == 0


def test_no_text_holds_what_a_merge_left_in_it() -> None:
    """A file of both sides passes every check that does not parse it: a page, a picture, a list of licences."""
    marker = r"^(<{7}|>{7}|={7}|\|{7})( |$)"
    found = git("grep", "--line-number", "--extended-regexp", "-I", "--cached", "-e", marker)
    # git grep ends with 1 where it found nothing.
    assert (found.returncode, found.stdout) == (1, ""), found.stderr or found.stdout
