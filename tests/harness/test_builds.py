"""Two builds of a tiny history on one link, and the search for the commit that made a figure worse."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import cli
from harness.analysis import compare, runs
from harness.analysis.results import CaseResult, Status
from harness.builds import ab, driver, machine
from harness.builds import make as making
from harness.builds.cache import KEPT, Cache
from harness.builds.make import make
from harness.builds.origin import Kind, resolve
from harness.builds.pairing import PairedRun
from harness.builds.repository import Repository
from harness.builds.worker import Worker
from punktfunk.errors import BuildError, BuildTooOldError, UsageError
from tests.builds.plants import History
from tests.support.toy_project import (
    DIES,
    DIES_LATER,
    DOES_NOT_START,
    ENDS_IN_A_FAULT,
    FEWER_SHARDS,
    GIVES_UP,
    SCENARIO,
    TWICE_THE_WORK,
    keep_core,
    toy_history,
)

ROOT = Path(__file__).resolve().parents[2]


class Lab:
    """The program, on a history of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = toy_history(folder / "clone")
        self.base = self.history.git("rev-parse", "HEAD")
        self.scenario = folder / "toy.yaml"
        self.scenario.write_text(SCENARIO, encoding="utf-8")
        self.cache = folder / "cache"
        keep_core(self.cache, self.history.tree)

    def __call__(self, *arguments: str) -> int:
        """Run a command and return its exit code."""
        places = (
            "--no-charts",
            "--repository",
            str(self.history.tree),
            "--out",
            str(self.folder / "reports"),
        )
        return cli.main([*arguments, *places, "--cache", str(self.cache)])

    def ab(self, head: str, *options: str) -> int:
        return self("ab", self.base, head, str(self.scenario), "--plain", *options)

    def result(self) -> Path:
        """Return the folder of the newest run."""
        return max((self.folder / "reports").iterdir(), key=lambda path: path.stat().st_mtime)

    def build(self, name: str) -> Worker:
        repository = Repository(self.history.tree)
        return Worker(make(resolve(name, repository), Cache(self.cache), lambda _words: None))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def mend(history: History) -> None:
    """Take the import away that keeps a build from starting, without a commit of its own."""
    path = history.tree / DOES_NOT_START.file
    path.write_text(path.read_text(encoding="utf-8").replace("import no_such\n", ""), encoding="utf-8")


Shown = Callable[[], str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Iterator[Shown]:
    """Return a function that gives what was printed since it was asked last, errors included."""

    def read() -> str:
        found = capsys.readouterr()
        return found.out + found.err

    return read


def test_a_build_with_less_recovery_is_a_regression_that_names_the_figure(lab: Lab, shown: Shown) -> None:
    head = lab.history.plant(FEWER_SHARDS)
    assert lab.ab(head, "--pairs", "14", "--metric", "recovery", "--metric", "fec_overhead") == 3
    said = shown()
    (line,) = [line for line in said.splitlines() if line.startswith("recovery")]
    assert line.endswith("regression (exact)")
    assert re.search(r"-\d+\.\d+% \(-\d+\.\d+% … -\d+\.\d+%\)", line), "a change with its interval"
    (line,) = [line for line in said.splitlines() if line.startswith("fec_overhead")]
    assert "20 %" in line
    assert "10 %" in line
    assert line.endswith("improvement (exact)")
    assert f"base  {lab.base[:12]} Begin" in said
    kept = json.loads((lab.result() / "ab.json").read_text())
    assert (kept["exit_code"], kept["pairs"]) == (3, 14)
    assert {finding["metric"] for finding in kept["findings"]} == {"recovery", "fec_overhead"}
    # The page beside it has the pairs with the seed of each; charts are drawn when somebody asks for them.
    page = (lab.result() / "ab.html").read_text(encoding="utf-8")
    assert '<span class="word">regression</span>' in page
    assert f"--case toy --seed {kept['seeds'][13]} --pairs 1" in page
    assert "<svg" not in page
    # Each side is a run as any other, so that what reads runs reads it.
    both = [runs.load(lab.result() / side) for side in "ab"]
    assert [len(run.cases) for run, _ in both] == [14, 14]
    assert all(was.seed == now.seed for was, now in zip(*(run.cases for run, _ in both), strict=True))
    assert len({case.seed for case in both[0][0].cases}) == 14
    assert compare.compare(*both).exit_code == 3


def test_equal_builds_are_exactly_equal_and_few_pairs_of_cpu_time_say_how_many_more(
    lab: Lab, shown: Shown
) -> None:
    (head,) = lab.history.grow(1, {})
    assert lab.ab(head, "--pairs", "3") in {0, 4}
    said = shown()
    assert "2 are exactly equal in all pairs" in said
    assert re.search(
        r"not enough samples for core_cpu of toy .*: \d+ more pairs would show 5%, about \d+ s", said
    )
    assert "core " in said
    assert "(the same)" in said
    run = lab.result()
    assert lab.ab(head, "--pairs", "4", "--resume", str(run), "--metric", "recovery") == 0
    assert json.loads((run / "ab.json").read_text())["pairs"] == 7
    assert [case.repeat for case in runs.load(run / "a")[0].cases] == list(range(7))
    # Other builds would be another experiment.
    other = lab.history.plant(FEWER_SHARDS)
    assert lab.ab(other, "--pairs", "4", "--resume", str(run)) == 2
    assert "compared something else: head" in shown()


def test_twice_the_work_is_seen_in_cpu_time(lab: Lab, shown: Shown) -> None:
    head = lab.history.plant(TWICE_THE_WORK)
    assert lab.ab(head, "--pairs", "16", "--metric", "core_cpu") == 3
    (line,) = [line for line in shown().splitlines() if line.startswith("core_cpu")]
    assert line.endswith("regression")


def test_commits_that_cannot_be_judged_are_skipped_and_named_where_it_may_be_one_of_them(
    lab: Lab, shown: Shown
) -> None:
    lab.history.grow(2, {})
    broken = lab.history.plant(DOES_NOT_START)
    mend(lab.history)
    guilty = lab.history.plant(FEWER_SHARDS)
    last = lab.history.grow(2, {})[-1]
    before = lab.history.git("status", "--porcelain=2", "--branch"), lab.history.git("for-each-ref")
    assert lab("bisect", lab.base, last, str(lab.scenario), "--metric", "recovery", "--pairs", "10") == 1
    said = shown()
    assert f"skip  {broken[:12]} Import what there is not: " in said
    (line,) = [line for line in said.splitlines() if "only commits that could not be judged are left" in line]
    assert set(re.findall("[0-9a-f]{12}", line)) == {broken[:12], guilty[:12]}
    assert (lab.history.git("status", "--porcelain=2", "--branch"), lab.history.git("for-each-ref")) == before


def test_the_commit_is_named_with_its_figures_and_the_command_that_shows_them_again(
    lab: Lab, shown: Shown
) -> None:
    commits = lab.history.grow(3, {1: [FEWER_SHARDS]})
    lab.history.plant(DOES_NOT_START)
    mend(lab.history)
    last = lab.history.grow(3, {})[-1]
    code = lab("bisect", lab.base, last, str(lab.scenario), "--metric", "recovery", "--pairs", "10")
    said = shown()
    assert code == 0, said
    assert (
        f"{commits[1]} is the first bad commit\n  Send less recovery\n  nobody <nobody@example.org>" in said
    )
    assert re.search(
        r"recovery of toy: [\d.]+ % before, [\d.]+ % after: -[\d.]+% \(.*\), exact, 10 pairs", said
    )
    (page,) = [line.partition("page: ")[2] for line in said.splitlines() if "page: " in line]
    assert "Send less recovery" in Path(page).read_text(encoding="utf-8")
    (again,) = [line.partition("again: ")[2] for line in said.splitlines() if "again: " in line]
    program, *arguments = shlex.split(again)
    assert program == "punktfunk-lab"
    assert arguments[:3] == ["ab", commits[0][:12], commits[1][:12]]
    assert lab(*arguments) == 3, "what it prints does what it says"


def test_a_search_between_commits_that_do_not_differ_ends_with_the_figure(lab: Lab, shown: Shown) -> None:
    commits = lab.history.grow(2, {})
    assert lab("bisect", lab.base, commits[-1], str(lab.scenario), "--metric", "recovery") == 1
    assert "recovery of toy did not move between them" in shown()
    assert lab("bisect", "no-such", commits[-1], str(lab.scenario), "--metric", "recovery") == 2
    assert "'no-such' is no revision" in shown()
    assert lab("bisect", lab.base, commits[-1], str(lab.scenario), "--metric", "recovry") == 2
    assert "did you mean 'recovery'?" in shown()
    assert lab("bisect", lab.base, commits[-1], str(lab.scenario), "--metric", "recovery", "-k", "none") == 2
    assert "-k 'none' selects none of 1 cases" in shown()


def test_a_build_that_cannot_take_part_says_why(lab: Lab, shown: Shown) -> None:
    (lab.history.tree / DIES.file).unlink()
    old = lab.history.commit("Have no cases yet")
    assert lab.ab(old) == 4
    said = shown()
    assert f"error[PF671] {old[:12]} Have no cases yet: its harness cannot run a case by itself" in said
    lab.scenario.write_text(SCENARIO + "theory: false\n", encoding="utf-8")
    assert lab.ab(lab.base) == 4
    assert "unknown key 'theory'" in shown()


def test_a_build_that_comes_to_no_result_where_the_other_does_fails(lab: Lab, shown: Shown) -> None:
    head = lab.history.plant(ENDS_IN_A_FAULT)
    assert lab.ab(head, "--pairs", "2") == 1
    assert (
        "note: head came to no result in 2 of 2 runs of toy (fault: the ledger does not balance)" in shown()
    )
    assert lab("ab", head, lab.base, str(lab.scenario), "--plain", "--pairs", "2") == 4
    assert "base came to no result in 2 of 2 runs of toy" in shown()


def test_a_case_that_a_build_gives_up_on_costs_its_pair_and_no_other(lab: Lab, shown: Shown) -> None:
    head = lab.history.plant(GIVES_UP)
    assert lab.ab(head, "--pairs", "5", "--metric", "recovery") == 1, "base came to one with that seed"
    said = shown()
    assert "note: head came to no result in 1 of 5 runs of toy (fault: the handshake took too long)" in said
    (found,) = json.loads((lab.result() / "ab.json").read_text())["findings"]
    assert (found["pairs"], found["verdict"]) == (4, "same")


def test_what_ran_before_a_build_died_is_kept(lab: Lab, shown: Shown) -> None:
    head = lab.history.plant(DIES_LATER)
    assert lab.ab(head, "--pairs", "9", "--metric", "recovery") == 5
    said = shown()
    assert "its process ended with 7" in said
    assert "1 are exactly equal in all pairs" in said
    assert json.loads((lab.result() / "ab.json").read_text())["pairs"] == 4
    assert len(runs.load(lab.result() / "b")[0].cases) == 4


def test_a_coin_says_which_of_a_pair_goes_first_and_a_longer_run_begins_as_a_shorter_one(lab: Lab) -> None:
    cases = ab.runs_of(lab.scenario, None, None, "", ())
    orders = []
    with lab.build("main") as a, lab.build("main") as b:
        for parts in ((3, 5), (8,)):
            order: list[CaseResult] = []
            pair = PairedRun(a, b, cases, lab.folder / str(len(parts)), ended=order.append)
            pair.warm_up()
            assert order == []
            for part in parts:
                pair.more(part)
            assert pair.count == 8
            both = pair.pairs["toy"]
            assert {result.seed for result in order} == {cases.seed_of(n) % 2**53 for n in range(8)}
            assert all(x.seed == y.seed and x.repeat == y.repeat == n for n, (x, y) in enumerate(both))
            orders.append([both[n][0] is order[2 * n] for n in range(8)])
    assert orders[0] == orders[1]
    assert set(orders[0]) == {True, False}


def test_a_build_that_dies_leaves_its_last_words(lab: Lab) -> None:
    head = lab.history.plant(DIES)
    with lab.build(head) as worker, pytest.raises(BuildError) as raised:
        worker.run(lab.scenario, 1, "toy", None, lab.folder / "case", 60)
    assert "its process ended with 7: the last words" in raised.value.cause
    head = lab.history.plant(DOES_NOT_START)
    with pytest.raises(BuildTooOldError, match="No module named 'no_such'"):
        lab.build(head)


def test_a_core_that_does_not_compile_ends_with_the_compilers_words(
    lab: Lab, shown: Shown, need_tool: Callable[..., str]
) -> None:
    need_tool("cargo", "rustup")
    (lab.history.tree / "punktfunk/core/Cargo.toml").write_text("[package]\nname = \n", encoding="utf-8")
    head = lab.history.commit("Break the manifest")
    assert lab.ab(head) == 5
    said = shown()
    assert f"error[PF670] {head[:12]} Break the manifest: compiling the core failed" in said
    assert "Cargo.toml" in said
    (log,) = (lab.cache / "logs").iterdir()
    assert str(log) in said
    assert "Cargo.toml" in log.read_text()
    assert not list((lab.cache / "builds").glob(f"*{head[:12]}*")), "nothing half is kept"


def test_a_folder_and_a_wheel_are_builds_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    # What would lead a build to another one's modules is kept from it.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    repository = Repository(lab.history.tree)
    FEWER_SHARDS.apply(lab.history.tree)
    folder = resolve(str(lab.history.tree), repository)
    assert folder.kind is Kind.FOLDER
    with lab.build(str(lab.history.tree)) as worker:
        ran = worker.run(lab.scenario, 3, "toy", None, lab.folder / "case", 60)
    assert ran.result.metrics["fec_overhead"].value == 0.1
    assert (ran.result.status, ran.result.seed) == (Status.PASSED, 3)
    assert (ran.result.metrics["core_cpu"].value or 0) > 0
    assert (ran.result.metrics["case_cpu"].value or 0) > 0
    path = lab.history.tree / FEWER_SHARDS.file
    path.write_text(path.read_text() + "# another word\n")
    assert resolve(str(lab.history.tree), repository).key != folder.key
    wheel = lab.folder / "punktfunk-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        rooms = (lab.history.tree / name for name in ("harness", "punktfunk"))
        for file in (path for room in rooms for path in room.rglob("*.py")):
            files.write(file, file.relative_to(lab.history.tree))
        files.write(next((lab.cache / "cores").glob("*/*.so")), "punktfunk/core/_core.abi3.so")
        files.writestr(
            "punktfunk-1.dist-info/METADATA", "Name: punktfunk\nVersion: 1\nRequires-Dist: numpy>=1\n"
        )
    assert resolve(str(wheel), repository).kind is Kind.WHEEL
    with lab.build(str(wheel)) as worker:
        assert worker.cases(lab.scenario, None) == ["toy"]
    wheel.write_bytes(b"no wheel")
    with pytest.raises(BuildError, match="cannot be unpacked"):
        lab.build(str(wheel))


def wheel_with(
    folder: Path, metadata: bytes, *, says: int | None = None, method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Write a wheel; its METADATA may say that it is shorter than it is, and have the checksum of what it says."""
    wheel = folder / "punktfunk-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", method) as files:
        files.writestr("punktfunk/core/_core.abi3.so", b"")
        files.writestr("harness/run/case.py", b"")
        files.writestr("punktfunk-1.dist-info/METADATA", metadata)
        right = files.getinfo("punktfunk-1.dist-info/METADATA")
    if says is not None:
        true = struct.pack("<III", right.CRC, right.compress_size, right.file_size)
        lie = struct.pack("<III", zlib.crc32(metadata[:says]), right.compress_size, says)
        content = wheel.read_bytes()
        assert content.count(true) == 2
        wheel.write_bytes(content.replace(true, lie))
    return wheel


def test_the_description_of_a_wheel_is_read_as_far_as_it_says_and_no_further(tmp_path: Path) -> None:
    """A wheel comes from wherever its user had it: one member of 16 kB that unpacks to 16 MB is no description."""
    head = b"Name: punktfunk\nVersion: 1\n\n"
    wheel = wheel_with(tmp_path, head + bytes(16 << 20), says=len(head))
    (tmp_path / "to").mkdir()
    tracemalloc.start()
    try:
        assert making._unpack(wheel, tmp_path / "to").required == ()
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 << 20


@pytest.mark.parametrize(
    ("metadata", "method", "why"),
    [
        (bytes(2 << 20), zipfile.ZIP_DEFLATED, "its METADATA has 2097152 bytes"),
        (b"Name: punktfunk\n\n", zipfile.ZIP_LZMA, "compressed by a method that no wheel has"),
    ],
    ids=["long", "another method"],
)
def test_a_wheel_that_none_is_made_as_is_refused(
    metadata: bytes, method: int, why: str, tmp_path: Path
) -> None:
    (tmp_path / "to").mkdir()
    with pytest.raises(BuildError, match=why):
        making._unpack(wheel_with(tmp_path, metadata, method=method), tmp_path / "to")


def test_the_page_on_regressions_says_commands_that_find_one(
    lab: Lab, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/how-to/find-a-regression.md").read_text(encoding="utf-8")
    commands = re.findall("^    punktfunk-lab (.*)$", page, re.MULTILINE)
    scenario = lab.history.tree / "scenarios" / "latency-regression.yaml"
    scenario.parent.mkdir()
    scenario.write_text(SCENARIO.replace("name: toy", "name: simulated"), encoding="utf-8")
    lab.history.git("tag", "v0.1", "main")
    lab.history.grow(3, {1: [FEWER_SHARDS]})
    monkeypatch.chdir(lab.history.tree)
    monkeypatch.setenv("XDG_CACHE_HOME", str(lab.folder / "home"))
    shutil.copytree(lab.cache, lab.folder / "home" / "punktfunk-lab")
    codes = []
    for command in commands:
        made = [path.name for path in Path("reports").glob("*-ab+*")]
        codes.append((command.split()[0], cli.main(shlex.split(command.replace("RUN", "".join(made))))))
    assert codes == [("ab", 3), ("ab", 3), ("bisect", 0)], shown()
    assert "Send less recovery" in shown()


def test_what_is_no_build_is_named_with_what_would_be(lab: Lab) -> None:
    repository = Repository(lab.history.tree)
    for name in ("no-such", "--upload-pack=x", str(lab.folder), "\0", "x" * 5000):
        with pytest.raises(UsageError):
            resolve(name, repository)
    assert resolve("main", repository).key == lab.base
    assert resolve(lab.base[:8], repository).title == f"{lab.base[:12]} Begin"


def test_builds_are_kept_and_the_least_recently_used_go(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEPT, "builds", 2)
    commits = [lab.base, *lab.history.grow(2, {})]
    for commit in commits[:2]:
        lab.build(commit).close()
    place = {c: lab.cache / "builds" / f"revision-{c}" for c in commits}
    made = place[lab.base].stat().st_ino
    lab.build(lab.base).close()
    assert place[lab.base].stat().st_ino == made, "kept, and now the one that was used last"
    lab.build(commits[2]).close()
    assert {c for c in commits if place[c].is_dir()} == {lab.base, commits[2]}


def test_the_driver_finds_its_three_names_in_this_harness(tmp_path: Path) -> None:
    scenario = tmp_path / "tiny.yaml"
    scenario.write_text(SCENARIO, encoding="utf-8")
    order = {"file": str(scenario), "seed": 5}
    orders = [
        {"do": "list", **order},
        {"do": "run", **order, "case": "toy", "backend": None, "folder": str(tmp_path / "case")},
        {"do": "run", **order, "case": "no-such", "backend": None, "folder": str(tmp_path / "case")},
    ]
    done = subprocess.run(
        [sys.executable, "-P", driver.__file__],
        input="".join(json.dumps(each) + "\n" for each in orders),
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    ready, listed, ran, refused = map(json.loads, done.stdout.splitlines())
    assert [Path(path).is_relative_to(ROOT) for path in ready["modules"]] == [True, True]
    assert listed == {"cases": ["toy"]}
    assert ran["core_ms"] > 0
    assert ran["cpu_ms"] >= ran["core_ms"]
    assert refused["code"] == "KeyError"
    assert json.loads((tmp_path / "case" / "case.json").read_text())["status"] == "passed"


def test_a_latency_is_refused_beside_a_busy_loop_before_anything_is_built(
    lab: Lab, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LOOK_S", 1.0)
    lab.scenario.write_text(SCENARIO.replace("backend: sim", "backend: tun"), encoding="utf-8")
    # What this process has started is its own: the loops are orphans, and others to it.
    command = [sys.executable, "-S", "-c", "while True: pass"]
    orphan = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=-3, stderr=-3).pid)"
    pids = []
    try:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-S", "-c", orphan, *command], capture_output=True, check=True
            )
            pids.append(int(done.stdout))
        assert lab.ab(lab.base, "--metric", "transport_p99") == 4
        assert lab("bisect", lab.base, lab.base, str(lab.scenario), "--metric", "transport_p99") == 4
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    said = shown()
    assert said.count("error[PF240] no latency can be compared here now: other processes took") == 2
    assert not (lab.cache / "builds").exists()
