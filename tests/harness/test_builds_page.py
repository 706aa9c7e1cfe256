"""The page of a comparison of two builds: what it says, from files of any version and of anybody."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.analysis import paired, paired_run
from harness.analysis.definitions import FIGURES, QUANTILES
from harness.analysis.paired_run import Comparison
from harness.analysis.results import CaseResult, Metric, Quietness, RunResult, Status
from harness.report import builds
from punktfunk.errors import LaterVersionError, ResultsError
from tests.support.charts import covered, laid_out
from tests.support.hostile_text import ATTACK, harm

LIVE = {"encode_p50": 2.0, "encode_p99": 4.0, "transport_p50": 7.0, "case_cpu": 900.0}


def case(name: str, number: int, figures: dict[str, float], *, busy: bool = False) -> CaseResult:
    machine = Quietness(
        quiet=not busy, reasons=["a backup ran"] * busy, seconds=2, cpus=2, others=0.9 * busy, others_worst=1, own=0.1
    )  # fmt: skip
    return CaseResult(
        id=f"{name},pair={number}",
        scenario="link",
        seed=number,
        repeat=number,
        protocol="punktfunk/1",
        backend="tun",
        status=Status.PASSED,
        folder=f"{name},pair={number}",
        metrics={
            key: Metric(value=value * (1 + number / 500), unit=FIGURES[key].unit, better=FIGURES[key].better)
            for key, value in figures.items()
        },
        quantiles={"transport": [figures["transport_p50"] * (1 + q) for q in QUANTILES]},
        machine=machine,
    )


def compared(folder: Path, *, case_name: str = "link.tun", **changed: Any) -> Path:
    """Write the folder of a comparison on a real link in which the encoder became a tenth slower."""
    slower = {key: value * (1.1 if key.startswith("encode") else 1.0) for key, value in LIVE.items()}
    pairs = [(case(case_name, n, LIVE, busy=n < 4), case(case_name, n, slower)) for n in range(20)]
    for number, side in enumerate(paired_run.SIDES):
        run = RunResult(run_id=side, scenario="link", started="", cases=[both[number] for both in pairs])
        (folder / side).mkdir(parents=True)
        (folder / side / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
    said = Comparison(
        command="punktfunk-lab ab main HEAD link.yaml",
        scenario="link.yaml",
        base="a" * 40,
        head="b" * 40,
        names={"base": "a" * 12, "head": "b" * 12},
        titles={"base": "aaaa Before", "head": "bbbb After"},
        cores={"base": "1" * 32, "head": "1" * 32},
        cases=[case_name],
        seed=7,
        backend="tun",
        pairs=20,
        seeds=[7, *range(100, 119)],
        took_s=80.0,
        exit_code=3,
        findings=paired.judge({case_name: pairs}),
    )
    text = json.dumps(json.loads(said.model_dump_json()) | changed)
    (folder / "ab.json").write_text(text, encoding="utf-8")
    return folder


def test_the_page_says_what_moved_in_which_pairs_and_how_to_run_each_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compared(tmp_path / "ab")
    with laid_out() as figures:
        assert cli.main(["report", str(folder)]) == 0
    assert f"html: {folder / 'ab.html'}" in capsys.readouterr().out
    page = (folder / "ab.html").read_text(encoding="utf-8")
    assert '<span class="word">regression</span>' in page
    row = re.search(r"<tr><td title=[^>]*>encode_p50</td>.*?</tr>", page)
    assert row is not None
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", row[0])]
    assert cells[1] == "link.tun"
    assert re.fullmatch(r"\+10\.00% \(\+10\.00% … \+10\.00%\)", cells[4]), cells
    assert (cells[6], cells[7]) == ("16", "regression"), "four pairs had a busy machine"
    assert "16 of 20 pairs on real links had a quiet machine" in page
    # The stages of the frame path, with their tails.
    stage = re.search(r"<tr><td>encode</td>.*?</tr>", page)
    assert stage is not None
    assert re.findall("[0-9.]+ ms", stage[0]) == ["2.046 ms", "2.251 ms", "4.092 ms", "4.501 ms"], (
        "of quiet pairs"
    )
    # Each pair: its seed, its folders, its command.
    again = "punktfunk-lab ab aaaaaaaaaaaa bbbbbbbbbbbb link.yaml --case link.tun --seed 105 --pairs 1 --backend tun"
    assert f"<code>{again}</code>" in page
    assert 'href="./b/link.tun%2Cpair%3D6/"' in page
    # Both distributions of every figure, named and uncovered; nothing is loaded from anywhere.
    assert [ax.get_title(loc="left") for f in figures for ax in f.axes if ax.lines] == [
        "", "encode p50 (ms)", "transport p50 (ms)", "case cpu (ms)", "transport (ms)",
    ]  # fmt: skip
    assert not [name for figure in figures for name in covered(figure)]
    assert not re.search(r"<script|src=|https?://(?!www\.w3\.org)", page)


def test_comparisons_of_an_older_version_have_a_page_and_those_of_a_later_one_are_refused(
    tmp_path: Path,
) -> None:
    # Seeds, names, cores and the machine came later.
    folder = compared(tmp_path / "old")
    older = json.loads((folder / "ab.json").read_text())
    for name in ("seeds", "names", "cores", "machine"):
        del older[name]
    (folder / "ab.json").write_text(json.dumps(older), encoding="utf-8")
    page = builds.write(folder, charts=False).read_text(encoding="utf-8")
    assert "encode_p50" in page
    assert "punktfunk-lab ab aaaaaaaaaaaa bbbbbbbbbbbb link.yaml --case link.tun --seed 7 --pairs 20" in page
    with pytest.raises(LaterVersionError, match="schema version 2"):
        builds.write(compared(tmp_path / "later", schema_version=2))
    endless = older["findings"][0] | {"head": math.inf}
    broken: list[dict[str, Any]] = [
        {"findings": [{"case": 1}]},
        {"findings": 7},
        {"findings": [endless]},
        {"cases": None},
        {"took_s": "long"},
        {"took_s": math.inf},
    ]
    for number, wrong in enumerate(broken):
        with pytest.raises(ResultsError, match="is no comparison of two builds"):
            builds.write(compared(tmp_path / f"wrong{number}", **wrong))


def test_what_was_not_measured_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = compared(tmp_path / "ab")
    said = json.loads((folder / "ab.json").read_text())
    said["findings"][0] |= {"change": None, "interval": [None, None], "detectable": None, "base": 0.0}
    said["findings"].append(said["findings"][0] | {"metric": "of_a_later_version"})
    (folder / "ab.json").write_text(json.dumps(said), encoding="utf-8")
    found = paired_run.about(folder)
    assert [finding.metric for finding in found.findings] == [f["metric"] for f in said["findings"][:-1]]
    first = found.findings[0]
    assert (math.isnan(first.change), first.interval, first.detectable) == (
        True,
        (-math.inf, math.inf),
        math.inf,
    )
    written = json.loads(found.model_dump_json())["findings"][0]
    assert (written["change"], written["interval"], written["detectable"]) == (None, [None, None], None)


def test_a_pair_of_a_number_that_no_pair_has_is_shown_without_a_seed(tmp_path: Path) -> None:
    folder = compared(tmp_path / "ab")
    run = json.loads((folder / "a" / "run.json").read_text())
    for number, repeat in enumerate((-1, -(10**9), 10**9)):
        run["cases"][number]["repeat"] = repeat
    (folder / "a" / "run.json").write_text(json.dumps(run), encoding="utf-8")
    page = builds.write(folder, charts=False).read_text(encoding="utf-8")
    assert page.count("--pairs 1 ") == 17


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    text = ATTACK + "<script>alert(1)</script>"
    folder = compared(
        tmp_path / "ab",
        case_name=text,
        titles={"base": text, "head": text},
        names={"base": text, "head": text},
        scenario=text,
        notes=[text],
    )
    page = builds.write(folder).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "alert(1)" in page
    assert not harm(page)
