"""Every citation of a section of a wire leads to a section that the description has.

The descriptions are ``docs/reference/wire/punktfunk1.md`` and ``gamestream.md``; code, tests and docs cite them as
"section" and a number. Which description is meant:

1. the name before the word says it: "punktfunk/1 section 3.1", "gamestream sections 7.2 to 7.4", "RFC 9000 section 8"
   (which is no wire of ours and is not followed);
2. a bare "(section 3.1)" is of the wire in whose room the file lies (``punktfunk/native``, the description itself);
3. elsewhere it is of the one wire that the file names. A file that names both or neither names it in the citation.

A third number is an item of the section's numbered list ("2.3.6"), and so is a "point 6" or "rule 6" behind the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    wire: f"docs/reference/wire/{page}.md"
    for wire, page in {"punktfunk/1": "punktfunk1", "gamestream": "gamestream"}.items()
}
ROOMS = {"punktfunk/native": "punktfunk/1"} | {page: wire for wire, page in PAGES.items()}
FOLDERS = ("punktfunk", "harness", "tests", "docs")
SUFFIXES = {".py", ".pyi", ".rs", ".c", ".h", ".md", ".toml"}
NOT_OURS = {"target", "__pycache__"}

GAP = r"(?:\s|///?!?|\#)+"  # words of a citation may stand on two lines of a comment
NUMBER = r"\d+(?:\.\d+)*"
CITATION = re.compile(
    rf"(?:(?P<name>punktfunk/1|gamestream|RFC{GAP}\d+|specification){GAP}\(?)?"
    rf"\bsections?{GAP}(?P<numbers>{NUMBER}(?:(?:,|{GAP}(?:and|to|or)\b){GAP}{NUMBER})*)"
    rf"(?:,?{GAP}(?:point|rule){GAP}(?P<item>\d+))?",
    re.IGNORECASE,
)
HEADING = re.compile(r"^#{2,3} (?:Appendix )?(?P<number>(?:\d+|[A-E])(?:\.\d+)?)\.? ")
ITEM = re.compile(r"^(\d+)\. ")
INSIDE = re.compile(rf"\((\d+\.\d+(?:, \d+\.\d+)*)\)|\bsee ({NUMBER})\b|\bappendix ([A-Z](?:\.\d)?)")


@dataclass(frozen=True)
class Citation:
    where: str
    wire: str
    section: str


def headings_of(page: str) -> list[str]:
    """Return the numbers of a description's sections, in its order."""
    return [heading["number"] for line in page.splitlines() if (heading := HEADING.match(line))]


def sections_of(page: str) -> set[str]:
    """Return the numbers of a description's sections, and of the items of their numbered lists ("2.3.6")."""
    found = set(headings_of(page))
    section = ""
    for line in page.splitlines():
        if heading := HEADING.match(line):
            section = heading["number"]
        elif section and (item := ITEM.match(line)):
            found.add(f"{section}.{item[1]}")
    return found


def wire_of_bare(path: str, text: str) -> str:
    """Return the wire that a citation without a name is of, "ambiguous" where the reader could not know."""
    for room, wire in ROOMS.items():
        if path.startswith(room):
            return wire
    named = [wire for wire in PAGES if wire in text.lower()]
    return named[0] if len(named) == 1 else "ambiguous"


def citations(path: str, text: str) -> Iterator[Citation]:
    """Yield the citations of a wire in ``text``, the file ``path`` of the repository."""
    for match in CITATION.finditer(text):
        name = (match["name"] or "").lower()
        if name and name not in PAGES:
            continue
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        numbers = re.findall(NUMBER, match["numbers"])
        if match["item"]:
            numbers[-1] += f".{match['item']}"
        for number in numbers:
            yield Citation(where, name or wire_of_bare(path, text), number)


def wrong(found: list[Citation], pages: dict[str, set[str]]) -> list[str]:
    """Return a line for each citation that leads nowhere."""
    return [
        f"{cited.where}: {cited.wire} has no section {cited.section}"
        if cited.wire in pages
        else f"{cited.where}: say which wire section {cited.section} is of"
        for cited in found
        if cited.section not in pages.get(cited.wire, set())
    ]


def of_the_repository() -> list[Citation]:
    files = (
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in SUFFIXES
        and path.is_file()
        and not NOT_OURS & set(path.parts)
        and path != Path(__file__)
    )
    return [
        cited
        for path in files
        for cited in citations(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    ]


@pytest.fixture(scope="module")
def pages() -> dict[str, set[str]]:
    return {wire: sections_of((ROOT / page).read_text(encoding="utf-8")) for wire, page in PAGES.items()}


def test_every_citation_leads_to_a_section(pages: dict[str, set[str]]) -> None:
    found = of_the_repository()
    assert len(found) > 150, "fewer than there were: does the pattern still find them?"
    assert {cited.where.partition(":")[0].rpartition(".")[2] for cited in found} >= {
        "py",
        "rs",
        "c",
        "h",
        "md",
    }
    assert wrong(found, pages) == []


@pytest.mark.parametrize("wire", PAGES)
def test_a_description_s_own_references_lead_to_its_sections(wire: str, pages: dict[str, set[str]]) -> None:
    text = (ROOT / PAGES[wire]).read_text(encoding="utf-8")
    numbers = [
        number for match in INSIDE.findall(text) for part in match for number in part.split(", ") if number
    ]
    pitfalls = text.partition("### 13.8")[2].partition("### 13.9")[0]
    rules = re.findall(r"^\| \d+ \| .*\| ([\d., ]+)", pitfalls, re.MULTILINE)
    numbers += [number for rule in rules for number in re.findall(NUMBER, rule)]
    assert len(numbers) >= 10
    assert [number for number in numbers if number not in pages[wire]] == []


SUBSECTIONS = {
    "punktfunk/1": {0: 0, 1: 7, 2: 7, 3: 8, 4: 8, 5: 2, 6: 3, 7: 5, 8: 0, 9: 0, 10: 2, 12: 0},
    "gamestream": {0: 0, 1: 3, 2: 2, 3: 5, 4: 5, 5: 6, 6: 0, 7: 9, 8: 5, 9: 4, 10: 5, 11: 10, 12: 9, 13: 9}
    | {"A": 0, "C": 0, "D": 5, "E": 0},
}


@pytest.mark.parametrize("wire", PAGES)
def test_no_section_has_gone_or_got_another_number(wire: str) -> None:
    """Readers keep numbers, and so do commits and other clones; a new section goes behind the last."""
    expected = [
        number
        for section, count in SUBSECTIONS[wire].items()
        for number in (f"{section}", *(f"{section}.{below + 1}" for below in range(count)))
    ]
    assert headings_of((ROOT / PAGES[wire]).read_text(encoding="utf-8")) == expected


WIRE = """# A wire
## 3. Datagrams
### 3.1 Input
1. first
2. second
### 3.2 Audio
## Appendix A. Vectors
### D.1 More
"""


def test_sections_are_headings_and_items_of_their_lists() -> None:
    assert sections_of(WIRE) == {"3", "3.1", "3.1.1", "3.1.2", "3.2", "A", "D.1"}


@pytest.mark.parametrize(
    ("path", "text", "cited"),
    [
        ("punktfunk/host/x.py", "As punktfunk/1 section 3.1 says.", [("punktfunk/1", "3.1")]),
        ("docs/x.md", "punktfunk/1 (sections 3, 3.1 and 3.2)", [("punktfunk/1", n) for n in ("3", "3.1", "3.2")]),
        ("punktfunk/host/x.py", "gamestream sections 3.1 to 3.2", [("gamestream", "3.1"), ("gamestream", "3.2")]),
        ("punktfunk/native/x.py", '"""One (section 3.1)."""', [("punktfunk/1", "3.1")]),
        ("punktfunk/native/x.py", "section 3.1 point 2", [("punktfunk/1", "3.1.2")]),
        ("punktfunk/native/x.py", "sections 3 and 3.1, rule 1", [("punktfunk/1", "3"), ("punktfunk/1", "3.1.1")]),
        ("punktfunk/host/x.py", "Of punktfunk/1.\n(section 3.1)", [("punktfunk/1", "3.1")]),
        ("punktfunk/host/x.py", "Of GameStream and punktfunk/1 (3): section 3.1", [("ambiguous", "3.1")]),
        ("punktfunk/core/src/x.rs", "/// A header (section 3.1).", [("ambiguous", "3.1")]),
        ("punktfunk/core/src/x.rs", "/// of punktfunk/1\n/// section\n    /// 3.1", [("punktfunk/1", "3.1")]),
        ("docs/reference/wire/gamestream.md", "as punktfunk/1 has it; see section 3.2", [("gamestream", "3.2")]),
        ("punktfunk/native/x.py", "RFC 9000 section 10.2.1; the AV1 specification section 5.3", []),
        ("punktfunk/native/x.py", "the 3 sections, section by section", []),
    ],
)  # fmt: skip
def test_a_citation_is_found_with_its_wire(path: str, text: str, cited: list[tuple[str, str]]) -> None:
    assert [(one.wire, one.section) for one in citations(path, text)] == cited


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("punktfunk/host/x.py", "\n# punktfunk/1 section 3.9", "punktfunk/host/x.py:2: punktfunk/1 has no section 3.9"),
        ("punktfunk/host/x.py", "gamestream section 4", "punktfunk/host/x.py:1: gamestream has no section 4"),
        ("punktfunk/native/x.py", "(sections 3.1 and 3.7)", "punktfunk/native/x.py:1: punktfunk/1 has no section 3.7"),
        ("punktfunk/native/x.py", "section 3.1 point 3", "punktfunk/native/x.py:1: punktfunk/1 has no section 3.1.3"),
        ("punktfunk/core/x.rs", "/// (section 3.1)", "punktfunk/core/x.rs:1: say which wire section 3.1 is of"),
    ],
)  # fmt: skip
def test_a_planted_citation_that_leads_nowhere_is_refused(path: str, text: str, said: str) -> None:
    pages = dict.fromkeys(PAGES, sections_of(WIRE))
    assert wrong(list(citations(path, text)), pages) == [said]
