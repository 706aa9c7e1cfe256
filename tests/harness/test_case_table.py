"""Runs of very many cases: a row for each, durable and once, and the figures of a run that has a folder for each."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.analysis import case_files, case_table, runs
from harness.analysis.results import CaseResult, Status
from harness.cli import main
from harness.run import groups, many, sim
from harness.run.case import replay_command, row_of
from harness.run.case_store import CaseStore
from harness.run.context import RunContext
from harness.run.elsewhere import Carried
from harness.run.groups import Feed, Group, grouped
from harness.run.many import run_table
from harness.run.store import RunFolder, RunPlan
from harness.scenario.expand import Case, Cases, expand
from harness.scenario.link import Backend
from punktfunk.errors import LaterVersionError, ResultsError, UsageError

MANY = """
name: many
for: {loss: [0 %, 2 %, 10 %], rtt: [1 ms, 30 ms], size: [1200 B, 6 kB]}
media: {frames: 10, frame_bytes: "${size}", key_interval: 0}
stream: {fec: 30 %}
link: {backend: sim, down: {delay: "${rtt}", loss: "${loss}"}}
expect: [frames_corrupt == 0]
"""
CONTEXT = RunContext("t", backend=Backend.SIM)


class Quiet:
    """Takes down how far a run is; ends it as Ctrl-C does once ``most`` cases have ended."""

    def __init__(self, most: int = 10**9) -> None:
        self.cases = self.bad = 0
        self._most = most

    def begin(self, cases: int, estimate_s: float) -> None:
        """Nothing to show."""

    def ended(self, result: CaseResult, estimate_s: float) -> None:
        """A run with a table does not tell of single cases."""
        raise AssertionError

    def advanced(self, cases: int, bad: int, estimate_s: float) -> None:
        """Count."""
        self.cases += cases
        self.bad += bad
        if self.cases >= self._most:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of four, and a table from six cases on."""
    monkeypatch.setattr(groups, "MOST", 4)
    monkeypatch.setattr(groups, "LEAST", 4)
    monkeypatch.setattr(many, "EACH_UP_TO", 5)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "many.yaml").write_text(MANY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder_in(place: Path, name: str = "run") -> RunFolder:
    return RunFolder.create(place / name, ["many"], RunPlan(("many.yaml",), None, None, ""))


def cases_in(place: Path) -> Cases:
    return expand(place / "many.yaml").cases


def digest_of(text: str) -> str:
    found = re.search(r"digest of the simulated cases: ([0-9a-f]{64})", text)
    assert found is not None, text
    return found[1]


def rows_of(folder: Path) -> list[dict[str, object]]:
    return [row for part in case_files.part_files(folder) for row in case_files.read_part(part).to_pylist()]


def test_a_large_run_keeps_rows_and_no_folders_and_finds_what_a_small_one_finds(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", "many.yaml", "--no-charts", "-j", "1", "--out", "rows"]) == 0
    said = capsys.readouterr().out
    (folder,) = (place / "rows").iterdir()
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["cases"], "no folder for a case"
    assert [p.name for p in (folder / "cases").iterdir()] == ["about.json"], "the parts have become one file"
    rows = {str(row["id"]): case_table.result_of(row) for row in rows_of(folder)}
    run = runs.load(folder)[0]
    assert run.table is not None
    assert (run.table.asked, run.table.statuses) == (12, {Status.PASSED: 12})
    assert run.table.layers[0].frames == 120
    monkeypatch.setattr(many, "EACH_UP_TO", 100)
    assert main(["run", "many.yaml", "--no-charts", "-j", "1", "--out", "folders"]) == 0
    assert digest_of(capsys.readouterr().out) == digest_of(said)
    (other,) = (place / "folders").iterdir()
    whole = runs.load(other)[0]
    assert list(rows) == [case.id for case in whole.cases]
    for case in whole.cases:
        row = rows[case.id]
        assert (row.seed, row.digest, row.theory) == (case.seed, case.digest, case.theory)
        assert row.params == {name: str(value) for name, value in case.params.items()}
        measured = {name: metric for name, metric in case.metrics.items() if metric.value is not None}
        assert row.metrics == measured
    named = {check.name: check for check in run.checks}
    assert named["many: recovery agrees with theory"] == whole.checks[0]


def test_that_a_seed_repeats_is_shown_on_a_sample_and_a_seed_that_does_not_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim, "SAMPLE", 3)
    cases = cases_in(place)
    sampled = sum(case.seed % 3 == 0 for case in cases)
    assert 0 < sampled < 12
    run = run_table(cases, folder_in(place), Quiet()).run
    (check,) = [check for check in run.checks if check.name == "a seed repeats exactly"]
    assert check.passed
    assert check.measured == f"{sampled} of {sampled} cases of the sample, of 12 that ran"
    # A simulation that draws otherwise the second time: what is simulated again has another seed.
    seeds = iter(range(10**6))
    monkeypatch.setattr(sim, "seed_of", lambda case_seed, number: case_seed + next(seeds))
    run = run_table(cases, folder_in(place, "odd"), Quiet()).run
    assert run.verdict is Status.FAILED
    assert run.table is not None
    failed = run.table.statuses[Status.FAILED]
    assert 0 < failed <= sampled, "a lossless stream is the same with any seed"
    assert run.table.checks - run.table.held == failed
    assert [case.checks[0].name for case in run.cases] == [case_table.REPEATS] * failed


def test_an_interrupted_run_goes_on_where_it_was_and_does_nothing_twice(place: Path) -> None:
    cases, folder = cases_in(place), folder_in(place)
    whole = run_table(cases, folder_in(place, "whole"), Quiet())
    first = run_table(cases, folder, Quiet(most=8))
    assert first.interrupted
    assert first.run.verdict is Status.INTERRUPTED
    assert "Interrupted: 8 of 12 cases have run." in first.run.notes
    assert (folder.path / "cases.parquet").is_file()
    heard = Quiet()
    second = run_table(cases, folder, heard)
    assert (second.reused, heard.cases, second.run.verdict) == (8, 4, Status.PASSED)
    assert sorted(int(str(row["place"])) for row in rows_of(folder.path)) == list(range(12))
    assert digest_of("\n".join(second.run.notes)) == digest_of("\n".join(whole.run.notes))


def test_what_a_killed_run_had_reported_is_on_disk(place: Path) -> None:
    """Each part is whole the moment it is reported; nothing but parts is needed to go on."""
    cases, folder = cases_in(place), folder_in(place)
    store = CaseStore(folder, 12, cases.digest(), "code")
    for group in list(grouped(enumerate(cases), 12))[:2]:
        store.add(groups.rows(groups.tabulated(group, CONTEXT)))
        assert len(rows_of(folder.path)) == store.ended
    again = CaseStore(folder, 12, cases.digest(), "code")
    assert again.ended == 8
    assert list(again.waiting()) == [8, 9, 10, 11]


def test_a_result_that_comes_twice_is_kept_once_and_one_of_no_case_is_refused(place: Path) -> None:
    cases, folder = cases_in(place), folder_in(place)
    store = CaseStore(folder, 12, cases.digest(), "code")
    first, second, _ = (groups.rows(groups.tabulated(g, CONTEXT)) for g in grouped(enumerate(cases), 12))
    assert store.add(first).num_rows == 4
    assert store.add(pa.concat_tables([first.slice(2), second], promote_options="default")).num_rows == 4
    assert store.add(first).num_rows == 0
    assert sorted(int(str(row["place"])) for row in rows_of(folder.path)) == list(range(8))
    for places in ([12, 1, 2, 3], [-1, 1, 2, 3], [8, 9, 9, 10]):
        with pytest.raises(ResultsError, match="no case of this run"):
            store.add(first.set_column(0, "place", pa.array(places)))


def test_cases_that_ended_as_faults_run_again(place: Path) -> None:
    cases, folder = cases_in(place), folder_in(place)
    store = CaseStore(folder, 12, cases.digest(), "code")
    first, second, third = grouped(enumerate(cases), 12)
    rows = pa.concat_tables(
        [groups.rows(groups.tabulated(first, CONTEXT)), groups.lost(second, "it died")],
        promote_options="default",
    )
    store.add(rows)
    store.add(groups.lost(third, "it died"))
    assert store.ended == 12
    store.finish()
    again = CaseStore(folder, 12, cases.digest(), "code")
    assert list(again.waiting()) == list(range(4, 12))


def test_rows_of_other_cases_or_of_other_code_are_not_gone_on_with(place: Path) -> None:
    cases, folder = cases_in(place), folder_in(place)
    CaseStore(folder, 12, cases.digest(), "code")
    with pytest.raises(ResultsError, match="the scenario has changed"):
        CaseStore(folder, 12, expand(place / "many.yaml", seed=3).cases.digest(), "code")
    with pytest.raises(ResultsError, match="another version of punktfunk"):
        CaseStore(folder, 12, cases.digest(), "other code")


def test_what_is_no_file_of_rows_or_more_than_a_run_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, metadata = tmp_path / "1.parquet", {case_table.VERSION_KEY: b"1"}
    columns = {"place": [1, 2, 3], "id": ["a", "b", "c"], "status": ["passed"] * 3}
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path)
    assert case_files.read_part(path, ["place"]).num_rows == 3
    size = path.stat().st_size
    for limit, value, words in (
        ("MAX_FILE_BYTES", size - 1, "MiB, more than"),
        ("MAX_ROWS", 2, "3 rows, more than 2"),
        ("MAX_COLUMNS", 1, "3 columns, more than 1"),
        ("MAX_READ_BYTES", 10, "unpacked, more than"),
    ):
        with monkeypatch.context() as less:
            less.setattr(case_files, limit, value)
            with pytest.raises(ResultsError, match=words):
                case_files.read_part(path)
    os.mkfifo(tmp_path / "2.parquet")
    (tmp_path / "3.parquet").mkdir()
    for name in ("2.parquet", "3.parquet", "none.parquet"):
        for read in (case_files.read_part, lambda part: case_files.schema_of([part])):
            with pytest.raises(ResultsError, match="is no regular file"):
                read(tmp_path / name)
    (tmp_path / "4.parquet").write_bytes(path.read_bytes()[:-9])
    for read in (case_files.read_part, lambda part: case_files.schema_of([part])):
        with pytest.raises(ResultsError, match="cannot be read"):
            read(tmp_path / "4.parquet")


@pytest.mark.parametrize(
    ("name", "values"),
    [("id", None), ("status", None), ("id", [1, 2]), ("status", [1, 2]), ("metric.recovery", ["x", "y"])],
)
def test_a_table_that_lacks_a_column_or_has_it_of_another_type_is_refused(
    name: str, values: list[object] | None, tmp_path: Path
) -> None:
    """It may come from anywhere: 'compare', 'report' and 'archive' ended in a traceback."""
    columns = {"place": [1, 2], "id": ["a", "b"], "status": ["passed", "failed"], "of.later": [1, 2]}
    path = tmp_path / "cases.parquet"

    def write(content: dict[str, list[object]]) -> None:
        metadata = {case_table.VERSION_KEY: b"1"}
        pq.write_table(pa.table(content).replace_schema_metadata(metadata), path)

    write(columns)
    assert case_files.read_part(path).num_rows == 2, "of a later version"
    write({key: value for key, value in ({**columns, name: values}).items() if value is not None})
    for read in (case_files.read_part, lambda part: case_files.schema_of([part])):
        with pytest.raises(ResultsError, match=f"its column '{name}' is missing or of another type"):
            read(path)


def test_a_table_of_a_later_version_is_not_read(place: Path) -> None:
    folder = folder_in(place)
    table = pa.table({"place": [1]}).replace_schema_metadata({case_table.VERSION_KEY: b"2"})
    (folder.path / "cases").mkdir()
    pq.write_table(table, folder.path / "cases" / "00000000-x.parquet")
    with pytest.raises(LaterVersionError):
        case_files.read_columns(folder.path, ["place"])
    for content in (b"", b"no parquet"):
        (folder.path / "cases" / "00000000-x.parquet").write_bytes(content)
        with pytest.raises(ResultsError, match="cannot be read"):
            case_files.read_columns(folder.path, ["place"])


class Deadly:
    """A place where each process that is given one case of the run dies of it (an Elsewhere)."""

    slots = 1
    carries_links = False

    def __init__(self, culprit: int) -> None:
        self._culprit = culprit
        self.given: list[tuple[int, ...]] = []

    def rows(self, feed: Feed[Group], context: RunContext) -> Iterator[tuple[Group, bytes | None]]:
        """Simulate, unless the case is among them."""
        while (group := feed.take()) is not None:
            self.given.append(group.places)
            yield group, None if self._culprit in group.places else groups.tabulated(group, context)

    def cases(self, cases: Sequence[Case], context: RunContext) -> Iterator[tuple[Case, Carried | str]]:
        """Not asked for in a run with a table."""
        raise AssertionError

    def links(self, cases: Sequence[Case], context: RunContext) -> Iterator[tuple[Case, Carried | str]]:
        """Nor is this."""
        raise AssertionError


def test_a_case_that_kills_whoever_has_it_is_found_and_costs_no_other(place: Path) -> None:
    deadly = Deadly(culprit=5)
    outcome = run_table(cases_in(place), folder_in(place), Quiet(), elsewhere=deadly)
    assert outcome.run.verdict is Status.FAULT
    assert outcome.run.table is not None
    assert outcome.run.table.statuses == {Status.PASSED: 11, Status.FAULT: 1}
    (gone,) = outcome.run.cases
    assert gone.id == cases_in(place)[5].id
    assert "died" in gone.reason
    assert gone.replay == f"python -m harness run {place}/many.yaml --case {gone.id} --post-hoc"
    assert deadly.given == [(0, 1, 2, 3), (4, 5, 6, 7), (6, 7), (4, 5), (5,), (4,), (8, 9, 10, 11)]


def test_cases_over_real_links_are_not_run_by_the_thousand(place: Path) -> None:
    for link in ("tun", "auto"):
        (place / "real.yaml").write_text(MANY.replace("backend: sim", f"backend: {link}"), encoding="utf-8")
        with pytest.raises(UsageError, match="12 cases are run in virtual time only"):
            run_table(expand(place / "real.yaml").cases, folder_in(place, link), Quiet())
        assert main(["run", "real.yaml"]) == 2
    with pytest.raises(UsageError):
        run_table(cases_in(place), folder_in(place, "x"), Quiet(), backend=Backend.TUN)
    run_table(expand(place / "real.yaml").cases, folder_in(place, "y"), Quiet(), backend=Backend.SIM)


def test_a_row_says_all_that_did_not_hold(place: Path) -> None:
    cases = cases_in(place)
    result = row_of(cases[8], CONTEXT)
    result.status, result.reason = Status.FAULT, "it is off"
    result.ledgers["host_to_client"].balances["sealed = sent"] = 3
    result.checks[0].passed = False
    back = case_table.result_of(case_table.to_table([(8, "many", result)]).to_pylist()[0])
    assert (back.status, back.reason) == (Status.FAULT, "it is off")
    assert back.checks == [result.checks[0]]
    assert back.ledgers["host_to_client"].balances == {"sealed = sent": 3}
    assert back.metrics["recovery"] == result.metrics["recovery"]


def test_groups_are_neighbours_and_neither_too_many_nor_too_long(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = cases_in(place)
    assert [g.places for g in grouped(enumerate(cases), 12)] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
    monkeypatch.setattr(groups, "TARGET_S", 2.5 * many.row_s(cases[0]))
    assert len(next(grouped(enumerate(cases), 12)).cases) == 3
    monkeypatch.setattr(groups, "TARGET_S", 10.0)
    monkeypatch.setattr(groups, "MOST", 1000)
    assert len(next(grouped(enumerate(cases), 7000)).cases) == 7, "a thousandth of the run"


def test_commands_that_look_at_each_case_refuse_a_table_and_the_report_is_made_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "many.yaml", "--no-charts", "-j", "1"]) == 0
    (folder,) = (place / "reports").iterdir()
    for command, instead in (
        ("baseline", f"python -m harness compare EARLIER {folder.name}"),
        ("wires", "look at the points that matter in a run of their own"),
        ("calibrate", "it wants frame records"),
    ):
        capsys.readouterr()
        assert main([command, folder.name]) == ResultsError.exit_code
        said = capsys.readouterr().err
        assert f"error[{ResultsError.code}] run {folder.name} keeps its 12 cases in a table" in said
        assert instead in said
        assert "a run of up to 5 cases has them one by one: choose with -k or --axis" in said
    assert main(["compare", folder.name, folder.name]) == 0, "what is named instead takes a table"
    (folder / "report.html").unlink()
    assert main(["report", folder.name]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 3
    for word in (
        "Worst cells",
        "farthest from theory",
        "frames complete, axis by axis",
        "--case many.loss=10",
    ):
        assert word in page
    assert len(page) < 500_000
    assert '"asked": 12' in (folder / "figures.json").read_text(encoding="utf-8")
    assert "12 passed" in (folder / "junit.xml").read_text(encoding="utf-8")
    assert "cases.parquet" in (folder / "summary.md").read_text(encoding="utf-8")


def test_a_cell_is_one_of_its_layer_where_it_was_chosen_for_what_it_showed_and_judged_alone_where_it_was_not(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [name] = [
        case.id for case in cases_in(place) if case.params == {"loss": "2 %", "rtt": "30 ms", "size": "6 kB"}
    ]
    expected = {}
    for chosen in ([], ["--post-hoc"]):
        assert (
            main(["run", "many.yaml", "--no-charts", "--case", name, *chosen, "--out", f"out{len(chosen)}"])
            == 0
        )
        (folder,) = (place / f"out{len(chosen)}").iterdir()
        run = runs.load(folder)[0]
        [check] = [check for check in run.checks if "agrees with theory" in check.name]
        expected[len(chosen)] = check.expected.partition("over ")[2]
        assert shlex.split(run.cases[0].replay)[4:] == ["many.yaml", "--case", name, "--post-hoc"]
    assert expected == {0: "1 cells", 1: "1 of 12 cells"}
    # The plan has it, for a run that is taken up again asks nobody.
    (folder / "run.json").unlink()
    assert main(["run", "--resume", str(folder), "--no-charts"]) == 0
    [check] = [check for check in runs.load(folder)[0].checks if "agrees with theory" in check.name]
    assert check.expected.endswith("over 1 of 12 cells")
    capsys.readouterr()
    assert main(["run", "--resume", str(folder), "--post-hoc"]) == 2
    assert "--post-hoc" in capsys.readouterr().err


def test_a_table_is_taken_from_six_cases_on_here_and_a_dry_run_says_so(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "many.yaml", "--dry-run", "-k", "loss=2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert main(["run", "many.yaml", "--dry-run", "-k", "not (loss=10 or rtt=30 and loss=2)"]) == 0
    assert capsys.readouterr().out.startswith("6 cases, about 1 s with ")
    assert not (place / "reports").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('for: {loss: [2 %]}\nlink: {backend: sim, down: {loss: "${loss}"}}', True),
        ('for: {loss: [2 %]}\nlink: {backend: sim, down: {loss: "${loss}"}}\ntheory: false', False),
        ("link: {backend: sim, down: {loss: 2 %}}", False),
    ],
    ids=["one of a layer", "no theory", "alone"],
)
def test_a_command_that_runs_a_case_again_is_post_hoc_where_theory_judges_one_of_several(
    text: str, said: bool, tmp_path: Path
) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(text + "\n", encoding="utf-8")
    [case] = expand(file).cases
    assert ("--post-hoc" in replay_command(case, "sim")) is said
