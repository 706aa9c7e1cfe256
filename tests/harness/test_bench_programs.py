"""Benches of the table are built as the wheel is, run here or on a machine without a compiler, and end in a table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.results import Quietness
from tests.bench.table import __main__ as program
from tests.bench.table import programs
from tests.bench.table.figures import BenchError
from tests.bench.table.targets import ROOT
from tests.support.bench_rows import BUSY, QUIET, FakeWatch, figures, keep

# --- programs


def test_the_build_is_the_wheels_whatever_stands_in_the_environment() -> None:
    kept = {"PATH": "/bin", "CARGO_TARGET_DIR": "t", "PUNKTFUNK_ISAL": "l"}
    changes = {
        "RUSTFLAGS": "-C target-cpu=native",
        "CARGO_ENCODED_RUSTFLAGS": "",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS": "",
        "CARGO_PROFILE_RELEASE_LTO": "fat",
        "CARGO_PROFILE_BENCH_DEBUG": "2",
    }
    assert programs.default_build(kept | changes) == kept


def test_programs_are_those_that_cargo_names() -> None:
    def artifact(name: str, executable: str | None) -> str:
        return json.dumps({"reason": "compiler-artifact", "target": {"name": name}, "executable": executable})

    said = "\n".join(
        [
            "Compiling",
            artifact("libc", None),
            artifact("a", "/t/a-1"),
            json.dumps({"reason": "build-finished"}),
        ]
    ).encode()
    assert programs.programs(said, ["a"]) == {"a": Path("/t/a-1")}
    with pytest.raises(BenchError, match="no program of the bench b"):
        programs.programs(said, ["a", "b"])


def test_a_program_that_fails_is_told_by_its_last_words(tmp_path: Path) -> None:
    failing = [sys.executable, "-S", "-c", "import sys; sys.exit('x' * 9000 + '\\nbytes \\x1b[31mdiffer')"]
    with pytest.raises(BenchError) as error:
        programs.run(failing, {}, tmp_path)
    assert str(error.value) == "ended with status 1: bytes \\x1b[31mdiffer"


def test_a_bench_runs_again_until_the_machine_was_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(tries: int, *found: Quietness) -> tuple[int, Quietness, int]:
        left, done, told = list(found), [], []
        monkeypatch.setattr(programs, "Watch", lambda: FakeWatch(left.pop(0)))
        value, machine = programs.watched(lambda: done.append(0) or len(done), tries, busy=told.append)
        return value, machine, len(told)

    assert watched(2, QUIET) == (1, QUIET, 0)
    assert watched(3, BUSY, BUSY, QUIET) == (3, QUIET, 2)
    assert watched(2, BUSY, BUSY) == (2, BUSY, 1)


# --- the whole program, with benches that are scripts


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Return what runs the program: benches are a script that keeps ``rows``, the reference one that keeps samples."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text(
        f'#!/bin/sh\n[ -e "{ours}.broken" ] && {{ echo "bytes differ" >&2; exit 101; }}\ncp "{ours}.json" "$3"\n'
    )
    theirs.write_text(f'#!/bin/sh\ncp -r "{theirs}.samples/." "$CRITERION_HOME"\n')
    for script in (ours, theirs):
        script.chmod(0o755)
    checkout = tmp_path / "checkout"
    (checkout / "crates/punktfunk-core/benches").mkdir(parents=True)
    (checkout / "crates/punktfunk-core/benches/pipeline.rs").touch()
    keep(tmp_path / "theirs.samples", "pipeline/gf16/65536", 65536, [65536.0], [1])  # 1 GB/s
    monkeypatch.setattr(programs, "Watch", lambda: FakeWatch(QUIET))
    monkeypatch.setattr(
        programs,
        "build",
        lambda manifest, benches, *_: dict.fromkeys(
            benches, theirs if checkout in manifest.parents else ours
        ),
    )
    monkeypatch.delenv("PUNKTFUNK_FEC_KERNEL", raising=False)

    def run(*arguments: str, rows: Sequence[dict[str, Any]] = ()) -> tuple[int, str]:
        (tmp_path / "ours.json").write_text(json.dumps({"kernel": "avx2", "rows": list(rows)}))
        monkeypatch.setattr(sys, "argv", ["table", *arguments])
        status = program.main()
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_a_table_is_measured_kept_and_compared(run: Callable[..., Any], tmp_path: Path) -> None:
    rows = [figures(2.0).model_dump(mode="json")]
    status, said = run("--only", "gf16/encode", "--json", str(tmp_path / "old.json"), rows=rows)
    assert status == 0
    assert "1 reached, 4 not judged" in said
    assert "not judged: rivals has no such row" in said
    rows[0]["ratio"] = [1.9, 0.95, 3]
    status, said = run("--only", "gf16/encode", "--compare", str(tmp_path / "old.json"), rows=rows)
    assert (status, "1 missed, 4 not judged" in said, "2.00 (level)" in said) == (0, True, True)


def test_rows_beside_the_reference_are_judged_with_one_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    row = {"work": "pipeline/gf16/64 KiB", "ours": [3.5, 3, 4], "rival": [4, 4, 4], "ratio": [0.8, 0.7, 0.9]}
    status, said = run("--only", "session", rows=[row])
    assert (status, said.count("not judged: no reference")) == (0, 1)
    assert "1 reached, 11 not judged" in said  # its time over its parts, 1.25
    status, said = run("--only", "session", "--reference", str(tmp_path / "checkout"), rows=[row])
    assert status == 0
    assert "3.500 (3.500 … 3.500)  ≥ 3.5" in said
    assert "2 reached, 10 not judged" in said


def test_a_bench_that_fails_is_told_in_its_rows_and_by_the_status(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "ours.broken").touch()
    status, said = run("--only", "gf16/encode", rows=[])
    assert (status, said.count("not judged: rivals ended with status 101: bytes differ")) == (1, 5)


def test_wrong_arguments_end_before_anything_is_measured(
    run: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (
        ["--only", "gf32"],
        ["--tries", "0"],
        ["--json", str(tmp_path / "no" / "table.json")],
        ["--built", str(tmp_path), "--build-only", str(tmp_path)],
        ["--built", str(tmp_path), "--reference", str(tmp_path / "checkout")],
    ):
        with pytest.raises(SystemExit) as ended:
            run(*wrong, rows=[])
        assert ended.value.code == 2
        assert "bench: measuring" not in capsys.readouterr().err
    status, said = run("--compare", str(tmp_path / "no.json"), rows=[])
    assert (status, "cannot be read" in said, "measuring" in said) == (1, True, False)


# --- on a machine without a compiler

PIPELINE = {
    "work": "pipeline/gf16/64 KiB",
    "ours": [3.5, 3, 4],
    "rival": [4, 4, 4],
    "ratio": [0.8, 0.7, 0.9],
}


@pytest.fixture
def kit(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that was filled with our pipeline's bench and the reference's; cargo is gone since."""
    folder = tmp_path / "kit"
    reference = ["--reference", str(tmp_path / "checkout")]
    status, said = run("--only", "session", "--build-only", str(folder), *reference)
    assert (status, "measuring" in said) == (0, False)

    def gone(*_: object) -> None:
        raise AssertionError("cargo was called")

    monkeypatch.setattr(programs, "build", gone)
    return folder


def test_a_folder_of_programs_is_measured_where_there_is_no_compiler(
    run: Callable[..., Any], kit: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "table.json"
    status, said = run("--built", str(kit), "--only", "session", "--json", str(kept), rows=[PIPELINE])
    assert (status, "2 reached, 10 not judged" in said) == (0, True)  # one of them beside the reference
    about = json.loads((kit / "built.json").read_text())
    assert f"punktfunk {about['git']}, built elsewhere by {about['rustc']}, release profile" in said
    table = json.loads(kept.read_text())
    assert (table["built"], table["reference"]) == (about, str(kit / "reference" / "pipeline"))


def test_a_folder_without_the_reference_or_a_program_says_how_to_fill_it(
    run: Callable[..., Any], kit: Path
) -> None:
    (kit / "reference" / "pipeline").unlink()
    status, said = run("--built", str(kit), "--only", "session", rows=[PIPELINE])
    assert (status, said.count("not judged: no reference")) == (0, 1)
    (kit / "session").chmod(0o644)
    status, said = run("--built", str(kit), "--only", "session", rows=[PIPELINE])
    assert (status, said.count("has no such program: fill it with --build-only")) == (1, 12)


def test_the_data_plane_wants_the_module_of_the_folder(
    run: Callable[..., Any], kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program.os, "geteuid", lambda: 0)
    bench = tmp_path / "bench.py"
    bench.write_text(
        "import json, sys\nfrom tests.bench.table.targets import ROOT\nassert sys.path[1] == str(ROOT)\n"
        "row = {'work': 'dataplane/media', 'unit': 'Gbit/s', 'ours': [9, 8, 9]}\n"
        "assert sys.argv[1:-2] == ['--rounds', '3', '--seconds', '2']\n"
        "open(sys.argv[-1], 'w').write(json.dumps({'rows': [row]}))\n"
    )
    monkeypatch.setitem(program.IN_PYTHON, "dataplane", bench)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    status, said = run("--built", str(kit), "--only", "dataplane")
    assert (status, "1 reached" in said) == (0, True)
    (kit / "_core.abi3.so").write_bytes(b"another")
    status, said = run("--built", str(kit), "--only", "dataplane")
    assert status == 0
    assert f"not judged: punktfunk/core has not the module that was built: cp {kit}/_core.abi3.so" in said


def test_the_table_wants_no_more_of_python_than_its_page_says() -> None:
    others = ("scipy", "ruamel", "pyroute2", "aioquic", "cryptography", "punktfunk.core._core")
    code = f"import sys; sys.modules.update(dict.fromkeys({others})); import tests.bench.table.__main__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "cannot be read (No such file or directory): fill it by `nox -s bench -- --build-only DIR`"),
        ("nonsense", "is not as expected (: Invalid JSON"),
        ("{}", "is not as expected (git: Field required): fill it by"),
        (" " * 65_537, "is not as expected (too long)"),
        ({"schema_version": 2}, "is not as expected (schema_version: "),
        ({"machine": "riscv\x1b64"}, "has programs for riscv\\x1b64, and this machine is "),
    ],
)
def test_a_folder_that_was_not_filled_for_this_machine_is_refused(
    run: Callable[..., Any], kit: Path, document: str | dict[str, Any] | None, said: str
) -> None:
    about = kit / "built.json"
    if document is None:
        about.unlink()
    elif isinstance(document, str):
        about.write_text(document)
    else:
        about.write_text(json.dumps(json.loads(about.read_text()) | document))
    status, told = run("--built", str(kit))
    assert (status, "measuring" in told) == (1, False)
    assert said in told
