"""Runs of very many cases beyond their report: loaded, compared, kept in the data set, sent to somebody."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from harness.analysis import case_files, case_source, compare_tables, exchange, history, runs
from harness.analysis.case_table import VERSION_KEY
from harness.cli import main
from harness.run import many
from punktfunk.errors import ResultsError, UsageError
from tests.support.hostile_text import ATTACK, harm

SCENARIO = """
name: cells
for: {loss: [0 %, 8 %], size: [1200 B, 6 kB], length: [7, 9]}
media: {frames: "${length}", frame_bytes: "${size}", key_interval: 0}
stream: {fec: 30 %}
link: {backend: sim, down: {loss: "${loss}"}}
expect: [frames_corrupt == 0]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of one run twice: with a table of its eight cases, and with a folder for each."""
    place = tmp_path_factory.mktemp("cells")
    (place / "cells.yaml").write_text(SCENARIO, encoding="utf-8")
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for most in (3, 100):
            patch.setattr(many, "EACH_UP_TO", most)
            assert main(["run", "cells.yaml", "--no-charts", "-j", "1", "--out", f"out{most}"]) == 0
            (folder,) = (place / f"out{most}").iterdir()
            found.append(folder)
    return found[0], found[1]


def tiled(
    source: Path, to: Path, times: int, change: Callable[[list[dict[str, Any]]], None] | None = None
) -> Path:
    """Write a run whose rows are those of another as often, each with a value of a further axis."""
    to.mkdir()
    rows = []
    once = case_files.read_part(source / "cases.parquet").to_pylist()
    for number in range(times):
        for row in once:
            place = len(rows)
            rows.append(row | {"place": place, "id": f"{row['id']},n={number}", "axis.n": str(number)})
    if change is not None:
        change(rows)
    schema = case_files.schema_of([source / "cases.parquet"]).append(pa.field("axis.n", pa.string()))
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"1"}), to / "cases.parquet")
    run = json.loads((source / "run.json").read_text(encoding="utf-8"))
    run["run_id"], run["table"]["asked"] = to.name, len(rows)
    (to / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return to


def test_a_table_is_loaded_as_the_cases_with_folders_are(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_source, "ROWS", 3)
    rows, folders = (harness.load(folder) for folder in made)
    # What each run says of itself, and what only a folder keeps.
    apart = ["run", "started", "duration", "checks", "host", "client", "axis_length"]
    pd.testing.assert_frame_equal(rows.cases.drop(columns=apart), folders.cases.drop(columns=apart))
    assert rows.cases["axis_length"].tolist() == folders.cases["axis_length"].tolist() == [7.0, 9.0] * 4
    keys = ["case", "metric"]
    figures = [
        frame.drop(columns="run").astype(dict.fromkeys([*keys, "unit", "better"], object)).sort_values(keys)
        for frame in (rows.figures, folders.figures)
    ]
    pd.testing.assert_frame_equal(*(frame.reset_index(drop=True) for frame in figures))
    assert rows.cases.attrs["units"] == folders.cases.attrs["units"]
    for empty in (rows.frames, rows.stages, rows.links, rows.ledger):
        assert empty.empty
    # A part of it, by rows and by columns.
    lossy = rows.where(axis_loss="8 %")
    assert lossy.read("cases", ["seed"])["case"].nunique() == 4
    assert set(lossy.figures["case"]) == set(lossy.cases["case"])
    some = rows.measured("recovery", "goodput")
    assert some["recovery"].tolist() == folders.cases["recovery"].tolist()
    assert "packets_lost" not in some
    pd.testing.assert_frame_equal(
        folders.measured("recovery", "goodput")[["case", "goodput"]], some[["case", "goodput"]]
    )
    assert set(rows.read("figures", metrics=["recovery"])["metric"]) == {"recovery"}
    with pytest.raises(UsageError, match="there is no metric 'recovry'"):
        rows.measured("recovry")
    # Beside others it is loaded where it is named.
    both = harness.load(*made)
    assert both.cases["run"].value_counts().tolist() == [8, 8]
    assert both.cases["recovery"].tolist() == 2 * folders.cases["recovery"].tolist()
    with pytest.raises(ResultsError):
        harness.load(made[0].parent.parent / "nothing")


def test_rows_that_stand_twice_after_a_kill_are_loaded_once(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tiled(made[0], tmp_path / "run", 1)
    (folder / "cases").mkdir()
    shutil.copy(folder / "cases.parquet", folder / "cases" / "00000000-x.parquet")
    assert harness.load(folder).cases["case"].is_unique


def test_a_comparison_of_two_tables_says_which_figure_moved_and_on_which_values_of_which_axis(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def planted(rows: list[dict[str, Any]]) -> None:
        luck = np.random.default_rng(5)
        for row in rows:
            if row["axis.size"] == "6 kB":
                row["metric.recovery"] -= 0.25
                row["digest"] += "x"
            row["metric.packets_sent"] += int(luck.integers(-3, 4))
        rows[7]["status"] = "fault"
        rows[5]["seed"] += 1
        rows[1]["metric.recovery"] = None

    before, now = (
        tiled(made[0], tmp_path / name, 20, change) for name, change in (("a", None), ("b", planted))
    )
    assert main(["compare", str(before), str(before)]) == 0
    assert "160 of 160 cells are equal to the byte; 0 of " in capsys.readouterr().out
    assert main(["compare", str(before), str(now)]) == 3
    said = capsys.readouterr().out.splitlines()
    assert "warning: 1 cells have another seed or protocol and were not compared" in said
    assert "warning: 1 cells came to a result before and to none now and were not compared" in said
    rows = {tuple(re.split(r"  +", line)[:2]): re.split(r"  +", line) for line in said}
    whole, facet = rows["recovery", "all cells"], rows["", "size 6 kB"]
    assert (whole[2:5], whole[-1]) == (["157", "79", "79"], "regression")
    assert (facet[2:5], facet[-1]) == (["79", "79", "79"], "regression")
    assert not any(line.strip().startswith(("size 1200", "loss")) for line in said), (
        "it moved there as everywhere"
    )
    assert rows["packets_sent", "all cells"][-1] == "either way"
    (line,) = [line for line in said if line.startswith("farthest for the worse in recovery: ")]
    assert "size=6kB" in line
    found = compare_tables.compare(runs.load(now), runs.load(before))
    assert (found.exit_code, found.moved[-1].metric) == (0, "packets_sent")
    assert {each.metric: each.everywhere.verdict for each in found.moved}["recovery"] == "improvement"


def test_cells_that_are_lost_are_a_regression(made: tuple[Path, Path], tmp_path: Path) -> None:
    def lost(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["status"] = "fault"

    before, now = tiled(made[0], tmp_path / "a", 1), tiled(made[0], tmp_path / "b", 1, lost)
    found = compare_tables.compare(runs.load(before), runs.load(now))
    assert (found.lost, found.compared, found.exit_code) == (8, 0, 3)
    found = compare_tables.compare(runs.load(now), runs.load(before))
    assert (found.lost, found.exit_code) == (0, 0)


def test_a_table_is_compared_with_a_part_of_it_that_has_folders(
    made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for a, b in (made, made[::-1]):
        assert main(["compare", str(a), str(b)]) == 0
        assert capsys.readouterr().out.startswith("8 of 8 cells are equal to the byte; 0 of ")


def test_a_table_is_kept_in_the_data_set_and_followed_over_commits(
    made: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(case_source, "ROWS", 3)
    assert main(["archive", str(made[0]), "--to", str(tmp_path / "set")]) == 0
    assert f"8 cases of {made[0].name}" in capsys.readouterr().out
    kept, loaded = harness.load(tmp_path / "set"), harness.load(made[0])
    pd.testing.assert_frame_equal(kept.cases, loaded.cases)
    assert len(kept.figures) == len(loaded.figures)
    pd.testing.assert_frame_equal(kept.measured("recovery"), loaded.measured("recovery"))
    found = history.history(kept, metrics=["recovery"])
    assert len(found.series) == 8
    monkeypatch.setattr(history, "MAX_FIGURES", 7)
    with pytest.raises(ResultsError, match="8 figures, more than 7"):
        history.history(kept, metrics=["recovery"])


def sent(made: tuple[Path, Path], tmp_path: Path) -> Path:
    file = tmp_path / "sent.zip"
    assert main(["export", str(made[0]), str(file)]) == 0
    return file


def test_a_table_that_is_exported_and_imported_is_the_same(made: tuple[Path, Path], tmp_path: Path) -> None:
    file = sent(made, tmp_path)
    assert main(["import", str(file), "--out", str(tmp_path)]) == 0
    folder = tmp_path / made[0].name
    assert sorted(path.name for path in folder.iterdir()) == ["cases.parquet", "run.json"]
    was, now = (case_files.read_part(place / "cases.parquet") for place in (made[0], folder))
    assert now.schema.names == was.schema.names
    assert now.to_pylist() == was.to_pylist()
    assert main(["report", str(folder)]) == 0
    # What holds no table is written as before, for versions that know none.
    for place, version in ((made[0], 2), (made[1], 1)):
        exchange.export(*runs.load(place), tmp_path / "again.zip")
        with zipfile.ZipFile(tmp_path / "again.zip") as archive:
            assert json.loads(archive.read("about.json"))["schema_version"] == version


def row(names: list[str], rows: list[list[Any]], name: str, value: Any) -> None:
    rows[0][names.index(name)] = value


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda n, r: row(n, r, "place", 8), "a row is of case 8"),
        (lambda n, r: row(n, r, "place", 1), "a row is of case 1"),
        (lambda n, r: row(n, r, "place", True), "True in place"),
        (lambda n, r: row(n, r, "status", "fine"), "no status that there is"),
        (lambda n, r: row(n, r, "id", None), "a row has no id"),
        (lambda n, r: row(n, r, "id", 7), "7 in id"),
        (lambda n, r: row(n, r, "seed", 1 << 70), "its rows are none"),
        (lambda n, r: row(n, r, "metric.recovery", float("nan")), "nan in metric.recovery"),
        (lambda n, r: row(n, r, "reason", "x" * 20_001), "in reason"),
        (lambda n, r: (n.append("failed_checks"), [each.append("[7]") for each in r]), "says what did not hold"),
        (lambda n, r: r[0].append(1), "as many values as there are columns"),
        (lambda n, r: (n.append("axis." + "x" * 200), [each.append(None) for each in r]), "have no column"),
        (lambda n, r: (n.append(ATTACK), [each.append(None) for each in r]), "have no column"),
        (lambda n, r: (n.append("id"), [each.append(None) for each in r]), "do not say their columns"),
        (lambda n, r: n.clear(), "do not say their columns"),
        (lambda n, r: r.clear(), "it has no rows"),
    ],
)  # fmt: skip
def test_rows_that_are_none_of_ours_are_refused(
    change: Callable[[list[str], list[list[Any]]], object], why: str, made: tuple[Path, Path], tmp_path: Path
) -> None:
    refused(made, tmp_path, change, why)


def refused(made: tuple[Path, Path], tmp_path: Path, change: Any, why: str) -> None:
    file = tmp_path / "sent.zip"
    exchange.export(*runs.load(made[0]), file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names, *rows = map(json.loads, members["cases.jsonl"].splitlines())
    change(names, rows)
    members["cases.jsonl"] = "".join(json.dumps(line) + "\n" for line in [names, *rows]).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ResultsError, match=re.escape(why)) as error:
        exchange.unpack(file, tmp_path)
    assert list(tmp_path.iterdir()) == [file]
    assert not harm(str(error.value))


def test_lines_without_end_and_tables_elsewhere_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    file = sent(made, tmp_path)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    run = json.loads(members["run.json"])
    lines = members["cases.jsonl"]
    for changed, why in (
        ({"cases.jsonl": b"[" + b" " * (1 << 20)}, "more than 262144 bytes"),
        ({"cases.jsonl": lines + b"nonsense\n"}, "a row is no JSON"),
        ({"cases.jsonl": None}, "its cases are in a table"),
        ({"run.json": json.dumps(run | {"table": None}).encode()}, "its cases are in a table"),
        ({"run.json": json.dumps(run | {"table": {"file": "../x", "asked": 8}}).encode()}, "in another file"),
    ):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (members | changed).items():
                if content is not None:
                    archive.writestr(name, content)
        with pytest.raises(ResultsError, match=why):
            exchange.unpack(file, tmp_path)
        assert list(tmp_path.iterdir()) == [file]
