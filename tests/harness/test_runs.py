"""Whole runs from the command line: results, exit codes, resume, interruption, full and read-only disks."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.analysis import runs
from harness.analysis.results import CaseResult, Status
from harness.cli import main
from harness.run import case, runner
from harness.run.context import RunContext
from harness.run.runner import run_cases
from harness.run.store import RunFolder, RunPlan
from harness.scenario.expand import Case, expand
from harness.scenario.link import Backend
from punktfunk.errors import ResultsError
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 240.0
"""Patience with what computes: these tests run at low priority beside others."""
SMALL = """
name: small
description: a few frames
for: {loss: [0 %, 2 %, 10 %]}
media: {frames: 20, frame_bytes: 12 kB, key_interval: 0}
stream: {fec: 30 %}
link: {backend: sim, down: {loss: "${loss}"}}
expect: [frames_corrupt == 0]
"""
LONG = """
name: long
for: {part: [1, 2, 3, 4, 5, 6]}
description: about a second each
media: {frames: 6000, frame_bytes: "${part}0 kB", key_interval: 0}
link: {backend: sim, down: {loss: 1 %}}
"""


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    return kept | {"PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def harness(*arguments: str | Path, cwd: Path, ci: bool = False, charts: bool = False) -> Done:
    """Run a command in this process, from ``cwd`` and with or without CI=true; runs draw nothing unless asked to."""
    out, err = io.StringIO(), io.StringIO()
    if arguments[0] == "run" and not charts:
        arguments = (*arguments, "--no-charts")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("CI", "true" if ci else "")
        code = main([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "long.yaml").write_text(LONG, encoding="utf-8")
    return tmp_path


def only_run(place: Path) -> Path:
    (folder,) = (p for p in (place / "reports").iterdir() if p.is_dir())
    return folder


def results(folder: Path) -> dict[str, CaseResult]:
    found = [CaseResult.model_validate_json(p.read_bytes()) for p in folder.glob("*/case.json")]
    return {case.id: case for case in found}


def test_a_run_leaves_results_reports_and_exit_code_0(place: Path) -> None:
    done = harness("run", "small.yaml", cwd=place, charts=True)
    assert done.returncode == 0, done.stderr
    folder = only_run(place)
    assert sorted(results(folder)) == ["small.loss=0", "small.loss=10", "small.loss=2"]
    assert f"report: reports/{folder.name}/report.html" in done.stdout
    assert "verdict: passed" in done.stdout
    run = runs.load(folder)[0]
    assert run.verdict is Status.PASSED
    assert [case.id for case in run.cases] == ["small.loss=0", "small.loss=2", "small.loss=10"]
    for name in ("report.html", "junit.xml", "summary.md", "figures.json", "plan.json"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "small.loss=2" / "frames.parquet").stat().st_size > 0
    page = folder / "report.html"
    drawn = page.read_text(encoding="utf-8").count("<svg")
    assert drawn > 0
    assert harness("run", "small.yaml", "--out", "bare", cwd=place).returncode == 0
    (bare,) = (place / "bare").iterdir()
    text = (bare / "report.html").read_text(encoding="utf-8")
    assert "<svg" not in text
    assert f"python -m harness report {bare.name}" in text
    assert harness("report", bare.name, "--out", "bare", cwd=place).returncode == 0
    assert (bare / "report.html").read_text(encoding="utf-8").count("<svg") == drawn, "none is lost"


def test_two_runs_with_one_seed_are_byte_equal_and_another_seed_is_not(place: Path) -> None:
    digests = []
    for seed in ("5", "5", "6"):
        done = harness("run", "small.yaml", "--seed", seed, "--out", f"out{len(digests)}", cwd=place)
        assert done.returncode == 0, done.stderr
        found = re.search(r"digest of the simulated cases: ([0-9a-f]{64})", done.stdout)
        assert found is not None
        digests.append(found[1])
    assert digests[0] == digests[1] != digests[2]


def test_jobs_do_not_change_a_byte(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What takes so little would be run without a pool, whatever the jobs.
    monkeypatch.setattr(runner, "INLINE_BELOW_S", 0.0)
    pools: list[int] = []
    pooled = runner._pooled

    def counted(
        cases: Sequence[Case], folder: RunFolder, context: RunContext, jobs: int
    ) -> Iterator[CaseResult]:
        pools.append(jobs)
        return pooled(cases, folder, context, jobs)

    monkeypatch.setattr(runner, "_pooled", counted)
    sides = []
    for jobs in ("1", "2"):
        done = harness("run", "small.yaml", "--seed", "3", "-j", jobs, "--out", f"jobs{jobs}", cwd=place)
        assert done.returncode == 0, done.stderr
        (folder,) = (place / f"jobs{jobs}").iterdir()
        sides.append({name: case.digest for name, case in results(folder).items()})
    assert len(sides[0]) == 3
    assert sides[0] == sides[1]
    assert pools == [2]


def test_a_failed_check_says_what_was_measured_and_how_to_replay_it(place: Path) -> None:
    # Of 20 frames at 45 % loss and 30 % FEC one in ten comes through: whatever the seed, not all do, and at 0 % all do.
    text = SMALL.replace("frames_corrupt == 0", "recovery == 100 %").replace(
        "[0 %, 2 %, 10 %]", "[0 %, 45 %]"
    )
    (place / "strict.yaml").write_text(text.replace("name: small", "name: strict"), encoding="utf-8")
    seed = str(secrets.randbelow(2**31))
    done = harness("run", "strict.yaml", "--seed", seed, cwd=place)
    assert done.returncode == 1, f"seed {seed}"
    assert "recovery == 100 %" in done.stdout
    assert "expected == 100 %" in done.stdout
    case = results(only_run(place))["strict.loss=45"]
    [failed] = [check for check in case.checks if not check.passed]
    assert f"measured {failed.measured}" in done.stdout, f"seed {seed}"
    assert failed.measured.startswith(f"{case.metrics['recovery'].value:g} "), f"seed {seed}"
    replay = re.search(r"replay: (python -m harness run .*)", done.stdout)
    assert replay is not None
    again = harness(*shlex.split(replay[1])[3:], "--out", "again", cwd=place)
    assert again.returncode == 1, "the replayed case fails as the first did"
    first, second = results(only_run(place)), results(next((place / "again").iterdir()))
    (replayed,) = second
    assert replayed == "strict.loss=45"
    assert second[replayed].digest == first[replayed].digest


class Listener:
    """Takes down which case ended when."""

    def __init__(self) -> None:
        self.ended_ids: list[str] = []

    def begin(self, cases: int, estimate_s: float) -> None:
        """Nothing to show."""

    def ended(self, result: CaseResult, estimate_s: float) -> None:
        """Note the case."""
        self.ended_ids.append(result.id)

    def note(self, text: str) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to give back."""


def test_an_interleaved_scenario_really_runs_its_pairs_in_the_order_of_the_coin(tmp_path: Path) -> None:
    # No real link carries pooled seeds, so that every case ends at once, on any machine, in the order of its turn.
    (tmp_path / "ab.yaml").write_text(
        "name: s\nseeds: 2\nrepeats: 12\nmedia: {frames: 3}\n"
        "for: {variant: [{ab: a, fec: 10 %}, {ab: b, fec: 10 %}]}\n"
        "stream: {fec: '${fec}'}\nlink: {backend: sim}\n"
    )
    cases = expand(tmp_path / "ab.yaml").cases
    folder = RunFolder.create(tmp_path, ["s"], RunPlan(files=(), seed=None, backend=None, expression=""))
    heard = Listener()
    outcome = run_cases(cases, folder, heard, backend=Backend.TUN)
    assert {case.status for case in outcome.run.cases} == {Status.UNSUPPORTED}
    assert [case.id for case in outcome.run.cases] == [case.id for case in cases], (
        "results keep the scenario's order"
    )
    side = {case.id: (case.repeat, str(case.params["ab"])) for case in cases}
    turns = [side[name] for name in heard.ended_ids]
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    assert [one[0] for one, _ in pairs] == [other[0] for _, other in pairs] == list(range(12))
    assert all({one[1], other[1]} == {"a", "b"} for one, other in pairs)
    assert {one[1] for one, _ in pairs} == {"a", "b"}, (
        "the coin never fell on one of its sides in twelve throws"
    )


def test_a_codec_with_one_recovery_shard_too_few_is_caught_by_theory(place: Path) -> None:
    text = SMALL.replace("frames: 20", "frames: 60").replace(
        "fec: 30 %", "fec: 30 %, sabotage: one_recovery_short"
    )
    (place / "broken.yaml").write_text(
        text.replace("name: small", "name: broken\nseeds: 40"), encoding="utf-8"
    )
    done = harness("run", "broken.yaml", cwd=place)
    assert done.returncode == 1
    assert "failed: broken: recovery agrees with theory" in done.stdout
    assert "replay: python -m harness run broken.yaml --case" in done.stdout


def test_list_and_dry_run_name_the_cases_and_run_nothing(place: Path) -> None:
    listed = harness("run", "small.yaml", "--list", cwd=place)
    assert listed.stdout.splitlines() == ["small.loss=0", "small.loss=2", "small.loss=10"]
    dry = harness("run", "small.yaml", "--dry-run", "-k", "loss=2", cwd=place)
    assert re.fullmatch(r" +\d+\.\d s  small\.loss=2  \(sim\)\n1 case, about .*\n", dry.stdout)
    assert not (place / "reports").exists()


def test_what_this_machine_cannot_run_is_a_note_here_and_a_failure_on_ci(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.replace("name: small", "name: both").replace("backend: sim", 'backend: "${link}"')
    (place / "both.yaml").write_text(text.replace("for: {", "for: {link: [sim, tun], "), encoding="utf-8")
    monkeypatch.setattr(
        case, "capability", lambda _: SimpleNamespace(ok=False, reason="no TUN here", fix="modprobe tun")
    )
    here = harness("run", "both.yaml", cwd=place)
    assert here.returncode == 0, here.stdout + here.stderr
    assert "3 cases did not run on tun: no TUN here [PF200] (modprobe tun)" in here.stdout
    on_ci = harness("run", "both.yaml", cwd=place, ci=True)
    assert on_ci.returncode == 4
    nothing = harness("run", "both.yaml", "-k", "tun", cwd=place)
    assert nothing.returncode == 4, "a run of which nothing could run has shown nothing"


def test_resume_runs_only_what_is_missing_or_has_changed(place: Path) -> None:
    assert harness("run", "small.yaml", "-k", "not loss=10", cwd=place).returncode == 0
    folder = only_run(place)
    before = (folder / "small.loss=0" / "case.json").stat().st_mtime_ns
    (folder / "small.loss=2" / "case.json").unlink()
    done = harness("run", "--resume", folder.name, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "1 results of the earlier run were kept" in done.stdout
    assert (folder / "small.loss=0" / "case.json").stat().st_mtime_ns == before
    assert sorted(results(folder)) == ["small.loss=0", "small.loss=2"]
    (place / "small.yaml").write_text(SMALL.replace("fec: 30 %", "fec: 40 %"), encoding="utf-8")
    changed = harness("run", "--resume", str(folder), cwd=place)
    assert changed.returncode == 0, changed.stderr
    assert "were kept" not in changed.stdout


def test_resuming_a_run_that_does_not_exist_names_the_latest(place: Path) -> None:
    assert harness("run", "small.yaml", "-k", "loss=0", cwd=place).returncode == 0
    done = harness("run", "--resume", "nonsense", cwd=place)
    assert done.returncode == 5
    assert only_run(place).name in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_has_and_can_be_resumed(place: Path, blow: signal.Signals) -> None:
    process = start(place)
    wait_for_cases(process, place, 1)
    process.send_signal(blow)
    out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 130, err
    folder = only_run(place)
    kept = results(folder)
    assert 1 <= len(kept) < 6
    assert "Interrupted" in out
    assert (folder / "report.html").exists()
    assert runs.load(folder)[0].verdict is Status.INTERRUPTED
    assert f"--resume reports/{folder.name}" in err
    assert not children_of(process.pid)
    done = harness("run", "--resume", folder.name, "-j", "1", cwd=place)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} results of the earlier run were kept" in done.stdout
    assert len(results(folder)) == 6


@pytest.mark.slow
def test_a_killed_runner_leaves_no_process_and_its_results_can_be_read(place: Path) -> None:
    process = start(place)
    wait_for_cases(process, place, 1)
    workers = children_of(process.pid)
    assert workers
    process.kill()
    process.communicate(timeout=LONG_S)
    eventually(lambda: not [pid for pid in workers if alive(pid)], "the end of the workers")
    assert runs.load(only_run(place))[0].verdict is Status.INTERRUPTED


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_case_and_not_the_run(place: Path) -> None:
    process = start(place)
    wait_for_cases(process, place, 1)
    os.kill(children_of(process.pid)[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 5, err
    found = results(only_run(place))
    assert len(found) == 6
    faults = [case for case in found.values() if case.status is Status.FAULT]
    assert faults
    assert all("its process died" in case.reason for case in faults)
    assert sum(case.status is Status.PASSED for case in found.values()) >= 3
    assert f"replay: {faults[0].replay}" in out


@pytest.mark.root
def test_a_full_disk_ends_the_run_clearly_and_keeps_finished_results(place: Path) -> None:
    with mounted("tmpfs", place / "reports", "size=1000k"):
        done = harness("run", "long.yaml", "-j", "1", cwd=place)
        assert done.returncode == 5, done.stdout
        assert "No space left on device" in done.stderr
        assert "free" in done.stderr.partition("→")[2]
        assert "--resume reports/" in done.stderr
        folder = only_run(place)
        for case in folder.glob("*/case.json"):
            CaseResult.model_validate_json(case.read_bytes())
        assert len(results(folder)) == 2
        assert not list(folder.glob("**/.*.part"))


@pytest.mark.root
@pytest.mark.slow
def test_a_report_folder_that_becomes_read_only_keeps_finished_results(place: Path) -> None:
    with mounted("tmpfs", place / "reports", "size=50m"):
        process = start(place)
        wait_for_cases(process, place, 1)
        remount = ["mount", "-o", "remount,ro", str(place / "reports")]
        # Busy while a file is open to be written.
        eventually(
            lambda: subprocess.run(remount, check=False, capture_output=True).returncode == 0,
            "no file is being written",
        )
        _, err = process.communicate(timeout=LONG_S)
        assert process.returncode == 5
        assert "Read-only file system" in err
        assert "--out" in err
        assert 1 <= len(results(only_run(place))) < 6


def test_a_report_folder_that_cannot_be_made_is_said_before_anything_runs(place: Path) -> None:
    (place / "reports").write_text("a file stands here", encoding="utf-8")
    done = harness("run", "small.yaml", cwd=place)
    assert done.returncode == 5
    assert "cannot make the report folder" in done.stderr
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def start(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "long.yaml", "-j", "2", "--no-charts"],
        cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_cases(process: subprocess.Popen[str], place: Path, number: int) -> None:
    def there() -> bool:
        assert process.poll() is None, process.communicate()
        return len(list(place.glob("reports/*/*/case.json"))) >= number

    eventually(there, f"{number} finished cases", LONG_S)


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                text = (entry / "stat").read_text(encoding="ascii", errors="replace")
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


@contextmanager
def mounted(kind: str, at: Path, options: str) -> Iterator[None]:
    at.mkdir()
    subprocess.run(["mount", "-t", kind, "-o", options, "none", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_a_scenario_that_is_wrong_ends_with_2_before_a_folder_is_made(place: Path) -> None:
    (place / "wrong.yaml").write_text("media: {frmes: 3}\n", encoding="utf-8")
    done = harness("run", "wrong.yaml", cwd=place)
    assert done.returncode == 2
    assert "did you mean 'frames'?" in done.stderr
    assert not (place / "reports").exists()


def test_the_plan_says_what_was_asked_for(place: Path) -> None:
    assert harness("run", "small.yaml", "-k", "loss=2", "--seed", "9", cwd=place).returncode == 0
    plan = json.loads((only_run(place) / "plan.json").read_text(encoding="utf-8"))
    assert plan["files"] == ["small.yaml"]
    assert (plan["seed"], plan["expression"], plan["schema_version"]) == (9, "loss=2", 1)


@pytest.mark.parametrize(
    "changed",
    [[], {"files": [5]}, {"files": "small.yaml"}, {"backend": "carrier-pigeon"}, {"expression": 5}],
    ids=str,
)
def test_a_damaged_plan_is_not_resumed(tmp_path: Path, changed: object) -> None:
    plan = RunPlan(files=("small.yaml",), seed=None, backend=None, expression="")
    folder = RunFolder.create(tmp_path, ["small"], plan)
    folder.close()
    again, kept = RunFolder.reopen(tmp_path, folder.run_id)
    again.close()
    assert kept == plan
    damaged = asdict(plan) | changed if isinstance(changed, dict) else changed
    (folder.path / "plan.json").write_text(json.dumps(damaged), encoding="utf-8")
    with pytest.raises(ResultsError, match="is not the plan of a run"):
        RunFolder.reopen(tmp_path, folder.run_id)


def test_two_processes_do_not_run_into_one_folder(place: Path) -> None:
    assert harness("run", "small.yaml", "-k", "loss=0", cwd=place).returncode == 0
    held, _ = RunFolder.reopen(place / "reports", only_run(place).name)
    refused = harness("run", "--resume", held.run_id, cwd=place)
    assert refused.returncode == 5
    assert "another process is running into" in refused.stderr
    held.close()
    assert harness("run", "--resume", held.run_id, cwd=place).returncode == 0
