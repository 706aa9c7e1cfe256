"""Results of every version are read, compared and reported; those of a later one are refused and left alone.

``versions/N.json`` is the ``run.json`` that the harness of version N wrote of ``versions/two-links.yaml``.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness import report
from harness.analysis import baseline, compare, runs
from harness.analysis.results import SCHEMA_VERSION, RunResult
from harness.cli import main
from harness.run.store import RunFolder, RunPlan, spec_text
from harness.scenario.expand import expand
from punktfunk.errors import LaterVersionError, RegressionError, ResultsError

VERSIONS = Path(__file__).parent / "versions"
SIM, TUN = "two-links.virtual", "two-links.sockets"


def document(version: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VERSIONS / f"{version}.json").read_text(encoding="utf-8"))
    return found


def write(folder: Path, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def read(folder: Path, content: object) -> RunResult:
    return runs.load(write(folder, content))[0]


def test_there_is_a_file_of_every_version() -> None:
    assert sorted(int(file.stem) for file in VERSIONS.glob("*.json")) == list(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_run_of_every_version_is_read_with_its_figures_and_its_protocol(version: int) -> None:
    assert document(version)["schema_version"] == version
    run, _ = runs.load(VERSIONS / f"{version}.json")
    sim, tun = run.cases
    assert (sim.id, tun.id) == (SIM, TUN)
    assert {case.schema_version for case in (run, sim, tun)} == {SCHEMA_VERSION}
    assert (sim.protocol, tun.protocol) == ("punktfunk/1", "punktfunk/1")
    assert sim.metrics["frames_submitted"].value == tun.metrics["frames_submitted"].value == 1
    written = document(version)["cases"]
    for case, was in zip(run.cases, written, strict=True):
        kept = json.loads(case.model_dump_json())
        assert {name: kept[name] for name in was if name != "schema_version"} == {
            name: value for name, value in was.items() if name != "schema_version"
        }


def test_version_2_says_who_stood_at_the_ends_and_version_1_did_not() -> None:
    old, new = (runs.load(VERSIONS / f"{version}.json")[0] for version in (1, 2))
    assert [case.peers for case in old.cases] == [{}, {}]
    sim, tun = new.cases
    assert {role: peer.program for role, peer in sim.peers.items()} == {
        "host": "simulation",
        "client": "simulation",
    }
    assert {role: peer.program for role, peer in tun.peers.items()} == {
        "host": "punktfunk.host",
        "client": "punktfunk.client",
    }
    assert tun.peers["host"].ports
    assert tun.peers["client"].ports == sim.peers["host"].ports == []


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_run_of_every_version_is_reported_with_its_protocol(version: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", document(version))
    assert main(["report", str(folder)]) == 0
    wire = (
        "punktfunk/1"
        if version == 1
        else "punktfunk/1 (simulation); punktfunk/1 (punktfunk.host → punktfunk.client)"
    )
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert f"over {wire}.</p>" in html
    markdown = (folder / "summary.md").read_text(encoding="utf-8").replace("\\", "")
    assert markdown.rstrip().endswith(f"over {wire}.")
    flat = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert flat["schema_version"] == SCHEMA_VERSION
    assert {row["protocol"] for row in flat["cases"]} == {"punktfunk/1"}
    assert "protocol punktfunk/1" in (folder / "junit.xml").read_text(encoding="utf-8")
    assert set(report.FILES) == {"html", "markdown", "junit", "json"}


@pytest.mark.parametrize("versions", [(1, 2), (2, 1), (1, 1)], ids=str)
def test_runs_of_two_versions_compare_without_a_doubt(
    versions: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (str(VERSIONS / f"{version}.json") for version in versions)
    assert main(["compare", a, b]) == 0
    out, _ = capsys.readouterr()
    assert "protocol" not in out
    assert "another host" not in out
    figures = len(baseline.gated(runs.load(Path(a))[0].cases[0]))
    assert f"nothing moved in {figures} figures" in out


def test_a_figure_that_moved_between_two_versions_is_a_regression(tmp_path: Path) -> None:
    worse = document(2)
    worse["cases"][0]["digest"] = "another"
    worse["cases"][0]["metrics"]["frames_complete"]["value"] -= 1
    a, b = VERSIONS / "1.json", write(tmp_path / "b", worse)
    found = compare.compare(runs.load(a), runs.load(b))
    assert [(row.metric, row.verdict) for row in found.rows] == [("frames_complete", "regression")]
    assert found.exit_code == RegressionError.exit_code
    kept = baseline.snapshot(runs.load(a)[0])
    assert [move.metric for move in baseline.compare(runs.load(b)[0], kept)] == ["frames_complete"]


# --- another protocol ---------------------------------------------------------------------------------------


def over(protocol: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return a run in which the simulated case spoke another wire and lost a frame more."""
    other = copy.deepcopy(content)
    for case in other["cases"]:
        case["protocol"] = protocol
    other["cases"][0]["digest"] = "another"
    other["cases"][0]["metrics"]["frames_complete"]["value"] -= 1
    return other


@pytest.mark.parametrize("version", [1, 2])
def test_what_moved_between_two_protocols_is_the_wires_and_gates_nothing(
    version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = VERSIONS / f"{version}.json", write(tmp_path / "b", over("gamestream", document(2)))
    assert main(["compare", str(a), str(b)]) == 0
    out, _ = capsys.readouterr()
    assert (
        f"warning: 2 cases ran over another protocol (punktfunk/1 and gamestream), such as {SIM}: what moved in them "
        "is the difference of two wires, and simulated figures do not compare"
    ) in out
    assert "nothing was compared" in out
    assert baseline.compare(runs.load(b)[0], baseline.snapshot(runs.load(a)[0])) == []


def test_two_runs_over_the_same_unknown_protocol_compare_as_any(tmp_path: Path) -> None:
    a = write(tmp_path / "a", over("gamestream", document(2)))
    worse = over("gamestream", document(2))
    worse["cases"][0]["digest"] = "a third"
    worse["cases"][0]["metrics"]["frames_complete"]["value"] -= 1
    b = write(tmp_path / "b", worse)
    found = compare.compare(runs.load(a), runs.load(b))
    assert found.exit_code == RegressionError.exit_code
    assert found.warnings == []


def test_another_program_at_an_end_is_said_once_an_end(tmp_path: Path) -> None:
    other = document(2)
    for case in other["cases"]:
        case["peers"]["client"]["program"] = "another client"
    other["cases"].append(copy.deepcopy(other["cases"][1]) | {"id": "two-links.sockets.2"})
    a = copy.deepcopy(document(2))
    a["cases"].append(copy.deepcopy(a["cases"][1]) | {"id": "two-links.sockets.2"})
    found = compare.compare(runs.load(write(tmp_path / "a", a)), runs.load(write(tmp_path / "b", other)))
    assert [line for line in found.warnings if "another" in line] == [
        "the runs had another client (simulation and another client)",
        "the runs had another client (punktfunk.client and another client)",
    ]


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [False, True], ids=["the run", "a case in it"])
@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 10**30])
def test_a_later_version_is_refused_with_what_to_do(
    version: int, inside: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = document(2)
    (later["cases"][1] if inside else later)["schema_version"] = version
    folder = write(tmp_path / "later", later)
    with pytest.raises(
        LaterVersionError, match=r"schema version \d+.*; this version of the harness reads 1 to 2"
    ):
        runs.load(folder)
    for command in (["compare", str(folder), str(folder)], ["report", str(folder)]):
        assert main(command) == LaterVersionError.exit_code == 5
        _, err = capsys.readouterr()
        assert "error[PF641]" in err
        assert "read it with the version that wrote it or a later one, or run the scenario again" in err
    assert sorted(path.name for path in folder.iterdir()) == ["run.json"], "no report was written"


@pytest.mark.parametrize("version", [0, -1, 1.5, True, "1", None, [2]], ids=repr)
def test_what_is_no_version_is_refused(version: object, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"is not the result of a run: schema_version: ") as refused:
        read(tmp_path, document(2) | {"schema_version": version})
    assert not isinstance(refused.value, LaterVersionError)


@pytest.mark.parametrize("protocol", [None, 1, True, [], {}, ["punktfunk/1"], "absent"], ids=repr)
def test_a_case_of_version_2_without_a_protocol_is_refused_at_its_place(
    protocol: object, tmp_path: Path
) -> None:
    wrong = document(2)
    if protocol == "absent":
        del wrong["cases"][1]["protocol"]
    else:
        wrong["cases"][1]["protocol"] = protocol
    with pytest.raises(ResultsError, match=r"is not the result of a run: cases\.1\.protocol: "):
        read(tmp_path, wrong)


@pytest.mark.parametrize(
    "peers",
    [None, [], "simulation", {"host": "x"}, {"server": {"program": "x"}}, {"host": {"ports": []}}],
    ids=repr,
)
def test_peers_that_are_none_are_refused(peers: object, tmp_path: Path) -> None:
    wrong = document(2)
    wrong["cases"][0]["peers"] = peers
    with pytest.raises(ResultsError, match=r"is not the result of a run: cases\.0\.peers"):
        read(tmp_path, wrong)


# --- going on with a run ------------------------------------------------------------------------------------


def folder_of(tmp_path: Path, version: int, **changes: object) -> tuple[RunFolder, Any]:
    """Return the folder of a run whose simulated case a harness of that version has finished, and the case."""
    [case] = [case for case in expand(VERSIONS / "two-links.yaml").cases if case.id == SIM]
    plan = RunPlan(
        files=(str(VERSIONS / "two-links.yaml"),), seed=None, backend=None, expression="", cases=(SIM,)
    )
    folder = RunFolder.create(tmp_path, ["two-links"], plan)
    place = folder.path / case.id
    place.mkdir()
    (place / "spec.json").write_text(spec_text(case), encoding="utf-8")
    (place / "case.json").write_text(json.dumps(document(version)["cases"][0] | changes), encoding="utf-8")
    return folder, case


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_run_of_every_version_is_gone_on_with_and_its_results_are_kept(
    version: int, tmp_path: Path
) -> None:
    folder, case = folder_of(tmp_path, version)
    kept = folder.finished(case)
    assert kept is not None
    assert (kept.digest, kept.protocol) == (document(1)["cases"][0]["digest"], "punktfunk/1")
    folder.close()
    assert main(["run", "--resume", str(folder.path), "--plain", "--no-charts"]) == 0
    run = runs.load(folder.path)[0]
    assert [(c.id, c.schema_version) for c in run.cases] == [(SIM, SCHEMA_VERSION)]


def test_results_of_a_later_version_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, case = folder_of(tmp_path, 2, schema_version=3)
    place = folder.path / case.id / "case.json"
    before = place.read_bytes()
    folder.close()
    assert main(["run", "--resume", str(folder.path), "--plain", "--no-charts"]) == 5
    assert "error[PF641]" in capsys.readouterr().err
    assert place.read_bytes() == before


def test_a_damaged_result_is_run_again(tmp_path: Path) -> None:
    folder, case = folder_of(tmp_path, 2, protocol=5)
    assert folder.finished(case) is None
    os.truncate(folder.path / case.id / "case.json", 100)
    assert folder.finished(case) is None
    folder.close()
