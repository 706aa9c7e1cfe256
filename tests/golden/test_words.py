"""Words that the glossary replaces do not come back into prose: docs, docstrings, comments, texts for people.

Only words that cannot mean anything else are held here; fields of the API and of results keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = "docs/reference/glossary.md"
FOLDERS = ("punktfunk", "harness", "scenarios", "tests", "docs", ".ci")
SUFFIXES = {".py", ".pyi", ".rs", ".h", ".md", ".js", ".html", ".yaml", ".json", ".toml"}
NOT_OURS = {"target", "__pycache__", "node_modules"}

GAP = r"(?:\s|///?!?|\#)+"
REPLACED = {
    word: re.compile(pattern)
    for word, pattern in {
        "is not to be had": rf"(?i)\b(?:is|are){GAP}not{GAP}to{GAP}be{GAP}had\b",
        "cannot be meant": rf"(?i)\bcannot{GAP}be{GAP}meant\b",
        "indecent": r"(?i)indecent",
        "are others than before": rf"(?i)\bothers{GAP}than{GAP}before\b",
        "in force": rf"(?i)\bin{GAP}force\b",
        "side planes": rf"(?i)\b(?:\w+_)?side(?:{GAP}|-|_)?planes?(?:_\w+)?\b",
        "strip": rf"(?i)\b(?:coded|frame|card's|no|of|by|a|the|with){GAP}strips?\b",
        "speed test": rf"(?i)\bspeed(?:{GAP}|-)tests?\b",
        "knock": r"(?i)\bknock(?:s|ed|ing)?\b",
        "frame's way": rf"(?i)\bframe's{GAP}way\b",
        "desk": rf"(?i)\b(?:pairing|key{GAP}?frame|sound|pad|probe){GAP}desks?\b",
        "plane of a protocol": rf"(?i)\b(?:native|gamestream){GAP}planes?\b",
        "close the books": rf"(?i)\bclos(?:e|es|ed|ing){GAP}the{GAP}books\b",
        "a person's word": rf"(?i)\b(?:person's|your){GAP}word\b",
        "say or tell at the head of a docstring": r'(?:"""|/// |//! )(?:Say|Tell)\b',
    }.items()
}


def replaced_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of each word of ``text`` that has been replaced."""
    for word, pattern in REPLACED.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, word


def test_no_replaced_word_is_in_use() -> None:
    pages = [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES and path.is_file() and not NOT_OURS & set(path.parts)
    ]
    kept = {Path(__file__), ROOT / GLOSSARY}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in [ROOT / "README.md", *pages]
        if path not in kept
        for line, word in replaced_words(path.read_text(encoding="utf-8"))
    ]
    assert len(pages) > 400
    assert found == []


def test_a_loop_names_the_thing_and_not_one() -> None:
    files = [path for folder in ("punktfunk", "harness") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 250
    found = [str(path.relative_to(ROOT)) for path in files if re.search(r"\bfor one in\b", path.read_text())]
    assert found == []


@pytest.mark.parametrize("word", sorted(REPLACED.keys() - {"say or tell at the head of a docstring"}))
def test_the_glossary_names_what_stands_instead(word: str) -> None:
    rows = (ROOT / GLOSSARY).read_text(encoding="utf-8").partition("## Instead of")[2].splitlines()
    assert any(REPLACED[word].search(row.split("|")[1]) for row in rows if row.startswith("| "))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Sound is not to\nbe had.", [(1, "is not to be had")]),
        ("a\n    # values that cannot be\n    # meant", [(2, "cannot be meant")]),
        ("Indecent requests", [(1, "indecent")]),
        ("the clients are others than before", [(1, "are others than before")]),
        ("/// Put in\n/// force.", [(1, "in force")]),
        ("Side-plane datagrams, side planes", [(1, "side planes"), (1, "side planes")]),
        ("the coded strip, by strips", [(1, "strip"), (1, "strip")]),
        ("Speed tests: filler", [(1, "speed test")]),
        ("It knocked; a knock.", [(1, "knock"), (1, "knock")]),
        ("stages of a frame's\n# way", [(1, "frame's way")]),
        ("The pairing desk, a probe desk on my desk", [(1, "desk"), (1, "desk")]),
        ("the native plane; a plane of luma", [(1, "plane of a protocol")]),
        ("/// Close the\n    /// books", [(1, "close the books")]),
        ("Waiting for your word", [(1, "a person's word")]),
        ('"""Say whether', [(1, "say or tell at the head of a docstring")]),
        ("\n    /// Tell it", [(2, "say or tell at the head of a docstring")]),
        ("report.side_planes, on_side_plane", [(1, "side planes"), (1, "side planes")]),
        ("enforced, brute force; tell it; inside planes", []),
    ],
)
def test_a_replaced_word_is_found(text: str, found: list[tuple[int, str]]) -> None:
    assert list(replaced_words(text)) == found
