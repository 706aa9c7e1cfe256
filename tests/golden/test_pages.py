"""The pages of the docs: every link leads somewhere, the index has every page, the glossary names what there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from harness.analysis.records import STAMPS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "tests/README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`]*`")


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Return the links of ``text``, the page ``page``, that lead to no file or no heading."""
    found = []
    for link in LINK.findall(CODE.sub("", FENCE.sub("", text))):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_there_are(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title of it\n")
    text = "[a](page.md) [b](#title-of-it) [c](other.md) [d](page.md#other) [e](https://example.org/x) `[f](no.md)`"
    assert broken_links(page, text) == ["other.md", "page.md#other"]


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs/README.md"
    listed = {
        (index.parent / link).resolve()
        for link in LINK.findall(index.read_text(encoding="utf-8"))
        if ":" not in link
    }
    missing = [
        page for page in (ROOT / "docs").rglob("*.md") if page != index and not {page, page.parent} & listed
    ]
    assert missing == []


def test_the_glossary_points_at_files_routes_and_names_that_there_are() -> None:
    glossary = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8").partition("## Instead of")[0]
    names = re.findall(r"`([^`]+)`", glossary)
    paths = [name for name in names if re.match(r"(punktfunk|harness|tests)/\S+$", name)]
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []
    openapi = (ROOT / "docs/api/openapi.json").read_text(encoding="utf-8")
    routes = [name.partition(" ")[2] for name in names if re.match(r"(GET|POST) /", name)]
    assert len(routes) > 3
    assert [route for route in routes if f'"{route}"' not in openapi] == []
    stamps = [name for name in names if name.endswith("_ns")]
    assert len(stamps) > 3
    assert set(stamps) <= set(STAMPS)


def test_the_architecture_points_at_files_routes_and_functions_that_there_are() -> None:
    page = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    names = re.findall(r"`([^`\n]+)`", page) + re.findall(r"(?<![\w./-])[a-z_]+/[\w/]*\w\.py\b", page)
    roots = [ROOT, ROOT / "punktfunk", ROOT / "punktfunk/core", ROOT / "harness"]
    paths = [
        name for name in names if re.match(r"[a-z_]+/[\w./]+$", name) and not name.startswith("application/")
    ]
    assert len(paths) > 90
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []
    openapi = (ROOT / "docs/api/openapi.json").read_text(encoding="utf-8")
    routes = [name.partition(" ")[2] for name in names if re.match(r"(GET|POST) /", name)]
    assert len(routes) > 2
    assert [route for route in routes if f'"{route}"' not in openapi] == []
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "punktfunk").rglob("*.py"))
    )
    functions = [name.rpartition(".")[2] for name in names if re.match(r"[A-Z]\w+\.[a-z_]+$", name)]
    assert len(functions) > 6
    assert [name for name in functions if f"def {name}(" not in source] == []


@pytest.mark.parametrize(
    "package",
    [
        str(path.parent.relative_to(ROOT))
        for root in ("punktfunk", "harness")
        for path in sorted((ROOT / root).rglob("__init__.py"))
    ],
)
def test_each_package_says_what_belongs_there_and_what_does_not(package: str) -> None:
    words = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert words.partition("\n")[0].endswith("."), "the first line says what it is"
    assert "Not here: " in words


def test_the_glossary_has_each_word_once() -> None:
    glossary = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8")
    words = [
        word
        for row in re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", glossary, re.MULTILINE)
        for word in row.split(", ")
        if word not in {"word", "---"}
    ]
    assert len(words) > 50
    assert sorted(words) == sorted(set(words))
