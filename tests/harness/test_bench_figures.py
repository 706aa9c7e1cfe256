"""Figures that benches keep, and samples of the Rust reference, are read within bounds or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.table import reference
from tests.bench.table.figures import MAX_BYTES, BenchError, Figures, Output, inverse, read, spread
from tests.support.bench_rows import keep

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
        ({"ours": [0, 0, 0]}, "rows.0.*greater than or equal to"),
        ({"ratio": [-1, -2, 3]}, "rows.0.*greater than or equal to"),
        ({"ratio": [1e300, 1, 1e300]}, "less than or equal to 1000000000"),
        ({"rival": [float("nan")] * 3}, "rows.0.rival"),
        ({"ratio": [float("inf")] * 3}, "rows.0.ratio"),
        ({"unit": "furlongs"}, "is in furlongs"),
        ({"work": "x" * 201}, "rows.0.work"),
        ({"extra": {str(n): n for n in range(21)}}, "rows.0.extra"),
        ({"extra": {"lost": float("nan")}}, "rows.0.extra.lost"),
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


# --- the reference


def test_throughputs_of_the_reference_are_medians_of_its_samples(tmp_path: Path) -> None:
    keep(tmp_path, "pipeline/gf16/65536", 65536, [1000, 4000, 9000], [1, 2, 3])
    keep(tmp_path, "pipeline/gf8/1048576", 1 << 20, [1e6], [1])
    old = tmp_path / "pipeline" / "pipeline_gf8_1048576" / "base"
    old.mkdir()
    (old / "benchmark.json").write_text("{}")
    assert reference.throughputs(tmp_path) == pytest.approx(
        {"pipeline/gf16/65536": 65536 / 2e-6, "pipeline/gf8/1048576": (1 << 20) / 1e-3}
    )


NAN, INF = float("nan"), float("inf")
SAMPLES = "pipeline/pipeline_gf16_65536/new/sample.json"


@pytest.mark.parametrize(
    ("times", "iterations", "why"),
    [
        ([1.0], [1.0, 2.0], "1 times of 2 samples"),
        ([], [], "times: List should have at least 1 item"),
        (["1"], [1], "times.0: Input should be a valid number"),
        ([0.0], [1], "times.0: Input should be greater than 0"),
        ([1.0, -1.0], [1, 1], "times.1: Input should be greater than 0"),
        ([1.0], [0], "iters.0: Input should be greater than 0"),
        ([NAN], [1], "times.0: Input should be "),
        ([1.0], [INF], "iters.0: Input should be "),
        ([5e-324], [1e300], "inf bytes a second"),
        ([1e300], [1], "6.55e-287 bytes a second"),
    ],
)
def test_samples_that_are_none_are_refused_by_their_file_and_with_what_helps(
    tmp_path: Path, times: list[Any], iterations: list[Any], why: str
) -> None:
    keep(tmp_path, "pipeline/gf16/65536", 65536, times, iterations)
    with pytest.raises(BenchError) as error:
        reference.throughputs(tmp_path)
    said = str(error.value)
    assert said.startswith(f"criterion kept in {SAMPLES} what is no sample ({why}")
    assert said.endswith(
        "`cargo bench -p punktfunk-core --bench pipeline` in it leaves the same file in target/criterion"
    )


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("[" * 100_000, "recursion limit"),
        ("[]", "should be an object"),
        ('{"full_id": "a"}', "throughput: Field required"),
        (json.dumps({"full_id": "a" * 201, "throughput": {"Bytes": 1}}), "full_id: "),
        (json.dumps({"full_id": "a", "throughput": {"Bytes": 10**400}}), "throughput.Bytes: "),
        (json.dumps({"full_id": "a", "throughput": {"Bytes": 0}}), "throughput.Bytes: "),
    ],
)
def test_a_row_of_criterions_that_is_none_is_refused_likewise(
    tmp_path: Path, document: str, why: str
) -> None:
    keep(tmp_path, "pipeline/gf16/65536", 65536, [1.0], [1])
    (tmp_path / SAMPLES).with_name("benchmark.json").write_text(document)
    with pytest.raises(BenchError, match=f"new/benchmark.json what is no sample .*{why}"):
        reference.throughputs(tmp_path)


def test_a_reference_without_samples_or_with_any_number_of_them_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BenchError, match="kept no samples"):
        reference.throughputs(tmp_path)
    keep(tmp_path, "a", 1, [1.0], [1])
    (tmp_path / "pipeline" / "a" / "new" / "sample.json").write_text(" " * (reference.MAX_SAMPLES + 1))
    with pytest.raises(BenchError, match="longer than 4 MiB"):
        reference.throughputs(tmp_path)
    monkeypatch.setattr(reference, "MAX_ROWS", 0)
    with pytest.raises(BenchError, match="more than 0 rows"):
        reference.throughputs(tmp_path)


def test_a_folder_that_is_no_checkout_of_the_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="wants a checkout of the Rust reference"):
        reference.build(tmp_path, {})


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
