"""Runs of past commits: a history where nobody kept any."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness import cli
from harness.analysis import history
from harness.builds.backfill import spread
from tests.builds.plants import History
from tests.support.toy_project import DIES, DOES_NOT_START, FEWER_SHARDS, SCENARIO, keep_core, toy_history


@pytest.fixture
def clone(tmp_path: Path) -> History:
    made = toy_history(tmp_path / "clone")
    (tmp_path / "toy.yaml").write_text(SCENARIO, encoding="utf-8")
    keep_core(tmp_path / "cache", made.tree)
    return made


def backfill(clone: History, range_: str, *options: str) -> int:
    folder = clone.tree.parent
    places = (
        "--repository",
        str(clone.tree),
        "--out",
        str(folder / "reports"),
        "--to",
        str(folder / "history"),
    )
    return cli.main(
        ["backfill", range_, str(folder / "toy.yaml"), "--plain", *options, *places, "--cache", str(folder / "cache")]
    )  # fmt: skip


def test_past_commits_make_a_history_that_names_the_one_which_moved_a_figure(
    clone: History, capsys: pytest.CaptureFixture[str]
) -> None:
    base = clone.git("rev-parse", "HEAD")
    guilty = clone.plant(FEWER_SHARDS)
    broken = clone.plant(DOES_NOT_START)
    path = clone.tree / DOES_NOT_START.file
    path.write_text(path.read_text(encoding="utf-8").replace("import no_such\n", ""), encoding="utf-8")
    last = clone.grow(1, {})[0]
    before = clone.git("status", "--porcelain=2", "--branch"), clone.git("for-each-ref")
    assert backfill(clone, "HEAD", "--rounds", "2") == 0
    said = capsys.readouterr().out
    assert f"skip  {broken[:12]} Import what there is not: " in said
    assert f"3 commits, 2 rounds, 1 skipped ({broken[:12]})" in said
    assert (clone.git("status", "--porcelain=2", "--branch"), clone.git("for-each-ref")) == before
    results = harness.load(clone.tree.parent / "history")
    assert results.cases["run"].nunique() == 6
    assert set(results.cases["case"]) == {"toy"}
    assert set(results.cases["seed"]) == {3}
    found = history.history(results, repository=clone.tree)
    assert found.by_repository
    assert found.commits == [sha[:12] for sha in (base, guilty, last)]
    changes = {series.key.metric: (change.commit, change.verdict) for series, change in found.changes}
    assert changes["recovery"] == (1, "regression")
    assert changes["fec_overhead"] == (1, "improvement")
    # CPU time is followed as well, as a figure that is noise around a level.
    timed = {series.key.metric: series for series in found.series if not series.exact}
    assert set(timed) == {"case_cpu", "core_cpu"}
    assert timed["core_cpu"].values.size == 6


def test_a_range_that_has_no_history_in_it_says_so(
    clone: History, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backfill(clone, "HEAD") == 2
    assert "HEAD has 1 commits" in capsys.readouterr().err
    assert backfill(clone, "no..such") == 2
    assert "git rev-list" in capsys.readouterr().err
    assert backfill(clone, "--output=x") == 2
    assert not (clone.tree / "x").exists()
    (clone.tree / "harness/run/case.py").unlink()
    clone.commit("Have no cases")
    assert backfill(clone, "HEAD") == 5
    assert "1 of 2 commits can run" in capsys.readouterr().err


def test_a_commit_that_dies_of_a_case_is_left_out_and_the_others_go_on(
    clone: History, capsys: pytest.CaptureFixture[str]
) -> None:
    base, deadly = clone.git("rev-parse", "HEAD"), clone.plant(DIES)
    assert backfill(clone, "HEAD", "--rounds", "3") == 5
    caught = capsys.readouterr()
    assert caught.err.count("its process ended with 7") == 1, "it is not started again"
    assert f"1 commits, 3 rounds, 1 skipped ({deadly[:12]})" in caught.out
    assert "1 of 2 commits could run" in caught.err
    results = harness.load(clone.tree.parent / "history")
    assert results.cases["run"].nunique() == 3
    assert set(results.cases["git"]) == {base[:12]}


def test_commits_are_spread_over_the_range_with_both_ends_in_it() -> None:
    named = [str(n) for n in range(100)]
    assert spread(named, 4) == ["0", "33", "66", "99"]
    assert spread(named[:3], 16) == ["0", "1", "2"]
