"""The data set gives back what runs gave, and a run that is sent as one file arrives; what else comes is refused."""

from __future__ import annotations

import json
import shutil
import tracemalloc
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
from harness.analysis import dataset, exchange, records, runs
from harness.analysis.tables import TABLES
from harness.cli import main
from punktfunk.errors import LaterVersionError, ResultsError
from tests.support.hostile_text import ATTACK, harm

VERSIONS = Path(__file__).parent / "versions"
SIM = "two-links.virtual"


def document(version: int = 2) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VERSIONS / f"{version}.json").read_text(encoding="utf-8"))
    return found


def run_folder(place: Path, content: dict[str, Any]) -> Path:
    """Make a run's folder with frame records for its simulated case."""
    place.mkdir(parents=True)
    (place / "run.json").write_text(json.dumps(content), encoding="utf-8")
    case = place / content["cases"][0]["folder"]
    if case.parent == place:
        case.mkdir()
        table = records.empty(3)
        table["index"][:] = [0, 1, 2]
        table["bytes"][:] = [10, 20, records.NULL]
        table["sealed_ns"][:] = [5, 6, 7]
        table["complete_ns"][:] = [1_000_005, 2_000_006, records.NULL]
        table["client_status"][:] = [0, 0, 1]
        records.write(case / "frames.parquet", table)
    return place


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Two runs, of versions 1 and 2, below one folder."""
    for version in (1, 2):
        content = document(version)
        run_folder(tmp_path / "reports" / content["run_id"], content)
    return tmp_path / "reports"


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without what may differ: the order of categories."""
    return frame.astype({name: object for name in frame.columns if frame[name].dtype == "category"})


# --- the data set -------------------------------------------------------------------------------------------


def test_a_data_set_gives_back_the_tables_of_the_runs_in_it(reports: Path) -> None:
    names = [document(version)["run_id"] for version in (1, 2)]
    root = reports / "history"
    assert main(["archive", *names, "--out", str(reports), "--to", str(root), "--frames"]) == 0
    assert main(["archive", names[1], "--out", str(reports), "--to", str(root), "--frames"]) == 0, "again"
    kept, were = harness.load(root), harness.load(reports)
    for name in TABLES:
        was, now = (
            plain(getattr(results, name)).sort_values(["run", "case"], kind="stable").reset_index(drop=True)
            for results in (were, kept)
        )
        pd.testing.assert_frame_equal(now, was)
    assert len(kept.frames) == 6
    assert kept.stages["sealed_to_complete_ms"].dropna().tolist() == [1.0, 2.0] * 2
    one = kept.where(run=names[0], case=SIM)
    assert one.read("stages", ["sealed_to_complete_ms"]).shape == (3, 3)
    assert set(one.figures["run"]) == {names[0]}
    parts = dataset.DataSet(root).tables("figures", ("run", "case"), frozenset({(names[0], SIM)}))
    assert {(run, case) for part in parts for run, case in part.to_pandas().to_numpy()} == {
        (names[0], SIM)
    }, "others are not even read"


def test_its_files_stand_by_scenario_and_machine_class_and_say_their_version(reports: Path) -> None:
    root = reports / "history"
    for folder in sorted(reports.iterdir()):
        dataset.archive(*runs.load(folder), root)
    machine = document()["environment"]["machine_class"]
    files = sorted(root.rglob("*.parquet"))
    assert len(files) == 2 * 4, "frames are kept where that is asked for"
    for file in files:
        assert file.parent.relative_to(root).parts[1:] == ("scenario=two-links", f"machine_class={machine}")
        assert pq.read_schema(file).metadata[records.VERSION_KEY] == b"1"
    import pyarrow.dataset as ds

    anybody = ds.dataset(root / "figures", partitioning="hive").to_table(
        filter=ds.field("metric") == "recovery"
    )
    assert set(anybody.column("scenario").to_pylist()) == {"two-links"}
    assert not list(root.rglob("*.part"))


def test_hostile_names_make_files_within_the_data_set_only(tmp_path: Path) -> None:
    content = document()
    content["run_id"] = "../../" + ATTACK
    content["environment"]["machine_class"] = "/../" + ATTACK
    for case in content["cases"]:
        case["scenario"] = "..=/" + ATTACK
    before = {tmp_path / "run", tmp_path / "run/run.json", tmp_path / f"run/{SIM}"}
    folder = run_folder(tmp_path / "run", content)
    dataset.archive(*runs.load(folder), tmp_path / "set", frames=True)
    outside = {path for path in tmp_path.rglob("*") if (tmp_path / "set") not in {path, *path.parents}}
    assert outside == before | {tmp_path / f"run/{SIM}/frames.parquet"}
    results = harness.load(tmp_path / "set")
    assert len(results.cases) == 2
    assert len(results.frames) == 3
    assert not harm(results.cases.to_string())
    assert len(results.where(case=SIM).frames) == 3, "found by the name of its file"


def test_what_is_no_data_set_or_of_a_later_version_is_refused(reports: Path, tmp_path: Path) -> None:
    folder = next(reports.iterdir())
    with pytest.raises(ResultsError, match="holds something else"):
        dataset.archive(*runs.load(folder), folder)
    root = tmp_path / "set"
    dataset.archive(*runs.load(folder), root)
    for text, error in (
        ('{"schema_version": 2}', LaterVersionError),
        ('{"schema_version": true}', ResultsError),
        ("[" * 2000, ResultsError),
        ("3", ResultsError),
    ):
        (root / dataset.MARKER).write_text(text)
        with pytest.raises(error):
            harness.load(root)
    (root / dataset.MARKER).write_text('{"schema_version": 1}')
    [file] = (root / "cases").rglob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    for metadata, error in (({}, ResultsError), ({records.VERSION_KEY: b"2"}, LaterVersionError)):
        pq.write_table(table.replace_schema_metadata(metadata), file)
        with pytest.raises(error):
            harness.load(root)
    file.write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match="cannot be read"):
        harness.load(root)
    wrong = pa.table({"run": [[1]], "case": ["x"]}).replace_schema_metadata({records.VERSION_KEY: b"1"})
    pq.write_table(wrong, file)
    with pytest.raises(ResultsError, match="cannot be read"):
        harness.load(root)


def test_a_run_that_is_in_two_places_is_refused(reports: Path) -> None:
    folder = next(reports.iterdir())
    dataset.archive(*runs.load(folder), reports / "set")
    with pytest.raises(ResultsError, match="could not be told apart"):
        harness.load(reports / "set", folder)


# --- one file -----------------------------------------------------------------------------------------------


def exported(tmp_path: Path, content: dict[str, Any]) -> Path:
    folder = run_folder(tmp_path / "sender" / "run", content)
    file = tmp_path / "sent.zip"
    assert exchange.export(*runs.load(folder), file) >= 1
    return file


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_that_is_exported_and_imported_is_the_run(version: int, reports: Path, tmp_path: Path) -> None:
    name = document(version)["run_id"]
    file = tmp_path / "a.zip"
    assert main(["export", name, str(file), "--out", str(reports)]) == 0
    assert main(["import", str(file), "--out", str(tmp_path / "there")]) == 0
    made = tmp_path / "there" / name
    was, now = harness.load(reports / name), harness.load(made)
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(now, table), getattr(was, table))
    assert main(["report", str(made)]) == 0
    assert main(["compare", str(reports / name), str(made)]) == 0
    with pytest.raises(ResultsError, match=r"there is a run .* already"):
        exchange.unpack(file, tmp_path / "there")
    assert not list((tmp_path / "there").glob(".*"))


def test_the_default_name_of_an_export_is_the_run_s(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = document()["run_id"]
    assert main(["export", name]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"{name}.punktfunk.zip"]


def refused(file: Path, tmp_path: Path, match: str) -> ResultsError:
    """Import a file that is refused, and hold that nothing came of it; return the error."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ResultsError, match=match) as error:
        exchange.unpack(file, out)
    assert sorted(tmp_path.rglob("*")) == before
    assert not harm(str(error.value))
    return error.value


def repacked(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write an archive again with other members."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "frames/../../evil.parquet",
        "frames/x.parquet",
        "a.py",
        "frames/000000.parquet",
        ATTACK,
    ],
)
def test_a_member_that_names_a_place_is_refused(name: str, tmp_path: Path) -> None:
    file = repacked(exported(tmp_path, document()), lambda members: members.update({name: b"x"}))
    refused(file, tmp_path, "does not belong into it")


@pytest.mark.parametrize("where", ["run", "case"])
@pytest.mark.parametrize(
    "name", ["..", "../up", "/abs", "a/b", "", ".hidden", "a\\b", "x" * 201, ATTACK, "run.json"]
)
def test_an_id_that_is_no_plain_name_of_a_folder_is_refused(where: str, name: str, tmp_path: Path) -> None:
    content = document()
    (content if where == "run" else content["cases"][1]).update({"run_id" if where == "run" else "id": name})
    refused(exported(tmp_path, content), tmp_path, "is no name of a folder")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("run", "history"),
        ("run", "baselines"),
        ("case", "report.html"),
        ("case", "cases"),
        ("case", "plan.json"),
    ],
)
def test_a_name_that_something_else_has_there_is_refused(where: str, name: str, tmp_path: Path) -> None:
    """A run called ``history`` would lie in the data set, or keep one from being made."""
    content = document()
    (content if where == "run" else content["cases"][1]).update({"run_id" if where == "run" else "id": name})
    refused(exported(tmp_path, content), tmp_path, f"'{name}' is the name of something else there")


def test_a_case_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    content = document()
    content["cases"][1]["id"] = content["cases"][0]["id"]
    refused(exported(tmp_path, content), tmp_path, "a case is in it twice")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frames/0.parquet": b"PAR1 no"}, "cannot be read"),
        ({"frames/7.parquet": b"x"}, "belongs to no case"),
        ({"run.json": b"{"}, "is not the result of a run"),
        ({"run.json": b"[]"}, "is not the result of a run"),
        ({"run.json": None}, "run.json is missing"),
        ({"about.json": None}, "about.json is missing"),
        ({"about.json": b"{}"}, "says nothing of its version"),
        ({"about.json": b"[" * 4000}, "says nothing of its version"),
        ({"about.json": b" " * 5000}, "more than 4096"),
        ({"about.json": b'{"schema_version": 3}'}, "schema version 3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_inside_is_read_as_any_result_is(
    changes: dict[str, bytes | None], why: str, tmp_path: Path
) -> None:
    def change(members: dict[str, bytes]) -> None:
        for name, content in changes.items():
            if content is None:
                del members[name]
            else:
                members[name] = content

    refused(repacked(exported(tmp_path, document()), change), tmp_path, why)


def test_the_size_of_everything_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = exported(tmp_path, document())
    for limit, value, why in (
        ("MAX_FILE_BYTES", 1000, "bytes, more than 1000"),
        ("MAX_DIRECTORY_BYTES", 100, "list of members has"),
        ("MAX_FRAMES_BYTES", 100, r"frames/0\.parquet has"),
        ("MAX_UNPACKED_BYTES", 10_000, "unpacks to"),
        ("MAX_RESULT_BYTES", 10_000, "more than 10000"),
        ("MAX_CASES", 1, "2 cases, more than 1"),
    ):
        with monkeypatch.context() as smaller:
            smaller.setattr(exchange, limit, value)
            refused(file, tmp_path, why)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """Half a gigabyte of zeros in half a megabyte, as a case's frame records."""
    file = exported(tmp_path, document())
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(zipfile.ZipInfo("frames/1.parquet"), "w") as member,
    ):
        member.write(b"\0")
    content = bytearray(file.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (exchange.MAX_FRAMES_BYTES + 1).to_bytes(4, "little")
    file.write_bytes(content)
    refused(file, tmp_path, r"frames/1\.parquet has 536870913 bytes")


def test_a_run_that_names_a_table_is_refused(tmp_path: Path) -> None:
    """Its name, which leads anywhere, would be a link in the report; and without rows it has no cases."""
    for name, why in (("../../elsewhere", "in another file"), ("cases.parquet", "its cases are in a table")):
        content = document() | {"table": {"file": name, "asked": 1}}

        def change(members: dict[str, bytes], content: dict[str, Any] = content) -> None:
            members["run.json"] = json.dumps(content).encode()

        place = tmp_path / name.strip("./").replace("/", "-")
        place.mkdir()
        refused(repacked(exported(place, document()), change), place, why)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_another_method_is_refused_before_it_is_unpacked(method: int, tmp_path: Path) -> None:
    """Python unpacks a piece of such a member whole, and some bytes of bzip2 make gigabytes."""
    file = exported(tmp_path, document())
    with zipfile.ZipFile(file, "a", method) as archive:
        archive.writestr("frames/1.parquet", b"x")
    refused(file, tmp_path, r"frames/1\.parquet is compressed by another method")


def test_no_more_is_unpacked_than_a_member_says_it_has(tmp_path: Path) -> None:
    """A member of 64 MiB whose length is given as 100 bytes: it is refused, without 64 MiB of memory."""
    file = repacked(
        exported(tmp_path, document()), lambda members: members.update({"about.json": bytes(64 << 20)})
    )
    content = bytearray(file.read_bytes())
    place = content.rindex(b"about.json") - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    content[place + 24 : place + 28] = (100).to_bytes(4, "little")
    file.write_bytes(content)
    tracemalloc.start()
    try:
        refused(file, tmp_path, "is no exported run")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_that_is_not_as_ours_is_refused_before_its_members_are_listed(tmp_path: Path) -> None:
    file = exported(tmp_path, document())
    whole = file.read_bytes()
    locator = b"PK\x06\x07" + bytes(16)
    for content, why in (
        (b"", "does not end as one"),
        (whole[:-1], "does not end as one"),
        (whole[:-2] + b"\x02\0ab", "does not end as one"),
        (whole[:-22] + locator + whole[-22:], "more than 4 GiB"),
        (bytes(4000) + whole[-22:], "is no exported run"),
    ):
        file.write_bytes(content)
        refused(file, tmp_path, why)
    flipped = bytearray(whole)
    flipped[200] ^= 1
    file.write_bytes(flipped)
    refused(file, tmp_path, "is no exported run")
    refused(tmp_path, tmp_path, "no regular file")
    refused(tmp_path / "nothing", tmp_path, "no regular file")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = exported(tmp_path, document())
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("run.json", b"{}")
    refused(file, tmp_path, r"run\.json is in it twice")


def test_an_export_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", document())
    with pytest.raises(ResultsError, match="cannot be written"):
        exchange.export(*runs.load(folder), tmp_path / "none" / "x.zip")
    shutil.rmtree(folder)
    assert list(tmp_path.iterdir()) == []


def test_records_of_a_case_come_back_to_it_whatever_its_folder_was_called(tmp_path: Path) -> None:
    content = document()
    content["cases"][0]["folder"] = "elsewhere"
    made = exchange.unpack(exported(tmp_path, content), tmp_path / "out")
    run, folder = runs.load(made)
    file = runs.frames_file(folder, run.cases[0])
    assert file == (made / SIM / "frames.parquet").resolve()
    np.testing.assert_array_equal(records.read(file)[0]["index"], [0, 1, 2])
    assert run.cases[0].folder == SIM, "a report leads there"
