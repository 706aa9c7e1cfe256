"""The page of GameStream's check-list claims what tests and runs say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.docs import conformance_page as made
from punktfunk.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_the_check_list_has_75_lines_in_their_order() -> None:
    lines = made.lines_of((ROOT / made.DESCRIPTION).read_text(encoding="utf-8"))
    assert [line.number for line in lines] == list(range(1, 76))
    assert lines[0].part == "13.1 Discovery, HTTP, serverinfo"
    assert lines[36].text.endswith('(P: `"terminated","code":0`).'), "the end of the text, on its last row"
    assert [line.number for line in lines if line.for_tests][:6] == [1, 3, 4, 6, 7, 8]
    assert all(line.short.count("`") % 2 == 0 and "|" not in line.short for line in lines)


def test_markers_of_a_test_its_class_its_cases_and_both_kinds_of_function_are_found() -> None:
    source = """
import pytest
mark = pytest.mark
# @pytest.mark.conformance(9)
@pytest.mark.conformance(3)
@pytest.mark.conformance(4)
def test_a(): "@pytest.mark.conformance(8)"
@mark.conformance(6)
class TestB:
    @mark.parametrize("x", [pytest.param(1, marks=mark.conformance(5)), 2])
    async def test_b(self, x): ...
"""
    found = sorted(made.marked_in_python(source, "test_x.py"))
    a, b = "test_x.py::test_a", "test_x.py::TestB::test_b"
    assert found == [(3, a), (4, a), (5, b), (6, b)]


@pytest.mark.parametrize(
    "source",
    [
        "pytestmark = pytest.mark.conformance(1)",
        "@pytest.mark.conformance(1)\ndef help(): ...",
        "@pytest.mark.conformance(LINE)\ndef test_a(): ...",
        "@pytest.mark.conformance(1, 2)\ndef test_a(): ...",
    ],
)
def test_a_marker_that_would_be_overlooked_is_an_error(source: str) -> None:
    with pytest.raises(UsageError, match=r"test_x\.py"):
        list(made.marked_in_python(source, "test_x.py"))


def test_lines_above_a_test_of_the_core_are_found_and_those_above_code_are_not() -> None:
    source = """
/// gamestream line 1.
fn not_a_test() {}

    /// Wraps. gamestream line 50, gamestream
    /// and gamestream line 64 (appendix A).
    #[test]
    #[cfg(unix)]
    fn a_test() {}

#[test]
fn without() {} // gamestream line 2
"""
    assert sorted(made.marked_in_rust(source)) == [(50, "a_test"), (64, "a_test")]


def clone(root: Path, *, marked: int) -> Path:
    """Return a clone of one test, one run and the whole check-list."""
    for name in (made.DESCRIPTION, made.RUNS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / made.DESCRIPTION).write_text((ROOT / made.DESCRIPTION).read_text(encoding="utf-8"))
    (root / made.RUNS).write_text(
        '[clients.a]\nname = "client 1.0 (abc)"\nbuilt = "as it is"\n[[runs]]\nname = "quit"\nclient = "a"\n'
        'date = 2026-01-02\nlink = "loopback"\nresult = "ended"\nlines.35 = { seen = "ended", left = "twice" }\n'
    )
    test = root / "tests/unit/test_a.py"
    test.parent.mkdir(parents=True)
    test.write_text(f"@pytest.mark.conformance({marked})\ndef test_a(): ...\n")
    return root


def test_a_line_says_its_test_its_run_or_that_it_is_not_covered(tmp_path: Path) -> None:
    page = made.page(clone(tmp_path, marked=34)).splitlines()
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in page if row.startswith("| ")}
    assert rows["34"].endswith("| `tests/unit/test_a.py::test_a` |  |")
    assert rows["35"].endswith("|  | ended; not: twice |")
    assert rows["36"].endswith("| **not covered** |  |")
    assert rows["with a test"].startswith("| with a test | 1 |")
    assert rows["with something run from outside"] == "| with something run from outside | 1 | 35 |"
    assert rows["of these, with no part left out"] == "| of these, with no part left out | 0 |  |"
    assert rows["not covered"].startswith("| not covered | 73 | 1, 2, 3, ")
    assert rows["quit"] == "| quit | client 1.0 | 2026-01-02 | loopback | ended |"


def test_a_line_that_the_check_list_has_not_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[76\]"):
        made.page(clone(tmp_path, marked=76))
