"""The table of ``nox -s bench``: every target has a row, verdicts follow figures, and files are held to bounds."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from harness.analysis.results import Quietness
from punktfunk.errors import LaterVersionError, ResultsError
from tests.bench.table import __main__ as program
from tests.bench.table import programs, reference, result, text
from tests.bench.table.figures import MAX_BYTES, BenchError, Figures, Output, inverse, read, spread
from tests.bench.table.targets import CORE, Target, targets
from tests.bench.table.verdict import Row, Verdict, judge

QUIET = Quietness(quiet=True, seconds=9, cpus=2, others=0.01, others_worst=0.02, own=0.5, run_delay=0.01)
BUSY = QUIET.model_copy(
    update={"quiet": False, "others": 0.6, "reasons": ["other processes took 60% of 2 CPUs"]}
)


def target(judged: str = "ratio", wanted: float = 2.5, unit: str = "GB/s") -> Target:
    return Target(
        row="gf16/encode/50+10",
        title="a title",
        bench="rivals",
        rival="R",
        judged=judged,
        unit=unit,
        target=wanted,
    )


def figures(ratio: float = 2.5, **more: Any) -> Figures:
    row = {
        "work": "gf16/encode/50+10",
        "ours": (8, 7, 9),
        "rival": (3, 2, 4),
        "ratio": (ratio, ratio / 2, ratio * 2),
    }
    return Figures.model_validate(row | more)


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


# --- figures


def test_a_spread_is_median_smallest_and_largest_also_of_what_they_are_one_over() -> None:
    assert spread([4.0, 1.0, 2.0]) == (2, 1, 4)
    assert spread([4.0, 1.0]) == (2.5, 1, 4)
    assert inverse((2, 1, 4)) == (0.5, 0.25, 1)


def test_figures_of_a_bench_are_read_in_the_units_of_the_table(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    row = {"work": "a", "ours": [1.048576, 0.5, 2], "ratio": None, "new": 1, "extra": {"lost": 3}}
    file.write_text(
        json.dumps({"kernel": "avx2", "rows": [row, {"work": "b", "failed": "needs root"}], "new": 2})
    )
    output = read(file)
    found = output.find("a")
    assert output.kernel == "avx2"
    assert found is not None
    assert found.ours is not None
    assert found.throughput(found.ours, "MiB/s")[0] == pytest.approx(1000)
    assert found.throughput(found.ours, "Gbit/s")[2] == pytest.approx(16)
    assert (found.ratio, found.extra) == (None, {"lost": 3})
    assert output.find("c") is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"ours": [1, 2, 3]}, "median has to lie between"),
        ({"ours": [3, 1, 2]}, "median has to lie between"),
        ({"ours": [1, 1]}, "rows.0.ours"),
        ({"ours": [0, 0, 0]}, "greater than 0"),
        ({"ratio": [-1, -2, 3]}, "greater than 0"),
        ({"rival": [float("nan")] * 3}, "rows.0.rival"),
        ({"ratio": [float("inf")] * 3}, "rows.0.ratio"),
        ({"unit": "furlongs"}, "is in furlongs"),
        ({"work": "x" * 201}, "rows.0.work"),
        ({"extra": {str(n): n for n in range(21)}}, "rows.0.extra"),
    ],
)
def test_figures_that_are_none_are_refused_by_name(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"kernel": "k", "rows": [{"work": "a", **row}]}))
    with pytest.raises(BenchError, match=said):
        read(file)


def test_a_bench_that_kept_nothing_or_too_much_is_told(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="kept no figures"):
        read(tmp_path / "none.json")
    whole = json.dumps({"rows": []})
    (tmp_path / "most.json").write_text(whole.ljust(MAX_BYTES))
    assert read(tmp_path / "most.json").rows == []
    (tmp_path / "more.json").write_text(whole.ljust(MAX_BYTES + 1))
    with pytest.raises(BenchError, match="more than 4 MiB"):
        read(tmp_path / "more.json")
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [{"work": "a"}] * 1001}))
    with pytest.raises(BenchError, match="rows"):
        read(tmp_path / "rows.json")


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


def test_a_kernel_that_somebody_named_is_measured_and_not_judged() -> None:
    row = judge(target(), figures(), QUIET, named_kernel="avx2")
    assert (row.verdict, row.reason) == (Verdict.NOT_JUDGED, "PUNKTFUNK_FEC_KERNEL=avx2 is set")
    assert row.value == (2.5, 1.25, 5)


# --- programs


def test_the_build_is_the_wheels_whatever_stands_in_the_environment() -> None:
    kept = {"PATH": "/bin", "CARGO_TARGET_DIR": "t", "PUNKTFUNK_ISAL": "l"}
    changes = {
        "RUSTFLAGS": "-C target-cpu=native",
        "CARGO_ENCODED_RUSTFLAGS": "",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS": "",
        "CARGO_PROFILE_RELEASE_LTO": "fat",
        "CARGO_PROFILE_BENCH_DEBUG": "2",
    }
    assert programs.default_build(kept | changes) == kept


def test_programs_are_those_that_cargo_names() -> None:
    def artifact(name: str, executable: str | None) -> str:
        return json.dumps({"reason": "compiler-artifact", "target": {"name": name}, "executable": executable})

    said = "\n".join(
        [
            "Compiling",
            artifact("libc", None),
            artifact("a", "/t/a-1"),
            json.dumps({"reason": "build-finished"}),
        ]
    ).encode()
    assert programs.programs(said, ["a"]) == {"a": Path("/t/a-1")}
    with pytest.raises(BenchError, match="no program of the bench b"):
        programs.programs(said, ["a", "b"])


def test_a_program_that_fails_is_told_by_its_last_words(tmp_path: Path) -> None:
    failing = [sys.executable, "-S", "-c", "import sys; sys.exit('x' * 9000 + '\\nbytes \\x1b[31mdiffer')"]
    with pytest.raises(BenchError) as error:
        programs.run(failing, {}, tmp_path)
    assert str(error.value) == "ended with status 1: bytes \\x1b[31mdiffer"


def test_a_bench_runs_again_until_the_machine_was_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(tries: int, *found: Quietness) -> tuple[int, Quietness, int]:
        left, done, told = list(found), [], []
        monkeypatch.setattr(programs, "Watch", lambda: FakeWatch(left.pop(0)))
        value, machine = programs.watched(lambda: done.append(0) or len(done), tries, busy=told.append)
        return value, machine, len(told)

    assert watched(2, QUIET) == (1, QUIET, 0)
    assert watched(3, BUSY, BUSY, QUIET) == (3, QUIET, 2)
    assert watched(2, BUSY, BUSY) == (2, BUSY, 1)


class FakeWatch:
    """A watch that finds what it is told to: the suite's own machine is busy."""

    def __init__(self, found: Quietness) -> None:
        self.found = found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


# --- the reference


def keep(folder: Path, row: str, size: int, times: list[float], iterations: list[float]) -> None:
    """Write samples as criterion keeps them."""
    made = folder / "pipeline" / row.replace("/", "_") / "new"
    made.mkdir(parents=True)
    (made / "benchmark.json").write_text(json.dumps({"full_id": row, "throughput": {"Bytes": size}}))
    (made / "sample.json").write_text(json.dumps({"times": times, "iters": iterations}))


def test_throughputs_of_the_reference_are_medians_of_its_samples(tmp_path: Path) -> None:
    keep(tmp_path, "pipeline/gf16/65536", 65536, [1000, 4000, 9000], [1, 2, 3])
    keep(tmp_path, "pipeline/gf8/1048576", 1 << 20, [1e6], [1])
    old = tmp_path / "pipeline" / "pipeline_gf8_1048576" / "base"
    old.mkdir()
    (old / "benchmark.json").write_text("{}")
    assert reference.throughputs(tmp_path) == pytest.approx(
        {"pipeline/gf16/65536": 65536 / 2e-6, "pipeline/gf8/1048576": (1 << 20) / 1e-3}
    )


@pytest.mark.parametrize(
    ("times", "iterations"), [([1.0], [1.0, 2.0]), ([1.0], [0]), ([], []), (["1"], [1]), ([0.0], [1])]
)
def test_samples_that_are_none_are_refused(tmp_path: Path, times: list[Any], iterations: list[Any]) -> None:
    keep(tmp_path, "pipeline/gf16/65536", 65536, times, iterations)
    with pytest.raises(BenchError, match="samples are not as expected"):
        reference.throughputs(tmp_path)


def test_a_reference_without_samples_or_with_any_number_of_them_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BenchError, match="kept no samples"):
        reference.throughputs(tmp_path)
    keep(tmp_path, "a", 1, [1.0], [1])
    (tmp_path / "pipeline" / "a" / "new" / "sample.json").write_text(" " * (reference.MAX_SAMPLES + 1))
    with pytest.raises(BenchError, match="too long"):
        reference.throughputs(tmp_path)
    monkeypatch.setattr(reference, "MAX_ROWS", 0)
    with pytest.raises(BenchError, match="more than 0 rows"):
        reference.throughputs(tmp_path)


def test_a_folder_that_is_no_checkout_of_the_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="wants a checkout of the Rust reference"):
        reference.Reference(tmp_path, {})


@pytest.mark.parametrize(
    ("row", "size"), [("p/a/20 kB", 20_000), ("p/a/64 KiB", 65_536), ("p/a/4 MiB", 4_194_304)]
)
def test_sizes_of_frames_are_read_from_the_names_of_rows(row: str, size: int) -> None:
    assert reference.frame_bytes(row) == size


def test_each_turn_beside_the_reference_gives_one_ratio() -> None:
    row = "pipeline/gf16/64 KiB"
    ours = [
        Output(rows=[Figures(work=row, ours=(median, 0.001, 99), rival=(1, 1, 1), ratio=(1, 1, 1))])
        for median in (2.0, 3.0, 1.0)
    ]
    theirs = [{"pipeline/gf16/65536": throughput} for throughput in (1e9, 2e9, 4e9)]
    found = reference.beside(row, ours, theirs)
    assert found.ours == (2, 1, 3)
    assert found.rival == (2, 1, 4)
    assert found.ratio == (1.5, 0.25, 2)
    assert reference.beside("pipeline/gf16/20 kB", ours, theirs).failed == "the bench session has no such row"
    assert (
        reference.beside(row, ours, [{}, {}, {}]).failed == "the reference's bench has no pipeline/gf16/65536"
    )


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


# --- the whole program, with benches that are scripts


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Return what runs the program: benches are a script that keeps ``rows``, the reference one that keeps samples."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text(
        '#!/bin/sh\n[ -e "$0.broken" ] && { echo "bytes differ" >&2; exit 101; }\ncp "$0.json" "$3"\n'
    )
    theirs.write_text('#!/bin/sh\ncp -r "$0.samples/." "$CRITERION_HOME"\n')
    for script in (ours, theirs):
        script.chmod(0o755)
    checkout = tmp_path / "checkout"
    (checkout / "crates/punktfunk-core/benches").mkdir(parents=True)
    (checkout / "crates/punktfunk-core/benches/pipeline.rs").touch()
    keep(tmp_path / "theirs.samples", "pipeline/gf16/65536", 65536, [65536.0], [1])  # 1 GB/s
    monkeypatch.setattr(programs, "Watch", lambda: FakeWatch(QUIET))
    monkeypatch.setattr(
        programs,
        "build",
        lambda manifest, benches, *_: dict.fromkeys(
            benches, theirs if checkout in manifest.parents else ours
        ),
    )
    monkeypatch.delenv("PUNKTFUNK_FEC_KERNEL", raising=False)

    def run(*arguments: str, rows: list[dict[str, Any]]) -> tuple[int, str]:
        (tmp_path / "ours.json").write_text(json.dumps({"kernel": "avx2", "rows": rows}))
        monkeypatch.setattr(sys, "argv", ["table", *arguments])
        status = program.main()
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_a_table_is_measured_kept_and_compared(run: Callable[..., Any], tmp_path: Path) -> None:
    rows = [figures(2.0).model_dump(mode="json")]
    status, said = run("--only", "gf16/encode", "--json", str(tmp_path / "old.json"), rows=rows)
    assert status == 0
    assert "1 reached, 4 not judged" in said
    assert "not judged: rivals has no such row" in said
    rows[0]["ratio"] = [1.9, 0.95, 3]
    status, said = run("--only", "gf16/encode", "--compare", str(tmp_path / "old.json"), rows=rows)
    assert (status, "1 missed, 4 not judged" in said, "2.00 (level)" in said) == (0, True, True)


def test_rows_beside_the_reference_are_judged_with_one_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    row = {"work": "pipeline/gf16/64 KiB", "ours": [3.5, 3, 4], "rival": [4, 4, 4], "ratio": [0.8, 0.7, 0.9]}
    status, said = run("--only", "session", rows=[row])
    assert (status, said.count("not judged: no reference")) == (0, 1)
    assert "1 reached, 11 not judged" in said  # its time over its parts, 1.25
    status, said = run("--only", "session", "--reference", str(tmp_path / "checkout"), rows=[row])
    assert status == 0
    assert "3.500 (3.500 … 3.500)  ≥ 3.5" in said
    assert "2 reached, 10 not judged" in said


def test_a_bench_that_fails_is_told_in_its_rows_and_by_the_status(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "ours.broken").touch()
    status, said = run("--only", "gf16/encode", rows=[])
    assert (status, said.count("not judged: rivals ended with status 101: bytes differ")) == (1, 5)


def test_wrong_arguments_end_before_anything_is_measured(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (["--only", "gf32"], ["--tries", "0"], ["--json", str(tmp_path / "no" / "table.json")]):
        with pytest.raises(SystemExit) as ended:
            run(*wrong, rows=[])
        assert ended.value.code == 2
        assert "bench: measuring" not in capsys.readouterr().err
    status, said = run("--compare", str(tmp_path / "no.json"), rows=[])
    assert (status, "cannot be read" in said, "measuring" in said) == (1, True, False)
