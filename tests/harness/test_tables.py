"""``harness.load``: what results hold is in the DataFrames, with the columns, units and dtypes that the page says."""

from __future__ import annotations

import json
import math
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from harness.analysis import records, runs, stages
from harness.analysis.definitions import METRICS
from harness.analysis.loading import Results
from harness.analysis.results import CaseResult
from harness.analysis.tables import AXIS, STAGE_SUFFIX, TABLES
from harness.cli import main
from punktfunk.errors import LaterVersionError, ResultsError, UsageError
from tests.support.hostile_text import ATTACK, harm

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = Path(__file__).parent / "versions"
HOW_TO = ROOT / "docs/how-to/analyse-a-run.md"

GRID = """
name: grid
media: {source: synthetic, mode: 320x180@60, frame_bytes: 20 kB, frames: 20}
for:
  fec: [10 %, 40 %]
  loss: [0.0, 0.05]
  spread: [1 ms]
stream: {fec: "${fec}"}
link:
  backend: sim
  down: {loss: {rate: "${loss}", burst: 3}, delay: 7 ms, jitter: "${spread}", rate: 50 Mbit/s, queue_packets: 90}
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a simulated run of today's version."""
    place = tmp_path_factory.mktemp("grid")
    (place / "grid.yaml").write_text(GRID, encoding="utf-8")
    assert main(["run", str(place / "grid.yaml"), "--out", str(place / "out"), "--plain", "--no-charts"]) == 0
    [folder] = (place / "out").iterdir()
    return folder


def every_version(grid: Path) -> Results:
    return harness.load(grid, *sorted(VERSIONS.glob("*.json")))


# --- what is there ------------------------------------------------------------------------------------------


def test_runs_of_every_version_have_the_columns_and_dtypes_of_the_page(grid: Path) -> None:
    results = every_version(grid)
    for name, table in TABLES.items():
        frame: pd.DataFrame = getattr(results, name)
        assert list(frame.columns[: len(table.columns)]) == list(table.names)
        assert {c.name: str(frame[c.name].dtype) for c in table.columns} == {
            c.name: c.kind.value for c in table.columns
        }
        assert frame.attrs["units"].items() >= {c.name: c.unit for c in table.columns if c.unit}.items()
    more = list(results.cases.columns[len(TABLES["cases"].columns) :])
    assert more == [f"{AXIS}fec", f"{AXIS}loss", f"{AXIS}spread", *METRICS]
    assert set(results.cases.dtypes[list(METRICS)].astype(str)) == {"float64"}
    assert str(results.cases[f"{AXIS}loss"].dtype) == "float64"
    assert list(results.cases[f"{AXIS}fec"].cat.categories) == ["10 %", "40 %"]
    assert results.cases.attrs["units"]["recovery"] == "fraction"
    assert results.cases.groupby("run", observed=True).size().tolist() == [4, 2, 2]


def test_the_figures_of_every_version_are_those_of_its_file(grid: Path) -> None:
    for place in (grid, *VERSIONS.glob("*.json")):
        run, _ = runs.load(place)
        results = harness.load(place)
        wide = results.cases.set_index("case")
        long = results.figures.set_index(["case", "metric"])
        for case in run.cases:
            for name, metric in case.metrics.items():
                if metric.value is None:
                    assert math.isnan(wide.loc[case.id, name])
                    assert (case.id, name) not in long.index
                else:
                    row = long.loc[(case.id, name)]
                    assert wide.loc[case.id, name] == row["value"] == metric.value
                    assert (row["unit"], row["better"]) == (metric.unit, metric.better)
                    assert (row["low"], row["high"]) == metric.interval or metric.interval is None
                    assert metric.n is None or row["samples"] == metric.n
            row = wide.loc[case.id]
            assert (row["seed"], row["status"], row["protocol"]) == (case.seed, case.status, case.protocol)
            assert row["machine_class"] == run.environment["machine_class"]
            assert row["started"] == pd.Timestamp(run.started)


def test_what_a_version_did_not_tell_is_absent() -> None:
    old, new = (harness.load(VERSIONS / f"{version}.json").cases.set_index("case") for version in (1, 2))
    assert old["host"].isna().all()
    assert new["host"].tolist() == ["simulation", "punktfunk.host"]
    assert new["digest"].isna().tolist() == [False, True]


def test_links_are_numbers_whichever_way_the_result_wrote_them(grid: Path) -> None:
    links = every_version(grid).links
    down = links[links["direction"] == "host_to_client"].set_index("case")
    for case in ("two-links.virtual", "two-links.sockets"):  # as the scenario writes it, and as the core does
        for _, row in down.loc[[case]].iterrows():
            assert (row["delay"], row["loss"], row["burst"], row["loss_kind"]) == (
                5.0,
                0.1,
                1.0,
                "independent",
            )
    assert set(down.loc["two-links.virtual", "verified"]) == {"counters"}
    assert set(down.loc["two-links.sockets", "verified"]) == {"probe"}
    assert (down.loc["two-links.sockets", "probe_findings"] == 6).all()
    assert (down.loc["two-links.sockets", "late_p99"] < 1).all()
    [case, _] = harness.load(grid).where(axis_loss=0.05).cases["case"]
    row = down.loc[case]
    assert (row["delay"], row["jitter"], row["rate"], row["queue_packets"]) == (7.0, 1.0, 50_000.0, 90)
    assert (row["loss_kind"], row["loss"], row["burst"]) == ("bursty", 0.05, 3.0)


@pytest.mark.parametrize(
    ("loss", "share", "burst"),
    [
        ({"kind": "gilbert_elliott", "p": 0.01, "r": 0.25, "bad": 0.8, "good": 0.0}, 0.8 * 0.01 / 0.26, 4.0),
        ({"kind": "gilbert_elliott", "good_to_bad": "1 %", "bad_to_good": "25 %"}, 0.01 / 0.26, 4.0),
        ({"kind": "periodic", "every": 8}, 0.125, 1.0),
        ({"kind": "gilbert_elliott", "p": 0.01, "r": 0.0}, math.nan, math.nan),
        ({"kind": "independent", "p": "many"}, math.nan, 1.0),
        ({"kind": "a later one", "p": 3}, math.nan, math.nan),
    ],
)
def test_each_kind_of_loss_has_its_share_and_its_bursts(
    loss: dict[str, Any], share: float, burst: float, tmp_path: Path
) -> None:
    row = altered(tmp_path, link={"asked": {"down": {"loss": loss}}}).links.iloc[0]
    np.testing.assert_allclose([row["loss"], row["burst"]], [share, burst])


def test_the_ledger_has_every_count_and_balance(grid: Path) -> None:
    run, _ = runs.load(grid)
    ledger = harness.load(grid).ledger
    kept = {(r.case, r.direction, r.kind, r.name): r.value for r in ledger.itertuples(index=False)}
    assert kept == {
        (case.id, direction, kind, name): value
        for case in run.cases
        for direction, found in case.ledgers.items()
        for kind, values in (("count", found.counts), ("balance", found.balances))
        for name, value in values.items()
    }
    assert (ledger.query("kind == 'balance'")["value"] == 0).all()


def test_frames_and_stages_are_those_of_the_records(grid: Path) -> None:
    results = harness.load(grid)
    run, folder = runs.load(grid)
    assert len(results.frames) == len(results.stages) == 4 * 20
    statuses = set()
    for case in run.cases:
        file = runs.frames_file(folder, case)
        assert file is not None
        kept, _ = records.read(file)
        frames = results.frames[results.frames["case"] == case.id]
        assert frames["frame"].tolist() == kept["index"].tolist()
        for name in ("bytes", "recovered", "sealed_ns", "complete_ns", "decode_end_ns"):
            assert frames[name].fillna(records.NULL).tolist() == kept[name].tolist()
        words = frames["client_status"].astype(object)
        assert [("complete", "unrecoverable", "expired")[n] for n in kept["client_status"]] == words.tolist()
        assert (frames["decodable"].fillna(value=False) == (kept["decodable"] == 1)).all()
        statuses |= set(words)
        lengths = results.stages[results.stages["case"] == case.id]
        for span in stages.SPANS:
            column = lengths[span.name + STAGE_SUFFIX]
            np.testing.assert_array_equal(column[column.notna()], stages.durations_ms(kept, span))
    assert {"complete", "unrecoverable"} <= statuses


def test_every_column_of_frame_records_is_in_the_table() -> None:
    assert TABLES["frames"].names == ("run", "case", "frame", *records.COLUMNS[1:])


# --- what is read -------------------------------------------------------------------------------------------


def copied(grid: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """Return a copy of the run in which the records of the second case cannot be read, and both cases."""
    folder = shutil.copytree(grid, tmp_path / grid.name)
    whole, broken = [case.id for case in runs.load(folder)[0].cases][:2]
    (folder / broken / "frames.parquet").write_bytes(b"PAR1 no more")
    return folder, whole, broken


def test_frames_are_read_when_they_are_asked_for_and_no_others(grid: Path, tmp_path: Path) -> None:
    folder, whole, broken = copied(grid, tmp_path)
    results = harness.load(folder)
    assert len(results.cases) == 4
    some = results.where(case=whole)
    assert some.frames["case"].unique().tolist() == [whole]
    assert some.cases["case"].tolist() == [whole]
    assert set(some.ledger["case"]) == {whole}
    for name in ("frames", "stages"):
        with pytest.raises(ResultsError, match=r"frames\.parquet cannot be read"):
            getattr(results.where(case=[whole, broken]), name)


def test_cases_are_chosen_by_axes_and_metrics_and_a_choice_is_narrowed(grid: Path) -> None:
    results = harness.load(grid)
    lossy = results.where(axis_loss=0.05)
    assert set(lossy.cases["axis_loss"]) == {0.05}
    assert len(lossy.where(axis_fec="40 %").cases) == 1
    assert len(lossy.where(axis_fec={"10 %", "40 %"}).cases) == 2
    assert lossy.where(axis_fec="70 %").frames.empty
    with pytest.raises(UsageError, match="no column 'axis_los'"):
        results.where(axis_los=1)


def test_a_table_can_be_read_column_by_column(grid: Path) -> None:
    results = harness.load(grid)
    assert list(results.read("frames", ["bytes"]).columns) == ["run", "case", "bytes"]
    encode = results.read("stages", ["sealed_to_complete_ms"])
    pd.testing.assert_series_equal(encode["sealed_to_complete_ms"], results.stages["sealed_to_complete_ms"])
    with pytest.raises(UsageError, match="no column 'byte'"):
        results.read("frames", ["byte"])
    with pytest.raises(UsageError, match="no table 'frame'"):
        results.read("frame")


def test_runs_are_named_by_folder_file_name_or_the_folder_of_them_all(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = harness.load(grid).cases
    for results in (
        harness.load(grid.name, out=grid.parent),
        harness.load(grid / "run.json"),
        harness.load(grid.parent),
        harness.load(grid, grid, grid.parent),
    ):
        pd.testing.assert_frame_equal(results.cases, whole)
    monkeypatch.chdir(tmp_path)
    for missing in ("nobody", "a" * 5000, "\ud800"):
        with pytest.raises(ResultsError, match="there is no run"):
            harness.load(missing)
    with pytest.raises(UsageError):
        harness.load()


def test_a_run_that_never_ended_is_loaded_as_far_as_it_came(grid: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(grid, tmp_path / "killed")
    (folder / "run.json").unlink()
    results = harness.load(folder)
    assert len(results.cases) == 4
    assert results.cases["started"].isna().all()
    assert len(results.frames) == 80


def test_two_runs_of_one_name_are_refused(grid: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(grid, tmp_path / "copy")
    with pytest.raises(ResultsError, match="could not be told apart"):
        harness.load(grid, copy)


# --- results from outside -----------------------------------------------------------------------------------


def altered(tmp_path: Path, **changes: Any) -> Results:
    """Return a run of version 2 whose first case has been changed."""
    document = json.loads((VERSIONS / "2.json").read_text(encoding="utf-8"))
    document["cases"] = [document["cases"][0] | changes]
    folder = tmp_path / "altered"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
    return harness.load(folder)


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaterVersionError):
        altered(tmp_path, schema_version=99)


def test_texts_of_a_result_do_nothing_where_a_table_is_shown(tmp_path: Path) -> None:
    text = ATTACK
    counts = {"counts": {text: 3}, "balances": {text: 0}}
    link = {"asked": {"down": {"loss": {"kind": text}, "delay": text, "rate": [text]}}, "verified": text}
    results = altered(
        tmp_path,
        id=text,
        reason=text,
        params={text: text, "list": [text], "none": None},
        backend=text,
        metrics={text: {"value": 1.0, "unit": text}},
        ledgers={text: counts},
        link=link,
    )
    for name in TABLES:
        frame: pd.DataFrame = getattr(results, name)
        assert not harm(frame.to_string() + "\n".join(frame.columns))
    assert len(results.cases) == len(results.figures) == 1
    assert results.links["delay"].isna().tolist() == [True, False]


def test_a_number_that_no_table_holds_is_an_error(tmp_path: Path) -> None:
    results = altered(tmp_path, seed=2**63)
    with pytest.raises(ResultsError, match="holds what no table of cases can"):
        _ = results.cases


@pytest.mark.parametrize("name", ["../outside", "/abs", "altered/../../outside", "\0", "x" * 5000])
def test_a_result_leads_to_no_records_outside_of_its_run(name: str, tmp_path: Path) -> None:
    records.write(tmp_path / "frames.parquet", records.empty(1) | {"index": np.array([0])})
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(tmp_path / "frames.parquet", outside)
    place = str(outside) if name == "/abs" else name
    case = CaseResult.model_validate(json.loads((VERSIONS / "2.json").read_text())["cases"][0])
    case.id = case.folder = place
    home = tmp_path / "altered"
    home.mkdir()
    assert runs.frames_file(home, case) is None
    (home / "link").symlink_to(outside)
    case.id = "link"
    assert runs.frames_file(home, case) is None
    case.id = case.folder = "case"
    shutil.copytree(outside, home / "case")
    assert runs.frames_file(home, case) == (home / "case/frames.parquet").resolve()


def written(path: Path, columns: dict[str, Any], metadata: dict[bytes, bytes]) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


VERSION = {records.VERSION_KEY: b"1"}


@pytest.mark.parametrize(
    ("columns", "metadata", "why"),
    [
        ({"index": ["zero"]}, VERSION, "hold no numbers in index"),
        ({"index": [[0]]}, VERSION, "hold no numbers in index"),
        ({"index": [0]}, {}, "schema version none"),
        ({"index": [0]}, {records.VERSION_KEY: b"one"}, "cannot be read"),
        ({"index": [0]}, VERSION | {b"punktfunk.metadata": b"{"}, "cannot be read"),
        ({"index": pa.nulls(records.MAX_FRAMES + 1, pa.int64())}, VERSION, "have 4194305 frames, more than"),
    ],
    ids=["texts", "lists", "no version", "a word", "metadata", "too many"],
)
def test_frame_records_that_are_none_are_refused(
    columns: dict[str, Any], metadata: dict[bytes, bytes], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ResultsError, match=why):
        records.read(written(tmp_path / "frames.parquet", columns, metadata))


def test_a_status_of_frames_that_is_not_known_is_refused(grid: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(grid, tmp_path / "run")
    case = runs.load(folder)[0].cases[0]
    records.write(
        folder / case.id / "frames.parquet",
        records.empty(1) | {"client_status": np.array([3]), "index": np.array([0])},
    )
    with pytest.raises(ResultsError, match="a client_status that this version does not know"):
        _ = harness.load(folder).frames


# --- the how-to ---------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)


def test_ten_lines_lead_from_a_run_to_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that the page asks for, of which four cells are enough here; then its lines, as they stand there."""
    import matplotlib as mpl

    mpl.use("Agg")
    [command] = re.findall(r"`punktfunk-lab (run .*?) -k '(.*?)'`", HOW_TO.read_text(encoding="utf-8"))
    words, expression = command
    cells = f"{expression} and (fec=10 or fec=30) and (loss=2 or loss=10)"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    assert main([*words.split(), "-k", cells, "-j", "1", "--plain", "--no-charts"]) == 0
    figure, frames, atlas = blocks("python")
    assert len(figure.split("\n\n", 1)[0].splitlines()) + len(figure.split("\n\n", 1)[1].splitlines()) <= 10
    (tmp_path / "figure.py").write_text(figure, encoding="utf-8")
    done = runpy.run_path("figure.py")
    drawn = Path("recovery.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert len(done["cases"]) == 4
    [axes] = done["plt"].gcf().axes
    assert {line.get_label(): line.get_ydata().size for line in axes.lines} == {"FEC 10 %": 2, "FEC 30 %": 2}
    measured = done["results"].cases.set_index("case")["recovery"]
    assert sorted(y for line in axes.lines for y in line.get_ydata()) == pytest.approx(sorted(measured * 100))
    done["plt"].close("all")
    (tmp_path / "frames.py").write_text("import harness\n" + frames, encoding="utf-8")
    assert runpy.run_path("frames.py")["sizes"].empty, "a simulation alone"
    (run,) = [path.name for path in Path("reports").iterdir()]
    lines = atlas.replace("RUN", run).replace("axis_code", "axis_scheme").replace("axis_burst", "axis_fec")
    assert lines.count("axis_") == 2, "the run that the page asks for has other axes"
    (tmp_path / "atlas.py").write_text(f"import harness\n{lines}\nmeasured = atlas\n", encoding="utf-8")
    assert runpy.run_path("atlas.py")["measured"]["recovery"].notna().all()
