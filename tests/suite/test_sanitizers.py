"""`nox -s sanitize` and `nox -s fuzz -- --guided` notice what they are there for, and say how to get what they lack."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import guided, watch
from tests.sanitizers import memcheck, nightly
from tests.sanitizers.programs import BROKEN, Part, Tool

PASSES = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'"
REPORTS = "echo 'ERROR: AddressSanitizer: heap-buffer-overflow on address'; exit 1"


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


Make = Callable[[str, str], Tool]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Return what makes a tool over a shell script: what a broken contract does in it, and what other tests do."""

    def made(broken: str, other: str) -> Tool:
        kernels = "echo 'names no kernel that this machine can run; unset it, or set it to scalar, avx2'"
        script = f'if [ "$PUNKTFUNK_FEC_KERNEL" = "?" ]; then {kernels}; exit 101; fi\n'
        script += f'case "$*" in *broken_contracts*) {broken};; *) {other};; esac'
        built = program(tmp_path, "abi", script)
        monkeypatch.setattr(Tool, "build", lambda _: {"abi": built})
        part = Part("abi", for_each_kernel=True)
        return Tool("tool", (), {}, (), (part,), re.compile("heap-buffer-overflow"))

    return made


def test_a_tool_passes_where_it_sees_each_broken_contract_by_each_kernel(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(REPORTS, PASSES).run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("tool: kernels scalar, avx2: 8 broken contracts to see, then 2 runs of tests")
    assert [f"tool: {test}, {kernel}: seen" for kernel in ("scalar", "avx2") for test in BROKEN] == lines[
        2:10
    ]
    ran = [re.sub(r"in \d+ s$", "in … s", line) for line in lines[10:]]
    assert ran == [f"tool: abi, {kernel}: 3 passed, 0 failed in … s" for kernel in ("scalar", "avx2")]


@pytest.mark.parametrize(
    ("broken", "other", "said"),
    [
        pytest.param(PASSES, PASSES, "NOT SEEN", id="it sees nothing"),
        pytest.param("exit 1", PASSES, "NOT SEEN", id="the program fails for another reason"),
        pytest.param(REPORTS, REPORTS, "did not end in 0 s, BROKEN", id="it finds something in a test"),
        pytest.param(
            REPORTS,
            "echo 'test result: ok. 0 passed; 0 failed'",
            "0 passed, 0 failed in 0 s, BROKEN",
            id="no test has the name",
        ),
        pytest.param(
            REPORTS, f"{PASSES}; exit 97", "3 passed, 0 failed in 0 s, BROKEN", id="Valgrind's exit code"
        ),
    ],
)
def test_a_tool_fails_where(
    make: Make, capsys: pytest.CaptureFixture[str], broken: str, other: str, said: str
) -> None:
    assert not make(broken, other).run()
    assert said in capsys.readouterr().out


def test_broken_contracts_are_tests_of_the_core() -> None:
    source = (nightly.CORE / "tests" / "abi.rs").read_text(encoding="utf-8")
    assert set(BROKEN) == set(re.findall(r"#\[ignore = .*\]\n    fn (\w+)", source))


@pytest.mark.parametrize("script", [None, "echo \"error: toolchain 'nightly' is not installed\" >&2; exit 1"])
def test_a_missing_nightly_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None
) -> None:
    if script:
        program(tmp_path, "rustup", script)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="rustup toolchain install nightly") as refusal:
        nightly.need_nightly("this")
    assert ("is not installed" if script else "rustup is not on PATH") in str(refusal.value)


def test_a_missing_valgrind_and_a_missing_cargo_fuzz_are_said_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(tmp_path, "rustup", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install valgrind"):
        memcheck.tool()
    monkeypatch.setattr(guided, "CARGO_FUZZ", guided.ROOT / ".nox" / "no" / "cargo-fuzz")
    with pytest.raises(SystemExit, match="nox -s fuzz -- --guided"):
        guided.build()


def test_the_bodies_are_those_of_the_core() -> None:
    names = guided.bodies()
    source = (nightly.CORE / "fuzz" / "mod.rs").read_text(encoding="utf-8")
    count = re.search(r"BODIES: \[Body; (\d+)\]", source)
    assert count is not None
    assert len(names) == len(set(names)) == int(count[1])
    assert {"open", "shards", "geometry", "c_session", "c_gamestream"} <= set(names)


@pytest.mark.parametrize(("seconds", "taken"), [("0", False), ("1", True), ("86400", True), ("86401", False)])
def test_a_body_is_fuzzed_for_a_time_that_ends(
    seconds: str, taken: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """For libFuzzer no seconds are no limit."""
    if taken:
        assert guided.arguments().parse_args(["--seconds", seconds]).seconds == int(seconds)
    else:
        with pytest.raises(SystemExit):
            guided.arguments().parse_args(["--seconds", seconds])
        assert f"'{seconds}' is not a number from 1 to 86400" in capsys.readouterr().err


def test_figures_of_a_run_are_the_last_that_libfuzzer_told() -> None:
    output = """INFO: Loaded 1 modules   (91032 inline 8-bit counters): 91032 [0x1, 0x2),
#0\tREAD units: 3
#4\tINITED cov: 409 ft: 410 corp: 3/1kb exec/s: 0 rss: 60Mb
#512\tNEW    cov: 511 ft: 700 corp: 9/2kb lim: 8192 exec/s: 256 rss: 61Mb L: 4/9 MS: 1 EraseBytes-
#9000\tDONE   cov: 620 ft: 900 corp: 40/9kb lim: 8192 exec/s: 900 rss: 70Mb
Done 9000 runs in 10 second(s)
"""
    assert guided.Ran.read(output) == guided.Ran(inputs=9000, edges=620, features=900, kept=40)
    assert guided.Ran.read("INFO: Running with entropic power schedule") is None
    assert guided.progress(output, 41.6, 60) == "9000 inputs, 620 edges after 42 of 60 s"


def test_a_run_that_still_reads_its_corpus_says_so() -> None:
    reading = "seeds and what earlier runs kept, "
    assert f"{reading}0 inputs in 20 s" in guided.progress("INFO: seed corpus: files: 30", 20, 10)
    output = "#512\tpulse  cov: 13609 ft: 500 corp: 400/1Mb exec/s: 6 rss: 400Mb\n"
    assert f"{reading}512 inputs in 82 s" in guided.progress(output, 82, 25)


def test_a_fuzzer_says_how_far_it_is_while_it_runs(tmp_path: Path) -> None:
    """It ends once it was told of, with what it had printed by then, and not before."""
    told: list[str] = []
    seen = tmp_path / "seen"

    def news(output: str, spent_s: float) -> None:
        assert spent_s > 0
        told.append(output)
        if "at work" in output:
            seen.touch()

    script = f"echo at work; until [ -e {seen} ]; do sleep 0.01; done; echo done >&2; exit 77"
    ended = watch.run(["sh", "-c", script], news, every_s=0.01)
    assert (ended.returncode, ended.output) == (77, "at work\ndone\n")
    assert told[-1].startswith("at work\n")
    assert ended.cpu_s > 0
    assert re.fullmatch(r"\d+ s \(\d+ s of CPU\)", ended.times())


def test_whoever_ends_a_run_ends_its_fuzzer() -> None:
    def interrupted(_: str, __: float) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        watch.run(["sleep", "600"], interrupted, every_s=0.01)
    assert time.monotonic() - began < 300


@pytest.mark.parametrize(
    ("count", "seconds", "said"),
    [(1, 60, "1 bodies, 60 s each: 60 s "), (17, 60, "17 bodies, 60 s each: 17 min ")],
)
def test_a_run_says_beforehand_how_long_it_takes(count: int, seconds: int, said: str) -> None:
    assert watch.plan("bodies", count, seconds).startswith(said)


def test_what_is_fuzzed_is_built_of_the_crates_that_are_shipped() -> None:
    ours, fuzzed = (
        {(package["name"], package["version"]) for package in tomllib.loads(lock.read_text())["package"]}
        for lock in (nightly.CORE / "Cargo.lock", nightly.CORE / "fuzz" / "Cargo.lock")
    )
    known = {name for name, _ in ours}
    others = sorted(package for package in fuzzed - ours if package[0] in known)
    assert not others, f"copy core/Cargo.lock to core/fuzz/Cargo.lock and run `cargo fetch` there: {others}"
