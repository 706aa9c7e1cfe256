"""A run on a busy machine says *not worth believing* wherever its figures are shown, and is refused where asked."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.analysis.results import CaseResult, Metric, Quietness, RunResult, Status, Thief, case_from_json
from harness.machine import load, watch
from harness.report import html, junit, markdown, summary, text
from harness.report import json as flat
from harness.run import case as running
from harness.run.context import RunContext
from harness.run.store import RunFolder, RunPlan, spec_text
from harness.run.verdict import conclude, exit_code
from harness.scenario.expand import Case, expand
from harness.scenario.link import Backend
from punktfunk.rich_terminal import Console

QUIET = Quietness(quiet=True, seconds=4.0, cpus=2, others=0.01, others_worst=0.05, own=0.4)
BUSY = QUIET.model_copy(
    update={
        "quiet": False,
        "others": 0.61,
        "reasons": ["other processes took 61% of 2 CPUs, 90% in the worst half second"],
        "thieves": [
            Thief(name="cc1plus", pids=[7, 8], cpu_s=31.5),
            Thief(name="<b>backup", pids=[9], cpu_s=2.25),
            Thief(name="gone", cpu_s=1.0),
        ],
    }
)
WHO = "most by cc1plus (2 processes) 31.5 s, <b>backup (pid 9) 2.2 s, gone (ended) 1.0 s"


HOW_TO = (Path(__file__).parents[2] / "docs/how-to/believe-a-live-run.md").read_text(encoding="utf-8")


def test_the_how_to_says_the_limits_that_there_are_and_its_lines_of_python_run() -> None:
    """Its other commands are run by ``tests/net/test_live.py`` and below."""
    rows = re.findall(
        r"^\| (run-queue|timers|CPU pressure|steal|what the CPU).*\| ([\d.]+) %[^|]*\|$", HOW_TO, re.M
    )
    assert {name: float(limit) for name, limit in rows} == pytest.approx(
        {
            "run-queue": watch.RUN_DELAY * 100,
            "timers": watch.TIMERS_LATE * 100,
            "CPU pressure": watch.PRESSURE * 100,
            "steal": watch.STEAL * 100,
            "what the CPU": watch.THROTTLED * 100,
        }
    )
    allowed = (
        f"others may have {load.BUSY_ON_AVERAGE:.0%} of the CPUs on average and {load.BUSY_IN_A_WINDOW:.0%}"
    )
    assert allowed.replace("%", " %") in HOW_TO
    [lines] = re.findall(r"```python\n(.*?)```", HOW_TO, re.S)
    names: dict[str, object] = {"measure": lambda: None}
    *first, last = lines.strip().splitlines()
    exec("\n".join(first), names)
    quiet, reasons, thieves = eval(last, names)
    assert (type(quiet), type(reasons), type(thieves)) == (bool, list, list)
    for bench in re.findall(r"nox -s bench -- (\w+)|python tests/bench/(\w+)\.py", HOW_TO):
        assert (Path(__file__).parents[1] / "bench" / f"{''.join(bench)}.py").is_file()


def live(name: str, machine: Quietness | None, status: Status = Status.PASSED) -> CaseResult:
    return CaseResult(
        id=name,
        scenario="s",
        seed=1,
        protocol="punktfunk/1",
        backend="tun" if machine else "sim",
        status=status,
        metrics={"transport_p99": Metric(value=40.0, unit="ms")},
        machine=machine,
    )


def concluded(*cases: CaseResult) -> RunResult:
    run = RunResult(run_id="r", scenario="s", started="", cases=list(cases))
    conclude(run)
    return run


@pytest.fixture
def run() -> RunResult:
    return concluded(live("s.n=1", BUSY), live("s.n=2", QUIET), live("s.n=3", None))


def test_a_busy_case_is_worth_nothing_and_says_who_took_the_machine() -> None:
    assert text.disbelief(live("s.n=1", BUSY)) == f"not worth believing: {BUSY.reasons[0]}; {WHO}"
    assert text.disbelief(live("s.n=1", QUIET)) == text.disbelief(live("s.n=1", None)) == ""
    assert [text.machine_word(live("a", machine)) for machine in (BUSY, QUIET, None)] == ["busy", "quiet", ""]
    assert text.is_disbelieved(live("a", BUSY, Status.FAILED))
    assert not text.is_disbelieved(live("a", BUSY, Status.FAULT)), "it has no figures"
    assert not text.is_disbelieved(live("a", QUIET))


def test_the_run_says_it_once_and_names_the_worst_of_several(run: RunResult) -> None:
    assert [note for note in run.notes if "believing" in note] == [
        f"figures of time not worth believing: 1 of 2 live cases; the worst, s.n=1: {BUSY.reasons[0]}; {WHO}"
    ]
    alone = concluded(live("s.n=1", BUSY))
    assert alone.notes == [f"figures of time not worth believing: {BUSY.reasons[0]}; {WHO}"]
    assert concluded(live("s.n=2", QUIET), live("s.n=3", None)).notes == []
    assert exit_code(run) == 0, "it is said; only --require-quiet refuses it"


def test_summary_report_markdown_junit_and_json_say_it(run: RunResult) -> None:
    console = Console(record=True, width=240, file=io.StringIO())
    summary.show(console, run, Path("folder"), {})
    printed = console.export_text()
    assert "not worth believing: 1 of 2 live cases" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith("n=")]
    assert [[word for word in row if word in {"busy", "quiet"}] for row in rows] == [["busy"], ["quiet"], []]

    page = html.render(run, charts=False)
    assert (
        len(re.findall(r'<td><span class="doubt" title="not worth believing: [^"]*">busy</span></td>', page))
        == 1
    )
    assert page.count("not worth believing: other processes took 61% of 2 CPUs") == 3, (
        "in the table, below it, and at the case"
    )
    assert "&lt;b&gt;backup" in page
    assert "<b>backup" not in page
    assert page.count("worth believing</td>") == 2, "each live case has a table of its machine"

    shown = markdown.render(run)
    assert [
        line.count("**busy: not worth believing**") for line in shown.splitlines() if "40 ms" in line
    ] == [1, 0, 0]

    said = [case.findtext("system-out") or "" for case in ET.fromstring(junit.render(run)).iter("testcase")]
    assert ["not worth believing" in words for words in said] == [True, False, False]

    cases = json.loads(flat.render(run))["cases"]
    assert [case["worth_believing"] for case in cases] == [False, True, None]
    assert cases[0]["machine"]["thieves"][0] == {
        "name": "cc1plus",
        "pids": [7, 8],
        "cpu_s": 31.5,
        "yields": False,
    }
    assert cases[2]["machine"] is None


def test_a_result_keeps_it_and_an_older_one_knows_nothing_of_it(tmp_path: Path) -> None:
    written = live("s.n=1", BUSY).model_dump_json().encode()
    assert case_from_json(written, tmp_path).machine == BUSY
    older = json.loads(written)
    del older["machine"]
    assert case_from_json(json.dumps(older).encode(), tmp_path).machine is None


@pytest.fixture
def case(tmp_path: Path) -> Case:
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\nmedia: {source: synthetic, mode: 640x360@30, bitrate: 2 Mbit/s, duration: 1 s}\n"
    )
    return expand(file).cases[0]


@pytest.mark.parametrize(
    ("machine", "status", "required", "refused"),
    [
        (BUSY, Status.PASSED, True, True),
        (BUSY, Status.FAILED, True, True),
        (BUSY, Status.PASSED, False, False),
        (QUIET, Status.PASSED, True, False),
        (None, Status.PASSED, True, False),
        (BUSY, Status.FAULT, True, False),
    ],
)
def test_require_quiet_refuses_what_a_busy_machine_found(
    machine: Quietness | None,
    status: Status,
    *,
    required: bool,
    refused: bool,
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = live(case.id, machine, status).model_copy(update={"backend": "sim", "link": {"asked": 1}})
    monkeypatch.setattr(running, "_run_on", lambda *_: found)
    result = running.run_case(case, tmp_path, RunContext("x", backend=Backend.SIM, require_quiet=required))
    assert (result.status is Status.UNSUPPORTED) is refused
    assert (result.metrics == {}) is refused
    assert result.machine == machine
    if refused:
        assert result.reason == f"not worth believing: {BUSY.reasons[0]}; {WHO} (--require-quiet)"
        assert (result.link, result.folder) == ({"asked": 1}, tmp_path.name)
    run = concluded(result, live("s.other=1", None))
    assert exit_code(run) == (4 if refused else 5 if status is Status.FAULT else 0)


def test_resume_tries_again_what_was_refused_for_a_busy_machine(case: Case, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, ["s"], RunPlan((), None, None, ""))
    folder.case_folder(case)
    assert (folder.path / case.id / "spec.json").read_text() == spec_text(case)
    kept = live(case.id, None, Status.UNSUPPORTED).model_copy(update={"seed": case.seed})
    folder.write_case(kept)
    assert folder.finished(case) is not None
    folder.write_case(kept.model_copy(update={"machine": BUSY}))
    assert folder.finished(case) is None
    folder.close()
