"""Baselines gate what is exact, interleaved runs gate latencies, anything else is shown with its doubts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli
from harness.analysis import baseline, compare, records, runs, stats
from harness.analysis.results import RunResult, Status
from harness.analysis.stats import Gate
from punktfunk.errors import RegressionError, ResultsError
from tests.support.noise import remembering
from tests.support.runs import run_of

# --- baselines ----------------------------------------------------------------------------------------------


def test_a_run_holds_against_its_own_baseline_after_a_trip_through_the_file(
    one_case: Any, tmp_path: Path
) -> None:
    run = run_of(one_case("matrix", {"loss": 5}, link={"loss": {"kind": "independent", "p": 0.05}}))
    path = baseline.path_of("s", tmp_path / "baselines")
    baseline.save(baseline.snapshot(run), path)
    run.cases[0].digest = "another"  # else the figures would not be looked at
    assert baseline.compare(run, baseline.load(path)) == []
    assert len(baseline.load(path).cases[run.cases[0].id].figures) > 20


def test_one_frame_fewer_is_a_regression_and_one_more_an_improvement(one_case: Any) -> None:
    run = run_of(one_case("matrix", {"loss": 5}))
    kept = baseline.snapshot(run)
    case = run.cases[0]
    case.digest = "changed"
    case.metrics["frames_complete"].value -= 1  # type: ignore[operator]
    case.metrics["packets_late"].value = 4.0
    case.metrics["frames_damaged"].value = 9.0
    moves = {move.metric: move.verdict for move in baseline.compare(run, kept)}
    assert moves == {"frames_complete": "regression", "packets_late": "changed", "frames_damaged": "changed"}
    assert "was 500, is 499" in str(baseline.compare(run, kept)[0])
    case.metrics["frames_complete"].value += 2  # type: ignore[operator]
    assert {m.metric: m.verdict for m in baseline.compare(run, kept)}["frames_complete"] == "improvement"


def test_another_seed_is_another_experiment(one_case: Any) -> None:
    run = run_of(one_case("matrix", {"loss": 5}))
    kept = baseline.snapshot(run)
    run.cases[0].digest, run.cases[0].seed = "x", 77
    run.cases[0].metrics["frames_complete"].value = 0.0
    assert baseline.compare(run, kept) == []


def test_wall_clock_figures_are_kept_by_machine_class_and_never_gated(one_case: Any) -> None:
    real = one_case("video", {"loss": 0}, backend="tun", decoded=True)
    kept = baseline.snapshot(run_of(real))
    other = baseline.snapshot(run_of(real, environment={"machine_class": "m2"}), kept)
    assert set(other.wall_clock) == {"m", "m2"}
    assert other.wall_clock["m"][real.id]["encode_p50"].unit == "ms"
    real.metrics["encode_p50"].value = 99.0
    assert baseline.compare(run_of(real), kept) == []


def test_a_failed_run_makes_no_baseline(one_case: Any) -> None:
    case = one_case("matrix", {"loss": 5})
    case.status = Status.FAILED
    with pytest.raises(ResultsError, match="makes no baseline"):
        baseline.snapshot(run_of(case))
    with pytest.raises(ResultsError, match="ended failed"):
        baseline.snapshot(run_of(one_case("matrix", {"loss": 5}), verdict=Status.FAILED))


def test_files_that_are_no_baseline_or_of_a_later_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    with pytest.raises(ResultsError, match="there is no baseline"):
        baseline.load(path)
    for wrong, why in (("{", "not a baseline"), ('{"scenario":"s","schema_version":9}', "schema version 9")):
        path.write_text(wrong)
        with pytest.raises(ResultsError, match=why):
            baseline.load(path)
    with pytest.raises(ResultsError, match="could not be written"):
        baseline.save(baseline.Baseline(scenario="s"), path / "below" / "s.json")


# --- two runs -----------------------------------------------------------------------------------------------


def keep(
    run: RunResult, folder: Path, tables: dict[str, records.Records] | None = None
) -> tuple[RunResult, Path]:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(run.model_dump_json())
    for case in run.cases:
        place = folder / case.id
        place.mkdir(exist_ok=True)
        if tables and case.id in tables:
            records.write(place / "frames.parquet", tables[case.id])
    return runs.load(folder)


def test_a_run_survives_its_file_with_series_that_hold_nothing_in_places(
    one_case: Any, tmp_path: Path
) -> None:
    case = one_case("video", {"loss": 5}, backend="tun")
    case.series["loss"][2] = None
    back, _ = keep(run_of(case), tmp_path / "a")
    assert back.cases[0] == case


def test_two_equal_runs_have_nothing_to_tell(one_case: Any, tmp_path: Path) -> None:
    run = run_of(one_case("matrix", {"loss": 5}))
    found = compare.compare(keep(run, tmp_path / "a"), keep(run, tmp_path / "b"))
    assert (found.rows, found.warnings, found.exit_code) == ([], [], 0)
    assert found.compared > 20
    assert "nothing moved" in compare.text(found)


def test_a_simulated_frame_lost_between_two_runs_exits_as_a_regression(one_case: Any, tmp_path: Path) -> None:
    before = run_of(one_case("matrix", {"loss": 5}))
    now = before.model_copy(deep=True)
    now.cases[0].digest = "x"
    now.cases[0].metrics["frames_complete"].value = 400.0
    found = compare.compare(keep(before, tmp_path / "a"), keep(now, tmp_path / "b"))
    assert found.exit_code == RegressionError.exit_code == 3
    case = before.cases[0].id
    assert found.rows == [
        compare.Row(case, "frames_complete", "frames", 500.0, 400.0, None, None, "regression", gates=True)
    ]
    assert "frames_complete" in compare.text(found)


def test_a_slower_stage_between_two_runs_is_shown_with_its_doubts_and_not_gated(
    one_case: Any, one_stream: Any, tmp_path: Path
) -> None:
    case = one_case("video", {"loss": 0}, backend="tun", seeds=1, frames=1200, decoded=True)
    was, now = (one_stream(n, frames=1200, decoded=True).table for n in (1, 2))
    now["decode_end_ns"] += (now["decode_end_ns"] - now["released_ns"]) // 10
    found = compare.compare(
        keep(run_of(case), tmp_path / "a", {case.id: was}), keep(run_of(case), tmp_path / "b", {case.id: now})
    )
    assert [row.metric for row in found.rows] == ["decode_p50"]
    assert found.rows[0].verdict == "slower"
    assert found.rows[0].interval is not None
    assert found.rows[0].interval[0] < 1.1 < found.rows[0].interval[1]
    assert found.exit_code == 0
    assert any("not interleaved" in warning for warning in found.warnings)


def test_too_short_runs_and_other_machines_are_said(one_case: Any, one_stream: Any, tmp_path: Path) -> None:
    case = one_case("video", {"loss": 0}, backend="tun", seeds=1, frames=300)
    table = {case.id: one_stream(1, frames=300).table}
    other = run_of(case, environment={"machine_class": "other", "kernel": "k"})
    found = compare.compare(keep(run_of(case), tmp_path / "a", table), keep(other, tmp_path / "b", table))
    assert found.rows == []
    assert any("another class" in warning for warning in found.warnings)
    assert any("run longer" in warning for warning in found.warnings)
    assert "nothing was compared" in compare.text(found)


@pytest.mark.parametrize(("change", "verdict"), [(1.15, "slower"), (0.85, "faster")])
def test_a_stage_is_shown_when_it_got_faster_as_well_as_slower(
    one_case: Any, one_stream: Any, tmp_path: Path, change: float, verdict: str
) -> None:
    case = one_case("video", {"loss": 0}, backend="tun", seeds=1, frames=1200, decoded=True)
    was, now = (one_stream(n, frames=1200, decoded=True).table for n in (1, 2))
    took = now["decode_end_ns"] - now["released_ns"]
    now["decode_end_ns"] = now["released_ns"] + (took * change).astype(np.int64)
    found = compare.compare(
        keep(run_of(case), tmp_path / "a", {case.id: was}), keep(run_of(case), tmp_path / "b", {case.id: now})
    )
    # What ends with the decoder moves with it; nothing moves the other way.
    assert {row.verdict for row in found.rows} == {verdict}
    [row] = [row for row in found.rows if row.metric == "decode_p50"]
    assert not row.gates
    assert row.interval is not None
    assert row.interval[0] < change < row.interval[1]
    assert (row.interval[0] > 1) is (verdict == "slower")
    assert (row.interval[1] < 1) is (verdict == "faster")
    assert row.p_value is not None
    assert row.p_value <= Gate().alpha
    shown = compare.text(found).splitlines()
    [line] = [line for line in shown if "decode_p50" in line]
    assert line.endswith(f"{verdict} (not gated)")
    assert f"[{row.interval[0]:.3f}, {row.interval[1]:.3f}]" in line
    assert shown[-1] == f"{len(found.rows)} of {found.compared} figures moved"


def test_a_comparison_is_a_table_of_what_moved_under_its_warnings() -> None:
    rows = [
        compare.Row("x.n=1", "frames_complete", "frames", 500.0, 400.0, None, None, "regression", gates=True),
        compare.Row("x.n=2", "psnr_mean", "", None, 41.23456, None, None, "changed", gates=True),
        compare.Row("y", "decode_p50", "ms", 0.0, 2.5, (1.125, 1.5), 0.00012, "slower", gates=False),
    ]
    found = compare.Comparison(rows=rows, warnings=["one", "two"], compared=70)
    assert compare.text(found) == (
        "warning: one\n"
        "warning: two\n"
        "case   metric           was         now         now/was           p        verdict\n"
        "x.n=1  frames_complete  500 frames  400 frames  0.800             exact    regression\n"
        "x.n=2  psnr_mean        –           41.235      –                 exact    changed\n"
        "y      decode_p50       0 ms        2.5 ms      – [1.125, 1.500]  0.00012  slower (not gated)\n"
        "3 of 70 figures moved\n"
    )
    assert compare.text(compare.Comparison(compared=70)) == "nothing moved in 70 figures\n"
    assert compare.text(compare.Comparison(warnings=["one"])) == "warning: one\nnothing was compared\n"


@pytest.mark.parametrize("noisy", [0, 1])
def test_the_interval_of_a_ratio_has_the_noise_of_both_runs(noisy: int) -> None:
    rng = np.random.default_rng(7)
    sides = [np.full(40, 2.0), np.full(40, 3.0)]
    sides[noisy] = sides[noisy] * np.exp(rng.normal(size=40) * 0.1)
    low, high = compare._ratio_interval(*sides)
    ratio = float(np.median(sides[1]) / np.median(sides[0]))
    # The median of 40 has a standard error of 1.25 * 0.1 / sqrt(40), 2 %; four of them are 95 %.
    assert low < ratio < high
    assert 0.03 < (high - low) / ratio < 0.16


def test_latencies_without_enough_segments_are_counted_where_both_runs_have_them(
    one_case: Any, one_stream: Any, tmp_path: Path
) -> None:
    case = one_case("video", {"loss": 0}, backend="tun", seeds=1, frames=300, decoded=True)
    simulated = one_case("matrix", {"loss": 5})
    empty = case.model_copy(update={"id": "empty", "metrics": {}})
    for metric in list(case.metrics):
        if metric.endswith("_p50") and metric not in {"encode_p50", "decode_p50", "network_p50"}:
            case.metrics[metric].value = None
    before, now = run_of(case, simulated, empty), run_of(case, simulated, empty).model_copy(deep=True)
    before.cases[0].metrics["network_p50"].value = None
    table = {case.id: one_stream(1, frames=300, decoded=True).table}
    table[simulated.id] = table["empty"] = table[case.id]
    found = compare.compare(keep(before, tmp_path / "a", table), keep(now, tmp_path / "b", table))
    [warning] = found.warnings
    assert warning == "2 latencies have fewer than 10 independent segments and were not judged: run longer"


def test_only_a_figure_that_gates_decides_the_exit_code() -> None:
    def found(verdict: str, *, gates: bool) -> int:
        row = compare.Row("c", "m", "ms", 1.0, 2.0, None, None, verdict, gates)
        return compare.Comparison(rows=[row]).exit_code

    assert found("regression", gates=True) == RegressionError.exit_code
    assert found("regression", gates=False) == 0
    assert found("improvement", gates=True) == 0


def test_what_gates_and_got_worse_is_listed_first(one_case: Any, one_stream: Any, tmp_path: Path) -> None:
    simulated = one_case("matrix", {"loss": 5})
    video = one_case("video", {"loss": 0}, backend="tun", seeds=1, frames=1200, decoded=True)
    was, now = (one_stream(n, frames=1200, decoded=True).table for n in (1, 2))
    now["decode_end_ns"] += (now["decode_end_ns"] - now["released_ns"]) // 5
    before, after = run_of(video, simulated), run_of(video, simulated).model_copy(deep=True)
    after.cases[1].digest = "x"
    after.cases[1].metrics["frames_submitted"].value = 1.0
    after.cases[1].metrics["frames_complete"].value = 400.0
    found = compare.compare(
        keep(before, tmp_path / "a", {video.id: was}), keep(after, tmp_path / "b", {video.id: now})
    )
    verdicts = [(row.gates, row.verdict) for row in found.rows]
    assert verdicts[:3] == [(True, "regression"), (True, "changed"), (False, "slower")]
    lines = compare.text(found).splitlines()
    assert "frames_complete" in lines[2]
    assert " exact " in lines[2]
    assert found.exit_code == RegressionError.exit_code


def test_a_case_that_failed_before_or_real_ones_are_no_measure_for_exact_figures(
    one_case: Any, tmp_path: Path
) -> None:
    before = run_of(one_case("matrix", {"loss": 5}), one_case("matrix", {"loss": 9}))
    before.cases[0].status = Status.FAILED
    before.cases[1].backend = "tun"
    now = before.model_copy(deep=True)
    for case in now.cases:
        case.digest = "x"
        case.metrics["frames_complete"].value = 0.0
    found = compare.compare(keep(before, tmp_path / "a"), keep(now, tmp_path / "b"))
    assert (found.compared, found.rows, found.exit_code) == (0, [], 0)


def doubts(a: RunResult, b: RunResult, tmp_path: Path) -> list[str]:
    return compare.compare((a, tmp_path), (b, tmp_path)).warnings


def test_every_reason_not_to_believe_a_comparison_is_said_by_itself(one_case: Any, tmp_path: Path) -> None:
    one, two, three = (one_case("matrix", {"loss": n}) for n in (1, 2, 3))
    run = run_of(one, two)
    here = {"machine_class": "m", "kernel": "k"}
    for other, says in (
        (run_of(one, two, environment=here | {"machine_class": "n"}), "machines of another class (m and n)"),
        (run_of(one, two, environment=here | {"kernel": "l"}), "another kernel (k and l)"),
        (run_of(one, two, scenario="t"), "of different scenarios (s and t)"),
        (run_of(one, two, verdict=Status.INTERRUPTED), "the second run ended interrupted"),
        (run_of(one, two, verdict=Status.FAULT), "the second run ended fault"),
        (run_of(one), f"1 cases are in one run only and were not compared, such as {two.id}"),
        (run_of(one, two, three), f"1 cases are in one run only and were not compared, such as {three.id}"),
    ):
        [warning] = doubts(run, other, tmp_path)
        assert says in warning
    for verdict_of_first in (Status.INTERRUPTED, Status.FAULT):
        [warning] = doubts(run_of(one, two, verdict=verdict_of_first), run, tmp_path)
        assert warning == f"the first run ended {verdict_of_first.value}"
    assert doubts(run, run_of(one, two, verdict=Status.FAILED), tmp_path) == []
    only, common = doubts(run_of(one), run_of(two), tmp_path)
    assert only.startswith("2 cases are in one run only")
    assert common == "the runs have no case in common"


def test_another_seed_is_a_doubt_that_names_its_first_case(one_case: Any, tmp_path: Path) -> None:
    run = run_of(*(one_case("matrix", {"loss": n}) for n in (1, 2, 3)))
    other = run.model_copy(deep=True)
    other.cases[1].seed = other.cases[2].seed = 99
    [warning] = doubts(run, other, tmp_path)
    assert warning.startswith(f"2 cases have another seed, such as {run.cases[1].id}")


def test_segments_grow_until_neighbours_no_longer_resemble_each_other() -> None:
    rng = np.random.default_rng(4)
    alone = np.exp(rng.normal(size=12_000) * 0.01)
    assert compare._segments(alone).size == 12_000 // compare.SHORTEST_SEGMENT
    # A drift that takes thousands of frames: segments of 60 resemble the next dozen of them.
    slow = remembering(rng.normal(size=12_000), 0.9995)
    drifting = compare._segments(np.exp(slow / slow.std() * 0.05))
    assert compare.FEWEST_SEGMENTS <= drifting.size < 12_000 // compare.SHORTEST_SEGMENT // 4
    short = compare._segments(np.exp(slow[: 15 * compare.SHORTEST_SEGMENT]))
    assert short.size == 15, "too few to halve once more"


def test_two_recordings_of_one_drifting_machine_are_seldom_taken_for_a_change() -> None:
    seed, flagged = 11, 0
    rng = np.random.default_rng(seed)
    for _ in range(40):
        noise = [remembering(row, 0.999) * 0.002 for row in rng.normal(size=(2, 6_000))]
        a, b = (compare._segments(np.exp(side)) for side in noise)
        flagged += stats.mann_whitney(a, b) <= Gate().alpha
    assert flagged <= 4, f"seed {seed}: {flagged} of 40"


def test_what_is_no_run_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there is no run") as refused:
        runs.load(tmp_path)
    assert refused.value.hint == "give the folder of a run, or its run.json"
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ResultsError, match="not the result of a run"):
        runs.load(tmp_path)


# --- interleaved --------------------------------------------------------------------------------------------


def test_the_commands_find_runs_by_name_and_exit_by_what_they_found(
    one_case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_of(one_case("matrix", {"loss": 5}))
    now = before.model_copy(deep=True)
    now.cases[0].digest = "x"
    now.cases[0].metrics["frames_complete"].value = 400.0
    keep(before, tmp_path / "before")
    keep(now, tmp_path / "now")
    out, kept = ["--out", str(tmp_path)], ["--folder", str(tmp_path / "baselines")]
    assert cli.main(["compare", "before", "now", *out]) == 3
    assert "frames_complete" in capsys.readouterr().out
    assert cli.main(["compare", "before", "before", *out]) == 0
    assert cli.main(["baseline", "now", "--check", *kept, *out]) == ResultsError.exit_code
    assert cli.main(["baseline", "before", *kept, *out]) == 0
    assert cli.main(["baseline", "before", "--check", *kept, *out]) == 0
    capsys.readouterr()
    assert cli.main(["baseline", "now", "--check", *kept, *out]) == 3
    assert "frames_complete was 500, is 400 (regression)" in capsys.readouterr().out
    assert cli.main(["report", "now", *out]) == 0
    assert (tmp_path / "now" / "report.html").is_file()
    assert cli.main(["compare", "before", "gone", *out]) == ResultsError.exit_code
    assert "the latest are before, now" in capsys.readouterr().err
