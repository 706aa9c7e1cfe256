"""The history names the commit at which a figure moved, and is silent where nothing but chance moved it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.analysis import commits, history, runs
from harness.analysis.history import History, Key, Series
from harness.cli import main
from harness.report import history as page
from punktfunk.errors import ResultsError
from tests.support.hostile_text import ATTACK, harm

VERSIONS = Path(__file__).parent / "versions"
SIM, TUN = "two-links.virtual", "two-links.sockets"
COMMITS = 16
QUIET = {"quiet": True, "seconds": 5.0, "cpus": 2, "others": 0.0, "others_worst": 0.0, "own": 0.5}


def document(version: int = 2) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VERSIONS / f"{version}.json").read_text(encoding="utf-8"))
    return found


def name_of(commit: int) -> str:
    return f"{commit:012x}"


def keep(reports: Path, content: dict[str, Any]) -> Path:
    folder = reports / content["run_id"]
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def times(content: dict[str, Any]) -> dict[str, Any]:
    """Return the measured times of the case over sockets, which are made whole numbers of ms."""
    metrics: dict[str, Any] = content["cases"][1]["metrics"]
    return metrics


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of 16 commits: seal takes 25 % longer from the 8th on, a frame is lost from the 11th on."""
    place = tmp_path_factory.mktemp("reports")
    rng = np.random.default_rng(3)
    for commit in range(COMMITS):
        for repeat in range(1 + commit % 2):
            content = document()
            content["run_id"] = f"run-{commit:02d}-{repeat}"
            content["started"] = f"2026-11-{commit + 1:02d}T0{repeat}:00:00+00:00"
            content["environment"]["git"] = name_of(commit)
            for name in ("seal_p50", "seal_p99", "encode_p50", "transport_p50"):
                slower = 1.25 if name.startswith("seal") and commit >= 8 else 1.0
                value = 2.0 * slower * float(np.exp(rng.standard_t(4) * 0.03))
                times(content)[name] = {"value": value, "unit": "ms", "better": "lower"}
            if commit >= 11:
                content["cases"][0]["metrics"]["frames_complete"]["value"] -= 1
            keep(place, content)
    return place


def followed(reports: Path, *metrics: str) -> History:
    return history.history(harness.load(reports), metrics=metrics or ("*",), repository=reports)


def test_each_planted_change_is_found_at_its_commit_and_nothing_else(reports: Path) -> None:
    found = followed(reports)
    moved = {
        (series.key.case, series.key.metric): (found.commits[change.commit], change.verdict)
        for series, change in found.changes
    }
    assert moved == {
        (TUN, "seal_p50"): (name_of(8), "regression"),
        (TUN, "seal_p99"): (name_of(8), "regression"),
        (SIM, "frames_complete"): (name_of(11), "regression"),
    }
    for series, change in found.changes:
        if series.exact:
            assert (change.before - change.after, change.p_value) == (1.0, None)
            assert series.key.machine == history.ANY_MACHINE
        else:
            assert change.after / change.before == pytest.approx(1.25, abs=0.04)
            assert change.p_value is not None
            assert change.p_value < 0.001
            assert series.noise() == pytest.approx(0.035, abs=0.02)
    assert (found.runs, len(found.commits)) == (24, COMMITS)
    assert not found.by_repository


def test_noise_alone_moves_next_to_nothing() -> None:
    """Of 1500 series of nothing but noise with heavy tails, also of many ties and few values."""
    rng = np.random.default_rng(20261126)
    order = np.repeat(np.arange(20), 2)
    noises = [
        *(10 + rng.standard_t(2, size=40) for _ in range(500)),
        *(rng.poisson(0.2, size=40).astype(float) for _ in range(500)),
        *(np.exp(rng.normal(size=40)).round(1) for _ in range(500)),
    ]
    series = [series_of("encode_p50", order, values) for values in noises]
    history._find_changes(series)
    assert sum(len(each.changes) for each in series) == 0, "seed 20261126"


def test_a_series_alone_has_a_step_by_chance_once_in_twenty_at_most() -> None:
    rng = np.random.default_rng(20261127)
    order = np.repeat(np.arange(20), 2)
    wrong = sum(bool(history.noisy_changes(order, rng.standard_t(3, size=40))) for _ in range(600))
    assert wrong <= 0.05 * 600, f"{wrong} of 600, seed 20261127"


def test_a_step_is_found_at_its_commit_in_whatever_noise_there_is() -> None:
    rng = np.random.default_rng(20261126)
    order = np.repeat(np.arange(30), 2)
    off = []
    for _ in range(60):
        at = int(rng.integers(6, 24))
        values = np.exp(rng.standard_t(3, size=60) * 0.02) * np.where(order >= at, 1.1, 1.0)
        values[rng.integers(60)] *= 40
        found = history.noisy_changes(order, values)
        off.append(abs(found[0][0] - at) if len(found) == 1 else 99)
    assert np.mean(np.array(off) <= 1) >= 0.9, off
    assert np.mean(np.array(off) == 0) >= 0.7, off


def test_two_steps_have_a_level_each_and_a_return_is_an_improvement() -> None:
    rng = np.random.default_rng(5)
    order = np.arange(45)
    values = 5 * np.exp(rng.normal(size=45) * 0.02) * np.where((order >= 15) & (order < 30), 1.3, 1.0)
    [series] = found = [series_of("encode_p50", order, values)]
    history._find_changes(found)
    assert [(change.commit, change.verdict) for change in series.changes] == [
        (15, "regression"),
        (30, "improvement"),
    ]
    assert [round(change.after / change.before, 1) for change in series.changes] == [1.3, 0.8]
    assert series.levels() == [(0, 14), (15, 29), (30, 44)]


def series_of(metric: str, order: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> Series:
    return Series(Key("s", "m", "c", metric, "tun", "p", 1), False, order, values)


def test_a_change_never_lies_between_two_runs_of_a_commit() -> None:
    order = np.repeat(np.arange(6), 6)
    values = np.where(np.arange(36) >= 20, 2.0, 1.0) + np.arange(36) * 1e-6
    assert [commit for commit, _ in history.noisy_changes(order, values)] == [3]
    assert history.noisy_changes(np.zeros(36, dtype=np.int64), values) == [], "one commit"
    assert history.noisy_changes(np.arange(4), np.array([1.0, 1.0, 2.0, 2.0])) == [], "too few runs"


def test_an_exact_figure_with_two_values_at_a_commit_is_said_to_be_unsteady(tmp_path: Path) -> None:
    for number, lost in enumerate((0, 1)):
        content = document()
        content["run_id"] = f"run-{number}"
        content["cases"][0]["metrics"]["frames_complete"]["value"] -= lost
        keep(tmp_path, content)
    found = followed(tmp_path, "frames_*")
    assert [each.key.metric for each in found.series if each.unsteady] == ["frames_complete"]
    assert "Not repeated exactly at one commit: frames_complete." in page.render(found)


def test_runs_of_versions_1_and_2_and_of_a_data_set_stand_in_one_history(tmp_path: Path) -> None:
    for version in (1, 2):
        keep(tmp_path / "reports", document(version))
    names = [document(version)["run_id"] for version in (1, 2)]
    out = str(tmp_path / "reports")
    assert main(["archive", names[0], "--to", str(tmp_path / "set"), "--out", out]) == 0
    drawn = tmp_path / "deep/er/page.html"
    where = [str(tmp_path / "set"), names[1], "--out", out]
    assert main(["history", *where, "--metric", "frames_*", "--metric", "seal_*", "--page", str(drawn)]) == 0
    text = drawn.read_text(encoding="utf-8")
    assert "2 runs of 2 commits, 2026-11-26 to 2026-11-26" in text
    assert len(set(re.findall(r"<h2>two-links · (.*?)</h2>", text))) == 2


def test_the_page_names_changes_and_stands_alone(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = reports / "page.html"
    assert main(["history", str(reports), "--page", str(drawn), "--repository", str(reports)]) == 0
    out, _ = capsys.readouterr()
    assert re.search(
        rf"^{name_of(8)}  regression   seal_p50  \S+ ms → \S+ ms  \+2\d\.\d%  {TUN}$", out, re.MULTILINE
    )
    assert out.endswith(f"page: {drawn}\n")
    text = drawn.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text), "it loads nothing"
    assert text.count("<tr>") == 1 + 3
    for row in (
        f"<code>{name_of(8)}</code>",
        f"<code>{name_of(11)}</code>",
        "regression",
        "exact",
        "encode p50 (ms)",
    ):
        assert row in text
    assert "seal_p50" not in (moved := text.partition("figures never moved")[2])
    assert "transport_loss" in moved


def test_figures_and_scenarios_are_chosen_by_patterns(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = harness.load(reports)
    found = history.history(results, metrics=("seal_*", "frames_lost"), repository=reports)
    assert {each.key.metric.partition("_p")[0] for each in found.series} <= {
        "seal",
        "frames_lost",
        "seal_max",
    }
    with pytest.raises(ResultsError, match="no results of a commit"):
        history.history(results, scenario="other*", repository=reports)
    drawn = reports / "some.html"
    assert (
        main(["history", str(reports), "--metric", "seal_p95", "--metric", "encode_p*", "--page", str(drawn)])
        == 0
    )
    text = drawn.read_text(encoding="utf-8")
    assert "encode p50 (ms)" in text
    assert "transport p50 (ms)" not in text


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    text = ATTACK + "<script>alert(1)</script>"
    for number in range(2):
        content = document()
        content |= {"run_id": f"{text}{number}", "scenario": text}
        content["environment"] |= {"git": f"{text}{number}", "machine_class": text}
        for case in content["cases"]:
            case |= {"scenario": text, "id": text + case["id"], "protocol": text}
        content["cases"][0]["metrics"]["frames_complete"]["value"] -= number
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    found = followed(tmp_path, "frames_*")
    drawn = page.render(found)
    assert "<script" not in drawn
    assert "alert(1)" in drawn
    assert not harm(drawn)
    assert not harm("\n".join(page.lines(found)))


def test_another_seed_or_protocol_is_another_series(tmp_path: Path) -> None:
    for number, changes in enumerate(({}, {"seed": 5}, {"protocol": "gamestream"})):
        content = document()
        content["run_id"] = f"run-{number}"
        content["environment"]["git"] = name_of(number)
        content["cases"][0] |= changes
        content["cases"][0]["metrics"]["frames_complete"]["value"] -= number
        keep(tmp_path, content)
    found = followed(tmp_path)
    assert found.changes == []
    assert sum(each.key.metric == "frames_complete" and each.exact for each in found.series) == 3


def test_times_of_a_machine_that_was_not_quiet_are_left_out_and_its_noise_is_shown(tmp_path: Path) -> None:
    for commit in range(12):
        content = document()
        content["run_id"] = f"run-{commit:02d}"
        content["started"] = f"2026-11-{commit + 1:02d}T00:00:00+00:00"
        content["environment"]["git"] = name_of(commit)
        busy = commit >= 6
        content["cases"][1]["machine"] = QUIET | {"quiet": not busy, "others": 0.4 if busy else 0.01}
        times(content)["seal_p50"] = {"value": (4.0 if busy else 2.0) + commit / 1000, "unit": "ms"}
        content["cases"][1]["metrics"]["frames_complete"]["value"] += commit
        keep(tmp_path, content)
    results = harness.load(tmp_path)
    live = results.cases[results.cases["backend"] == "tun"]
    assert live["quiet"].tolist() == [True] * 6 + [False] * 6
    assert results.cases[results.cases["backend"] == "sim"]["quiet"].isna().all()
    found = followed(tmp_path, "seal_p50", "frames_complete")
    [seal] = [each for each in found.series if each.key.metric == "seal_p50"]
    assert seal.values.size == 6
    assert seal.changes == []
    assert [each.values.size for each in found.series if each.key.metric == "frames_complete"] == [12, 12]
    [measured] = found.machine.values()
    assert [share for _, share in measured[history.OTHERS]] == pytest.approx([1.0] * 6 + [40.0] * 6)
    assert history.OTHERS in page.render(found)


# --- the order of commits -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    place = tmp_path_factory.mktemp("repository")

    def git(*words: str) -> str:
        options = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *options, *words], cwd=place, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    made = []
    for number in range(4):
        git("commit", "-q", "--allow-empty", "-m", str(number))
        made.append(git("rev-parse", "--short=12", "HEAD"))
    return place, made


def test_a_repository_tells_the_order_of_its_commits_whenever_they_were_run(
    repository: tuple[Path, list[str]],
) -> None:
    place, made = repository
    first_runs = {made[2]: 1.0, made[0]: 2.0, f"{made[0]}+": 0.0, made[3]: 0.5}
    assert commits.ordered(first_runs, place) == ([made[0], f"{made[0]}+", made[2], made[3]], True)
    stranger = first_runs | {"f" * 12: 0.7}
    assert commits.ordered(stranger, place) == (sorted(stranger, key=stranger.__getitem__), False)
    assert commits.ordered(first_runs, place / "none")[1] is False
    assert commits.ordered({"": 1.0}, place) == ([""], False)


def test_runs_that_never_ended_or_passed_are_left_out(tmp_path: Path) -> None:
    content = document()
    content["cases"][0]["status"] = "fault"
    keep(tmp_path, content)
    assert {each.key.case for each in followed(tmp_path).series} == {TUN}
    assert runs.load(tmp_path / content["run_id"])[0].cases[0].status == "fault"
