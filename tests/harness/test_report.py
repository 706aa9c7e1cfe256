"""The report: verdict first, everything linked, nothing loaded, and no name becomes markup."""

from __future__ import annotations

import io
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from matplotlib.figure import Figure

from harness import report
from harness.analysis.results import Check, PeerResult, RunResult, Status
from harness.report import drawing, html, junit, markdown, matrix, plots, recovery_charts, summary, text
from punktfunk.errors import ResultsError
from punktfunk.rich_terminal import Console
from tests.support.charts import covered, laid_out

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Collects what a browser would see: elements, ids, links, and whether tags nest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[str]:
        """Return every value of an attribute."""
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


@pytest.fixture(scope="module")
def rendered(small_run: RunResult) -> str:
    """The page of the small run, drawn once: charts take most of the time of these tests."""
    return html.render(small_run)


@pytest.fixture(scope="module")
def page(rendered: str) -> Page:
    return Page(rendered)


@pytest.fixture(scope="module")
def drawn(small_run: RunResult) -> tuple[list[drawing.Chart], list[Figure]]:
    """The charts of the small run and the figures that they are of."""
    with laid_out() as figures:
        return plots.charts(small_run), figures


@pytest.fixture(scope="module")
def charts(drawn: tuple[list[drawing.Chart], list[Figure]]) -> list[drawing.Chart]:
    return drawn[0]


def test_no_legend_covers_a_curve_a_title_or_another_legend(
    drawn: tuple[list[drawing.Chart], list[Figure]],
) -> None:
    charts, figures = drawn
    assert len(figures) == len(charts) == 4
    named = [bool(figure.legends or any(ax.get_legend() for ax in figure.axes)) for figure in figures]
    assert named == [True] * 4
    assert [covered(figure) for figure in figures] == [[]] * 4


def test_a_legend_on_a_curve_is_noticed() -> None:
    """The measure itself."""

    def inside(axes: list[Any]) -> None:
        axes[0].plot([0, 1], [0, 1], label="a line")
        axes[0].legend(loc="upper right")

    with laid_out() as figures:
        drawing.draw("probe", 1, 1, (4, 3), inside)
    assert [covered(figure) for figure in figures] == [["the curves of panel ''"]]


def test_the_page_nests_loads_nothing_and_all_its_links_lead_somewhere(page: Page) -> None:
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form"}
    assert not [v for name in ("src", "srcset", "action", "background") for v in page.all(name)]
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    links = page.all("href") + page.all("xlink:href")
    assert links
    for link in links:
        assert link.startswith(("#", "./")), link
        assert not link.startswith("#") or link[1:] in ids, link


def test_no_style_reaches_outside_the_page(rendered: str) -> None:
    assert not re.search(r"@import|url\((?!#)", rendered)
    assert "http://" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", rendered)
    assert "https://" not in rendered


def test_the_verdict_comes_before_everything_else(plain_run: RunResult) -> None:
    run = plain_run.model_copy(deep=True)
    run.verdict = Status.FAILED
    run.cases[3].status = Status.FAILED
    run.cases[3].checks.append(
        Check(name="recovery >= 99 %", passed=False, expected=">= 99 %", measured="91 %")
    )
    seen = Page(html.render(run)).text
    order = [
        seen.index(part) for part in ("✗ failed", "What failed", "recovery >= 99 %", "Checks over the sweep")
    ]
    assert order == sorted(order)
    assert run.cases[3].replay in seen
    assert f"seed {run.cases[3].seed}" in seen


def test_every_case_has_its_place_and_every_cell_of_the_matrix_leads_to_one(
    small_run: RunResult, page: Page
) -> None:
    assert set(page.all("id")) >= {f"case-{n}" for n in range(len(small_run.cases))}
    cells = [
        a
        for tag, a in page.tags
        if tag == "a" and (a.get("href") or "").startswith("#case-") and "title" in a
    ]
    assert len(cells) == len(small_run.cases)


def test_what_did_not_run_is_grey_and_what_failed_is_framed(one_case: Any) -> None:
    cases = [one_case("m", {"loss": f"{n} %"}) for n in range(3)]
    cases[1] = cases[1].model_copy(
        update={"status": Status.UNSUPPORTED, "metrics": {}, "reason": "no /dev/net/tun"}
    )
    cases[2] = cases[2].model_copy(update={"status": Status.FAILED})
    [grid] = matrix.grids(cases, {case.id: f"case-{n}" for n, case in enumerate(cases)})
    [(_, cells)] = grid.rows
    assert [(cell.kind, cell.mark) for cell in cells if cell] == [("ok", ""), ("idle", "–"), ("off", "✗")]
    idle = cells[1]
    assert idle is not None
    assert (idle.text, idle.background, idle.ink) == ("did not run", "var(--panel)", "var(--soft)")
    page = html.render(RunResult(run_id="r", scenario="s", started="t", cases=cases), charts=False)
    assert re.findall(r'class="cell( idle| off)?"', page) == ["", " idle", " off"]
    style = Path(html.__file__).with_name("templates").joinpath("style.css").read_text()
    assert "td.idle" not in style, "a frame is for what failed"
    assert "summary.unsupported .word { color: var(--soft); }" in style
    console = Console(record=True, width=160, file=io.StringIO(), force_terminal=True)
    console.print(summary.verdict_table(RunResult(run_id="r", scenario="s", started="t", cases=cases)))
    # 90 is grey, 31 red, 33 yellow.
    assert re.findall(r"\x1b\[(?:1;)?(\d+)m(unsupported|failed)", console.export_text(styles=True)) == [
        ("90", "unsupported"),
        ("31", "failed"),
    ]


def test_an_unbalanced_ledger_is_named_with_its_amount(plain_run: RunResult) -> None:
    run = plain_run.model_copy(deep=True)
    run.cases[0].ledgers["host_to_client"].balances["sent = link in + device dropped"] = 17
    rendered = html.render(run)
    assert 'class="unbalanced"' in rendered
    assert "✗ 1 of" in Page(rendered).text
    assert 'class="unbalanced"' not in html.render(plain_run)


def test_charts_are_drawn_for_what_there_is_and_only_for_that(
    small_run: RunResult, charts: list[drawing.Chart]
) -> None:
    titles = [chart.title for chart in charts]
    assert titles == ["FEC recovery against loss", "Latency", "Stages of a frame", "Over time"]
    bare = small_run.model_copy(deep=True)
    for case in bare.cases:
        case.theory, case.metrics, case.series, case.quantiles = {}, {}, {}, {}
    assert plots.charts(bare) == []
    html.render(bare)
    html.render(RunResult(run_id="r", scenario="s", started="t"))


def test_every_cell_lies_on_the_curve_that_its_panel_draws(sweep_run: RunResult) -> None:
    judged = [case.model_copy(deep=True) for case in sweep_run.cases if case.params.get("scheme")]
    for case in judged:
        if case.theory["loss"] == 0:
            case.theory["burst_packets"] = (
                1.0  # a link without loss has no bursts: its panel must know better
            )
    panels = recovery_charts.recovery_panels(judged)
    assert sorted(panels) == sorted((c, b) for c in ("GF(2¹⁶)", "GF(2⁸)") for b in (1.0, 8.0))
    for (_, burst), lines in panels.items():
        assert {len(cases) for cases in lines.values()} == {7}
        for cases in lines.values():
            line = recovery_charts.theory_line(cases[0], burst, [case.theory["loss"] for case in cases])
            assert line == pytest.approx([case.theory["recovery"] * 100 for case in cases], abs=1e-6)


def test_an_axis_that_only_follows_another_does_not_split_the_matrix(one_case: Any) -> None:
    cases = [
        one_case("m", {"every": n, "intact": 50 if n > 4 else 0, "scheme": s}, seeds=1, frames=5)
        for n in (8, 6, 4, 2)
        for s in ("gf8", "gf16")
    ]
    (grid,) = matrix.grids(cases, {case.id: "x" for case in cases})
    assert (grid.across, grid.down, grid.title) == ("every", "scheme", "")
    assert all(cell is not None for _, cells in grid.rows for cell in cells)


def test_a_share_below_all_never_rounds_up_to_all() -> None:
    assert [matrix._percent(share) for share in (1.0, 0.99999, 0.5, 0.00001, 0.0)] == [
        "100 %",
        "99.9 %",
        "50.0 %",
        "0.1 %",
        "0 %",
    ]


def test_charts_keep_their_text_as_text_in_the_page_s_colour(charts: list[drawing.Chart]) -> None:
    for chart in charts:
        ET.fromstring(chart.svg)
        assert "<text" in chart.svg
        assert "currentColor" in chart.svg
        assert not re.search(r"#123457|#765432", chart.svg)
        assert chart.caption


def test_what_is_written_in_a_chart_is_not_rounded_with_its_lines() -> None:
    assert (
        drawing.rounded('<path d="M 1.23456 2"/><text>0.06423</text>')
        == '<path d="M 1.23 2"/><text>0.06423</text>'
    )


def test_equal_runs_make_equal_pages(small_run: RunResult, rendered: str) -> None:
    assert html.render(small_run.model_copy(deep=True)) == rendered


def test_series_differ_by_marker_and_dash_and_not_by_colour_alone() -> None:
    assert (
        len(drawing.COLOURS)
        == len(set(drawing.COLOURS))
        == len(set(drawing.MARKERS))
        == len(set(drawing.DASHES))
    )


# --- hostile names ------------------------------------------------------------------------------------------


def test_hostile_names_are_shown_as_text_and_never_become_markup(attacked_run: RunResult) -> None:
    rendered = html.render(attacked_run)
    seen = Page(rendered)
    assert seen.open == []
    assert "script" not in {tag for tag, _ in seen.tags}
    assert "<script>alert('x')</script>" in seen.text  # as text
    assert "{{ 7*7 }}" in seen.text
    for tag, attrs in seen.tags:
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
    for link in seen.all("href"):
        assert link.startswith(("#", "./")), link
    assert not set(rendered) & set("\x00\x1b\u202e")


def test_a_folder_cannot_turn_its_link_into_a_script_or_leave_the_run(plain_run: RunResult) -> None:
    run = plain_run.model_copy(deep=True)
    run.cases[0].folder = "javascript:alert(1)"
    run.cases[1].folder = "//evil.example/x"
    links = [link for link in Page(html.render(run)).all("href") if not link.startswith("#")]
    assert all(link.startswith("./") and ":" not in link for link in links)


def test_junit_is_xml_whatever_the_names_are_and_counts_what_happened(attacked_run: RunResult) -> None:
    root = ET.fromstring(junit.render(attacked_run))
    assert root.get("tests") == "4"
    assert root.get("failures") == "4"
    assert root.get("errors") == "1"
    assert root.get("skipped") == "1"
    assert len(root.findall(".//testcase")) == 4


def test_junit_of_a_passed_run_has_no_failures_and_one_suite_a_layer(small_run: RunResult) -> None:
    root = ET.fromstring(junit.render(small_run))
    assert [suite.get("name") for suite in root.findall("testsuite")] == [
        "matrix",
        "video",
        "loss-sweep: whole sweep",
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("7", "0", "0")


def test_markdown_escapes_what_would_be_markup_and_keeps_tables_whole(attacked_run: RunResult) -> None:
    rendered = markdown.render(attacked_run)
    outside_code = re.sub(r"\\`", "", rendered)
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", outside_code)
    assert "<script" not in outside_code
    assert "[a](javascript" not in outside_code
    lines = rendered.splitlines()
    for n, line in enumerate(lines):
        if line.startswith("| ---"):
            columns = line.count("|")
            for row in [lines[n - 1], *lines[n + 1 :]]:
                if not row.startswith("|"):
                    break
                assert len(re.findall(r"(?<!\\)\|", row)) == columns, row


def test_markdown_says_the_verdict_first_and_stays_short(small_run: RunResult) -> None:
    run = small_run.model_copy(deep=True)
    run.cases = [run.cases[0]] * 60
    rendered = markdown.render(run)
    assert rendered.startswith("## ✓ loss-sweep: passed")
    assert len(rendered) < 16_000
    assert "and 20 more" in rendered


def test_json_holds_every_measured_figure_and_none_that_was_not(small_run: RunResult) -> None:
    flat = json.loads(report.FILES["json"][1](small_run))
    assert flat["schema_version"] == 2
    assert len(flat["cases"]) == len(small_run.cases)
    row = flat["cases"][-1]
    assert row["protocol"] == "punktfunk/1"
    assert row["peers"]["host"]["program"] in {"simulation", "punktfunk.host"}
    assert row["metrics"]["recovery"]["unit"] == "fraction"
    assert all(metric["value"] is not None for metric in row["metrics"].values())


# --- protocols ----------------------------------------------------------------------------------------------


@pytest.fixture
def two_wires(small_run: RunResult) -> RunResult:
    """A run whose last case, over sockets, spoke another protocol with a client that nobody knows."""
    run = small_run.model_copy(deep=True)
    run.cases[-1].protocol = "gamestream"
    del run.cases[-1].peers["client"]
    return run


def shown(run: RunResult) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    summary.show(console, run, Path("reports/x"), {})
    return console.export_text()


def test_a_run_over_one_protocol_names_it_once_with_the_programs_at_its_ends(
    small_run: RunResult, page: Page
) -> None:
    wires = "punktfunk/1 (simulation); punktfunk/1 (punktfunk.host → punktfunk.client)"
    assert f"over {wires}." in page.text
    last = markdown.render(small_run).splitlines()[-1].replace("\\", "")
    assert last.endswith(f"over {wires}.")
    assert f"protocol: {wires}\n" in shown(small_run)
    assert "| protocol |" not in markdown.render(small_run)
    assert shown(small_run).count("protocol") == 1


def test_every_case_says_its_protocol_where_a_run_has_several(two_wires: RunResult) -> None:
    page = Page(html.render(two_wires, charts=False)).text
    assert "gamestream (punktfunk.host)" in page
    rows = [line for line in markdown.render(two_wires).splitlines() if line.startswith("| ✓ |")]
    assert len(rows) == len(two_wires.cases)
    said = [row.split("|")[3].strip() for row in rows]
    assert said == ["punktfunk/1"] * (len(rows) - 1) + ["gamestream"]
    table = [line.split() for line in shown(two_wires).splitlines()]
    assert ["case", "link", "protocol", "verdict"] in [line[:4] for line in table]
    assert sum("punktfunk/1" in line for line in table) >= len(rows) - 1
    assert [line for line in table if line[2:5] == ["tun", "gamestream", "passed"]]
    many = two_wires.model_copy(deep=True)
    many.cases = [case.model_copy() for case in many.cases for _ in range(10)]
    grouped = [line.split() for line in shown(many).splitlines()]
    assert ["layer", "link", "protocol", "cases"] in [line[:4] for line in grouped]
    assert [line[2:4] for line in grouped if line[2:3] == ["gamestream"]] == [["gamestream", "10"]]


def test_of_a_protocol_whose_peers_nobody_wrote_down_the_name_stands_alone(small_run: RunResult) -> None:
    run = small_run.model_copy(deep=True)
    for case in run.cases:
        case.peers = {}
    assert text.wires(run) == ["punktfunk/1"]
    run.cases[0].peers = {role: PeerResult(program="one program") for role in ("host", "client")}
    assert text.wires(run) == ["punktfunk/1 (one program)"], "what did not run adds nothing"
    run.cases[1].protocol = "gamestream"
    assert text.wires(run) == ["punktfunk/1 (one program)", "gamestream"]


# --- files --------------------------------------------------------------------------------------------------


def test_all_kinds_are_written_and_a_large_run_stays_small_and_quick(
    sweep_run: RunResult, tmp_path: Path
) -> None:
    run = sweep_run.model_copy(deep=True)
    for turn in range(2):
        for case in sweep_run.cases:
            again = case.model_copy(deep=True)
            again.id, again.repeat = f"{case.id}-{turn}", turn + 1
            run.cases.append(again)
    run.cases = run.cases[:300]
    began = time.process_time()
    written = report.write(run, tmp_path)
    assert time.process_time() - began < 10
    assert set(written) == {"html", "markdown", "junit", "json"}
    assert written["html"].stat().st_size < 5_000_000
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_that_cannot_be_written_ends_in_a_clear_error(plain_run: RunResult, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ResultsError, match=r"report\.html could not be written") as caught:
        report.write(plain_run, blocked)
    assert "free space" in caught.value.hint


# --- text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ms", "–"),
        (float("nan"), "ms", "–"),
        (0.0, "frames", "0 frames"),
        (0.9512345, "fraction", "95.12 %"),
        (1.23456, "us", "1.235 µs"),
        (1484000, "packets", "1\N{NARROW NO-BREAK SPACE}484\N{NARROW NO-BREAK SPACE}000 packets"),
        (0.00001234, "ms", "1.2e-05 ms"),
    ],
)
def test_figures_are_short_and_what_was_not_measured_is_a_dash(value: Any, unit: str, shown: str) -> None:
    assert text.number(value, unit) == shown


def test_times_and_layers_read_as_people_write_them(small_run: RunResult) -> None:
    assert [text.duration(s) for s in (0.25, 59.9, 61, 3700)] == ["0.2 s", "59.9 s", "1 min 1 s", "1 h 1 min"]
    assert list(text.layers(small_run)) == ["matrix", "video"]
    assert text.verdict_line(small_run) == "6 cases: 6 passed; 7 of 7 checks held"
