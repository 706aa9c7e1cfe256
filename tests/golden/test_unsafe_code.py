"""SAFETY.md names every Rust file that has unsafe code, and the tests that it points to are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "punktfunk" / "core"
PAGE = CORE / "SAFETY.md"
FOLDERS = ("src", "python/src", "tests", "benches", "fuzz")
QUOTED = re.compile(r"`([^`]+)`")
TEST_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+){3,}")
"""A name of four words or more; functions of the code have fewer."""

# Comments, characters and strings; what is left of a file is code.
NO_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | '(?:\\.|[^'\\])' | b?"(?:\\.|[^"\\])*" | b?r(\#+)".*?"\1""",
    re.DOTALL | re.VERBOSE,
)


def has_unsafe_code(source: str) -> bool:
    """Return whether ``unsafe`` is a word of the code, and not of a comment or a string alone."""
    return re.search(r"\bunsafe\b", NO_CODE.sub(" ", source)) is not None


def files_with_unsafe_code() -> set[str]:
    files = (path for folder in FOLDERS for path in (CORE / folder).rglob("*.rs"))
    return {
        str(path.relative_to(CORE))
        for path in files
        if "target" not in path.parts and has_unsafe_code(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("unsafe { call() }", True),
        ('#[unsafe(no_mangle)] extern "C" fn f() {}', True),
        ("let a = 1; // no unsafe here\n/* nor\nunsafe */ here", False),
        ('let text = "unsafe \\" unsafe"; let raw = r#"unsafe " "#;', False),
        ("""let quote = '"'; unsafe { call() } let other = '"';""", True),
        ("let not_unsafe_at_all = 1;", False),
    ],
)
def test_code_is_told_from_what_is_said_about_it(source: str, found: bool) -> None:
    assert has_unsafe_code(source) is found


FEC = CORE / "src" / "fec"
KERNELS = sorted(path.stem for path in (FEC / "kernels").glob("*.rs") if path.stem != "scalar")
ENABLED = re.compile(r'target_feature\(enable = "([^"]+)"\)|^(?:dot|passes)!\([^"]*"([^"]+)"', re.MULTILINE)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_is_there_only_where_all_features_of_its_functions_are(kernel: str) -> None:
    """Its sums, its passes, and the factors that its sums are made with: they lie in files of their own."""
    source = (FEC / "kernels" / f"{kernel}.rs").read_text(encoding="utf-8")
    sums, lanes = re.search(r"dot::(\w+)::DOT", source), re.search(r"(\w+)::PASSES", source)
    assert sums is not None
    assert lanes is not None
    dot = FEC / "gf8" / "dot" / f"{sums[1]}.rs"
    factors = re.search(r"^dot!\(\w+, \"[^\"]+\", \w+, (\w+),", dot.read_text(encoding="utf-8"), re.MULTILINE)
    assert factors is not None
    enabled = set()
    for path in (
        dot,
        FEC / "gf8" / "decode" / f"{factors[1]}.rs",
        FEC / "transform" / "lanes" / f"{lanes[1]}.rs",
    ):
        for found in ENABLED.finditer(path.read_text(encoding="utf-8")):
            enabled.update((found[1] or found[2]).split(","))
    assert enabled
    assert set(re.findall(r'is_x86_feature_detected!\("(\w+)"\)', source)) == enabled


def test_every_file_with_unsafe_code_says_what_it_relies_on() -> None:
    named = {word for word in QUOTED.findall(PAGE.read_text(encoding="utf-8")) if word.endswith(".rs")}
    unsafe = files_with_unsafe_code()
    assert len(unsafe) > 30
    missing = sorted(unsafe - named)
    assert not missing, (
        f"name these in {PAGE.relative_to(ROOT)}, with what their unsafe code relies on: {missing}"
    )
    full_names = {
        word for word in named if (word.split("/")[0] in {"src", "python", "tests", "benches", "fuzz"})
    }
    stale = sorted(word for word in full_names - unsafe if not (CORE / word).is_file())
    assert not stale, f"{PAGE.relative_to(ROOT)} names files that are gone: {stale}"


def test_the_tests_that_would_show_a_break_are_there() -> None:
    names = {word for word in QUOTED.findall(PAGE.read_text(encoding="utf-8")) if TEST_NAME.fullmatch(word)}
    assert len(names) > 15
    rust = [path for folder in FOLDERS for path in (CORE / folder).rglob("*.rs")]
    python = [path for folder in ("golden", "net", "unit") for path in (ROOT / "tests" / folder).glob("*.py")]
    defined = set()
    for path in (*rust, *python):
        defined.update(re.findall(r"\b(?:fn|def) (\w+)", path.read_text(encoding="utf-8")))
    gone = sorted(names - defined)
    assert not gone, f"{PAGE.relative_to(ROOT)} points to tests that are gone: {gone}"
