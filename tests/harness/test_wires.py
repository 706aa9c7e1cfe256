"""Two wires side by side: the same points are paired, each with its own theory, and drawn on one axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness import cli
from harness.analysis import baseline, compare
from harness.analysis.results import CaseResult, RunResult, Status
from harness.report import drawing, html, recovery_charts, wire_charts, wires
from tests.support.charts import covered, laid_out
from tests.support.runs import run_of


@pytest.fixture(scope="module")
def both(one_case: Any) -> RunResult:
    """A layer over two wires, one of which protects frames less, and a layer over one of them alone."""
    cases: list[CaseResult] = []
    for wire, fec in (("gamestream", 10), ("punktfunk/1", 20)):
        for p in (0.0, 0.1, 0.2):
            link = {"loss": {"kind": "independent", "p": p}}
            params = {"wire": wire, "loss": f"{p * 100:g} %"}
            case = one_case("matrix", params, seeds=1, fec=fec, link=link, decoded=True)
            case.protocol = wire
            cases.append(case)
    cases.append(
        one_case("alone", {"loss": "10 %"}, seeds=1, link={"loss": {"kind": "independent", "p": 0.1}})
    )
    return run_of(*cases)


@pytest.fixture(scope="module")
def drawn(both: RunResult) -> dict[str, drawing.Chart]:
    """The charts of the comparison, drawn once; no legend of them covers anything."""
    [comparison] = wires.comparisons(both)
    with laid_out() as figures:
        charts = wire_charts.named(comparison)
    assert [covered(figure) for figure in figures] == [[]] * len(charts)
    assert [len(figure.legends) for figure in figures] == [0, 1, 1], "panels of one chart share their lines"
    return charts


def test_points_are_paired_by_all_that_is_not_the_wire(both: RunResult) -> None:
    [comparison] = wires.comparisons(both)
    assert (comparison.layer, comparison.axes) == ("matrix", {"wire"})
    assert comparison.wires == ["gamestream", "punktfunk/1"]
    assert [point.label for point in comparison.points] == ["loss 0 %", "loss 10 %", "loss 20 %"]
    for point in comparison.points:
        assert {wire: case.protocol for wire, case in point.cases.items()} == {w: w for w in comparison.wires}


def test_what_only_one_wire_ran_is_not_compared(both: RunResult) -> None:
    run = both.model_copy(deep=True)
    run.cases[1].status = Status.FAULT
    [comparison] = wires.comparisons(run)
    assert [point.label for point in comparison.points] == ["loss 0 %", "loss 20 %"]
    for case in run.cases:
        case.protocol = "punktfunk/1"
    assert wires.comparisons(run) == []
    assert 'id="wires"' not in html.render(run, charts=False)


def test_a_row_shows_every_figure_of_a_case_beside_its_own_theory(both: RunResult) -> None:
    [comparison] = wires.comparisons(both)
    case = comparison.points[1].cases["gamestream"]
    cells = dict(zip(wires.HEAD, wires.row(comparison, case), strict=True))
    assert comparison.latency() == ("capture_to_decoded", "capture → decoded")
    assert cells["wire"] == "gamestream"
    assert cells["FEC overhead"] == "11.76 %"  # 2 packets to 17
    assert cells["theory"] != wires.row(comparison, comparison.points[1].cases["punktfunk/1"])[2]
    # Percentiles want samples: of a hundred frames there is no 99th, of a few losses no 95th.
    assert {name for name, cell in cells.items() if cell == "–"} <= {"latency p99", "time to picture p95"}
    page = html.render(both, charts=False)
    for text in (cells["theory"], cells["goodput"], cells["time to picture p50"]):
        assert text in page


def test_a_table_for_a_page_writes_what_is_equal_once(both: RunResult) -> None:
    [comparison] = wires.comparisons(both)
    head, _, _, rule, *rows = wires.markdown(comparison).splitlines()
    assert head == "matrix, each cell gamestream / punktfunk/1:"
    assert len(rows) == 3
    assert {line.count("|") for line in (rule, *rows)} == {len(wires.HEAD) + 1}
    assert rows[0].split("|")[2:5] == [" 100 % ", " 100 % ", " 11.76 % / 23.53 % "]


def test_either_wire_is_a_line_of_one_panel_and_in_no_other_chart(both: RunResult) -> None:
    judged = recovery_charts.with_curve(both.cases)
    [(panel, lines)] = recovery_charts.panels_of(
        [c for c in judged if "wire" in c.params], lambda case: case.protocol, {"wire"}
    ).items()
    assert panel == ("matrix", 1.0)
    assert {wire: len(cases) for wire, cases in lines.items()} == {"gamestream": 3, "punktfunk/1": 3}


def test_what_several_wires_ran_is_drawn_wire_beside_wire_and_in_no_other_chart(
    both: RunResult, drawn: dict[str, drawing.Chart]
) -> None:
    name = "gamestream beside punktfunk/1 (matrix)"
    assert {kind: chart.title for kind, chart in drawn.items()} == {
        "recovery": f"{name}: frames recovered against loss",
        "latency": f"{name}: latency",
        "costs": f"{name}: what a loss costs",
    }
    assert recovery_charts.recovery(both.cases) is None, "what one wire alone has is one point, and no curve"
    for chart in drawn.values():
        assert chart.svg.count(">punktfunk/1<") == 1, "one legend a chart"


def test_sizes_of_frames_get_panels_of_their_own(one_case: Any) -> None:
    cases = [
        one_case(
            "m",
            {"frame": frame, "loss": p},
            seeds=1,
            frames=20,
            link={"loss": {"kind": "independent", "p": p}},
        )
        for frame in ("small", "large")
        for p in (0.05, 0.1)
    ]
    panels = recovery_charts.recovery_panels(cases)
    assert sorted(title for title, _ in panels) == ["m, frame large", "m, frame small"]
    assert [list(lines) for lines in panels.values()] == [["20 % FEC"], ["20 % FEC"]]


def test_a_chart_on_its_own_is_a_whole_picture_on_white(drawn: dict[str, drawing.Chart]) -> None:
    for chart in drawn.values():
        svg = drawing.standalone(chart)
        root = ET.fromstring(svg)
        assert root[0].get("fill") == "#ffffff"
        assert (root.get("width"), root.get("height")) == (root[0].get("width"), root[0].get("height"))
        assert "currentColor" not in svg
        assert "var(" not in svg


def test_the_command_prints_the_tables_and_draws(
    both: RunResult,
    drawn: dict[str, drawing.Chart],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire_charts, "named", lambda _comparison: drawn)  # they are drawn already
    (tmp_path / "run.json").write_text(both.model_dump_json(), encoding="utf-8")
    assert cli.main(["wires", str(tmp_path), "--figures", str(tmp_path / "figures")]) == 0
    assert "matrix, each cell gamestream / punktfunk/1:" in capsys.readouterr().out
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files == [f"{both.scenario}-matrix-{name}.svg" for name in ("costs", "latency", "recovery")]
    alone = both.model_copy(update={"cases": both.cases[-1:]})
    (tmp_path / "run.json").write_text(alone.model_dump_json(), encoding="utf-8")
    assert cli.main(["wires", str(tmp_path)]) != 0


def test_figures_of_either_wire_gate_a_later_run(both: RunResult) -> None:
    was = both.model_copy(deep=True)
    now = both.model_copy(deep=True)
    for run in (was, now):
        for case in run.cases:
            case.backend = "sim"
    moved = now.cases[1]
    assert moved.protocol == "gamestream"
    moved.digest = "another"
    complete = moved.metrics["frames_complete"]
    assert complete.value is not None
    complete.value -= 1
    found = compare.compare((was, Path()), (now, Path()))
    assert [(row.case, row.metric, row.verdict) for row in found.rows] == [
        (moved.id, "frames_complete", "regression")
    ]
    assert found.exit_code == 3
    assert [move.case for move in baseline.compare(now, baseline.snapshot(was))] == [moved.id]
