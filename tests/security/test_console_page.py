"""The console's files: nothing inline, nothing from elsewhere, no way from text to markup (promise P11)."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from punktfunk.mgmt.shell import SECURITY_HEADERS

CONSOLE = Path(__file__).parents[2] / "punktfunk" / "mgmt" / "console"
SCRIPTS = sorted(CONSOLE.rglob("*.js"))
STYLES = sorted(CONSOLE.rglob("*.css"))

MARKUP_FROM_TEXT = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTMLUnsafe"
    r"|\beval\b|new Function|srcdoc|setTimeout\(\s*[\"'`]|localStorage|sessionStorage|document\.cookie"
)
ELSEWHERE = re.compile(r"""https?:(?!//www\.w3\.org/2000/svg)//|@import|url\(|["'`]//""")


class Page(HTMLParser):
    """What a page holds that a content security policy is about."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._script = tag == "script"
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.files += [given[name] or "" for name in ("src", "href") if name in given]

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = False


def read(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page


def test_the_page_has_nothing_inline_and_names_files_that_are_there() -> None:
    page = read((CONSOLE / "index.html").read_text())
    assert page.inline == []
    named = [name for name in page.files if not name.startswith("data:image/svg+xml,")]
    assert {Path(name).suffix for name in named} == {".js", ".css"}
    for name in named:
        assert (CONSOLE / name.removeprefix("/console/")).is_file(), name


@pytest.mark.parametrize(
    "markup", ["<p onclick='x()'>", "<p style='color: red'>", "<script>x()</script>", "<style>p {}</style>"]
)
def test_what_is_inline_would_be_found(markup: str) -> None:
    assert read(markup).inline != []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_markup_from_text_keeps_nothing_and_loads_nothing_from_elsewhere(
    path: Path,
) -> None:
    text = path.read_text()
    assert MARKUP_FROM_TEXT.findall(text) == []
    assert ELSEWHERE.findall(text) == []
    for imported in re.findall(r'^import .*?"(.+?)";$', text, re.MULTILINE):
        assert (path.parent / imported).resolve().is_relative_to(CONSOLE)
        assert (path.parent / imported).is_file(), imported


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_a_style_sheet_loads_nothing(path: Path) -> None:
    assert ELSEWHERE.findall(path.read_text()) == []


@pytest.mark.parametrize("text", ["x.innerHTML = name", "eval(name)", 'import "https://example.com/x.js"'])
def test_what_a_script_must_not_do_would_be_found(text: str) -> None:
    assert MARKUP_FROM_TEXT.search(text) or ELSEWHERE.search(text)


def test_the_policy_allows_this_host_s_files_only_no_frame_and_no_markup_from_text() -> None:
    headers = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    policy = dict(one.strip().split(" ", 1) for one in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["trusted-types"] == "'none'"
    assert headers["x-frame-options"] == "DENY"
