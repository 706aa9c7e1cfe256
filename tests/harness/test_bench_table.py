"""The table of ``nox -s bench``: every target has a row, verdicts follow figures, and a kept table has bounds."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.results import Quietness
from punktfunk.errors import LaterVersionError, ResultsError
from tests.bench.table import __main__ as program
from tests.bench.table import result, text
from tests.bench.table.figures import MAX_BYTES, Figures
from tests.bench.table.targets import CORE, targets
from tests.bench.table.verdict import Row, Verdict, judge
from tests.support.bench_rows import BUSY, QUIET, figures, target

# --- targets


def test_every_row_of_the_table_has_one_target_and_a_bench_that_is_there() -> None:
    listed = targets()
    assert len({row.key for row in listed}) == len(listed)
    of = {
        (row.judged, row.bench): sum((r.judged, r.bench) == (row.judged, row.bench) for r in listed)
        for row in listed
    }
    assert of == {
        ("ratio", "rivals"): 15,
        ("ratio", "isal"): 15,
        ("reference", "session"): 8,
        ("parts", "session"): 4,
        ("ratio", "gamestream"): 2,
        ("figure", "dataplane"): 1,
    }
    benches = {bench["name"] for bench in tomllib.loads((CORE / "Cargo.toml").read_text())["bench"]}
    assert {row.bench for row in listed} - set(program.IN_PYTHON) <= benches
    assert all(file.is_file() for file in program.IN_PYTHON.values())


def test_names_of_rows_leave_out_what_their_title_says() -> None:
    short = {row.row: row.short for row in targets()}
    assert short["gf16/decode/50+10/1 lost"] == "50+10/1 lost"
    assert short["pipeline/gf8/64 KiB"] == "64 KiB"
    assert short["gamestream/1 MiB, whole"] == "1 MiB, whole"


# --- verdicts


@pytest.mark.parametrize(
    ("judged", "ratio", "ends"),
    [
        ("ratio", 2.5, Verdict.REACHED),
        ("ratio", 2.499, Verdict.MISSED),
        ("reference", 2.5, Verdict.REACHED),
        ("reference", 2.499, Verdict.MISSED),
        ("parts", 0.4, Verdict.REACHED),  # 1 / 2.5
        ("parts", 0.399, Verdict.MISSED),
    ],
)
def test_a_ratio_is_judged_at_its_target(judged: str, ratio: float, ends: Verdict) -> None:
    assert judge(target(judged), figures(ratio), QUIET).verdict is ends


def test_the_time_over_the_parts_is_one_over_the_ratio_to_them() -> None:
    row = judge(target("parts", 1.3), figures(0.8), QUIET)
    assert row.value == pytest.approx((1.25, 0.625, 2.5))


@pytest.mark.parametrize(("wanted", "ends"), [(64.0, Verdict.REACHED), (64.1, Verdict.MISSED)])
def test_a_figure_is_judged_in_the_unit_of_its_target(wanted: float, ends: Verdict) -> None:
    row = judge(target("figure", wanted, "Gbit/s"), figures(99), QUIET)
    assert (row.verdict, row.value, row.rival) == (ends, (64, 56, 72), (24, 16, 32))


def test_what_a_busy_machine_gave_is_shown_and_not_judged() -> None:
    for machine in (BUSY, None):
        row = judge(target(), figures(), machine)
        assert (row.verdict, row.believed) == (Verdict.BUSY, False)
        assert row.value == (2.5, 1.25, 5)


@pytest.mark.parametrize(
    ("found", "given", "reason"),
    [
        (None, "no reference", "no reference"),
        (None, "", "rivals has no such row"),
        (figures(failed="needs root"), "another", "needs root"),
        (figures(ratio=1).model_copy(update={"ratio": None}), "no rival", "no rival"),
    ],
)
def test_a_row_without_its_figure_says_why(found: Figures | None, given: str, reason: str) -> None:
    row = judge(target(), found, QUIET, reason=given)
    assert (row.verdict, row.reason, row.value) == (Verdict.NOT_JUDGED, reason, None)


def test_what_failed_on_a_busy_machine_is_not_held_against_it() -> None:
    failed = figures(failed="packets were lost at every rate")
    assert judge(target(), failed, QUIET).verdict is Verdict.NOT_JUDGED
    row = judge(target(), failed, BUSY)
    assert (row.verdict, row.reason, row.value) == (Verdict.BUSY, "packets were lost at every rate", None)
    assert judge(target(), None, BUSY, reason="no reference").verdict is Verdict.NOT_JUDGED


def test_a_kernel_that_somebody_named_is_measured_and_not_judged() -> None:
    row = judge(target(), figures(), QUIET, named_kernel="avx2")
    assert (row.verdict, row.reason) == (Verdict.NOT_JUDGED, "PUNKTFUNK_FEC_KERNEL=avx2 is set")
    assert row.value == (2.5, 1.25, 5)


# --- the file and the text


def table(*rows: Row, **more: Any) -> result.Table:
    known: dict[str, Any] = {
        "made": "2026-11-27T08:00:00Z",
        "environment": {"git": "abc", "cpu": "C", "cores": 2, "machine_class": "m"},
        "features": ["gfni"],
        "spans": {"rivals": result.Span(kernel="avx2", machine=QUIET)},
        "rows": list(rows),
    }
    return result.Table.model_validate(known | more)


def test_a_table_is_kept_and_read_again(tmp_path: Path) -> None:
    kept = table(judge(target(), figures(), QUIET), judge(target("parts"), None, None, reason="no reason"))
    result.save(kept, tmp_path / "table.json")
    assert result.load(tmp_path / "table.json") == kept
    assert json.loads((tmp_path / "table.json").read_text())["schema_version"] == 1


def test_tables_that_cannot_be_read_are_refused_and_later_ones_by_name(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    with pytest.raises(ResultsError, match="cannot be read"):
        result.load(file)
    document = json.loads(table().model_dump_json())
    file.write_text(json.dumps(document | {"schema_version": 2}))
    with pytest.raises(LaterVersionError, match="schema_version 2 and this version reads 1"):
        result.load(file)
    for broken in ("[]", "nonsense", json.dumps(document | {"rows": [{"target": {}}]})):
        file.write_text(broken)
        with pytest.raises(ResultsError, match="is no table of a bench"):
            result.load(file)
    file.write_text(json.dumps(document).ljust(MAX_BYTES + 1))
    with pytest.raises(ResultsError, match="longer than"):
        result.load(file)


@pytest.mark.parametrize(
    ("median", "beside", "shown"),
    [(0.899, 0.9, "0.899"), (0.9, 0.9, "0.900"), (0.8, 0.9, "0.80"), (104.4, 100, "104"), (99.96, 100, "99.96"),
     (25.47, 2, "25.5"), (1234.5, None, "1234"), (3.456, None, "3.46")],
)  # fmt: skip
def test_figures_near_their_target_are_shown_on_the_right_side_of_it(
    median: float, beside: float | None, shown: str
) -> None:
    assert text.spread((median, 0.5, 2000), beside).split()[0] == shown


def test_all_of_a_spread_has_as_many_digits_after_the_point_as_its_median_needs() -> None:
    assert text.spread((0.91, 0.8, 1.5), 0.9) == "0.910 (0.800 … 1.500)"
    assert text.spread((0.95, 0.9, 1.5), 0.9) == "0.95 (0.90 … 1.50)"


def test_a_change_is_one_where_no_round_of_one_is_as_good_as_the_others() -> None:
    def row(*value: float, judged: str = "ratio", machine: Quietness = QUIET) -> Row:
        return judge(target(judged), figures(ratio=1).model_copy(update={"ratio": value}), machine)

    was = row(2.0, 1.5, 2.5)
    assert text.change(row(3.0, 2.51, 3.1), was) == "2.00 (+50 %, better)"
    assert text.change(row(3.0, 2.5, 3.1), was) == "2.00 (level)"
    assert text.change(row(1.0, 0.9, 1.5), was) == "2.00 (level)"
    assert text.change(row(1.0, 0.9, 1.49), was) == "2.00 (-50 %, worse)"
    assert text.change(row(3.0, 2.51, 3.1, machine=BUSY), was) == "2.00 (not compared)"
    assert text.change(was, None) == "–"
    # Of a time, less is better: the parts' ratio is one over it.
    before = row(0.5, 0.4, 0.6, judged="parts")
    assert text.change(row(0.8, 0.7, 0.9, judged="parts"), before) == "2.00 (-38 %, better)"


def test_the_text_has_every_row_with_its_verdict_the_machine_and_no_bytes_that_act() -> None:
    shown = table(
        judge(target(), figures(), QUIET),
        judge(target("parts").model_copy(update={"title": "parts"}), None, None, reason="a \x1b[2Jreason"),
        judge(target("figure").model_copy(update={"title": "figure"}), figures(extra={"lost": 3}), BUSY),
        spans={"rivals": {"kernel": "avx2", "machine": QUIET}, "dataplane": {"machine": BUSY}},
    )
    lines = list(text.lines(shown))
    assert "\x1b" not in "".join(lines)
    assert lines[0] == "punktfunk abc, release profile as in the wheel; C, 2 CPUs (gfni)"
    assert any("a title, kernel avx2, GB/s, beside R (in turns in one process" in line for line in lines)
    [row] = [line for line in lines if line.endswith("  reached")]
    assert (
        " ".join(row.split())
        == "50+10 8.00 (7.00 … 9.00) 3.00 (2.00 … 4.00) 2.500 (1.250 … 5.000) ≥ 2.5 reached"
    )
    assert any(line.endswith("≤ 2.5   not judged: a \\x1b[2Jreason") for line in lines)
    assert any(line.endswith("too busy to judge, lost 3") for line in lines)
    assert any(line.startswith("rivals: quiet (others took 1% of 2 CPUs in 9 s") for line in lines)
    assert any(line.startswith("dataplane: busy: other processes took 60% of 2 CPUs") for line in lines)
    assert lines[-1] == "1 reached, 1 not judged, 1 too busy to judge"
    before = table(environment={"git": "b\x1b[2J"})
    [line] = [line for line in text.lines(shown, before) if line.startswith("before: ")]
    assert line.startswith("before: b\\x1b[2J of 2026-11-27 08:00 UTC; ")


def test_features_are_those_of_the_first_processor() -> None:
    assert result.features("processor: 0\nflags\t: fpu avx2 gfni x\n\nprocessor: 1\nflags: vaes\n") == [
        "avx2",
        "gfni",
    ]
    assert result.features("Features : fp asimd pmull\n") == ["asimd", "pmull"]
    assert result.features("") == []
