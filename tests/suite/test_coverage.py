"""What tests reach is added up by room, of Python and Rust alike, and said of parts as well as of all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.coverage import rooms, rust_tool
from tests.coverage.__main__ import arguments
from tests.coverage.rooms import Lines

ROOT = Path("/repository")
PYTHON = {
    "files": {
        "punktfunk/units.py": {"summary": {"covered_lines": 8, "num_statements": 10}},
        "punktfunk/host/serve.py": {"summary": {"covered_lines": 1, "num_statements": 4}},
        "/repository/punktfunk/host/stream/worker.py": {"summary": {"covered_lines": 5, "num_statements": 6}},
        "/elsewhere/site.py": {"summary": {"covered_lines": 7, "num_statements": 7}},
    }
}
RUST = {
    "data": [
        {
            "files": [
                {
                    "filename": f"/repository/punktfunk/core/{name}",
                    "summary": {
                        "lines": {"covered": covered, "count": count},
                        "regions": {"covered": 9, "count": 99},
                    },
                }
                for name, covered, count in (
                    ("src/lib.rs", 3, 9),
                    ("src/session/host.rs", 20, 30),
                    ("src/session/client/books.rs", 1, 1),
                    ("python/src/stream.rs", 2, 2),
                )
            ]
        }
    ]
}


def test_files_are_added_up_to_their_rooms_and_what_is_not_ours_is_left_out() -> None:
    files = [*rooms.of_python(PYTHON), *rooms.of_rust(RUST)]
    assert rooms.by_room(files, ROOT) == {
        ("Python", "punktfunk"): Lines(8, 10),
        ("Python", "punktfunk/host"): Lines(6, 10),
        ("Rust", "punktfunk/core/src"): Lines(3, 9),
        ("Rust", "punktfunk/core/src/session"): Lines(21, 31),
        ("Rust", "punktfunk/core/python/src"): Lines(2, 2),
    }


def test_the_table_ends_with_each_language_and_both() -> None:
    files = [*rooms.of_python(PYTHON), *rooms.of_rust(RUST)]
    lines = [line.split() for line in rooms.table(rooms.by_room(files, ROOT)).splitlines()]
    assert lines[0] == ["Python", "punktfunk", "8", "of", "10", "80.0", "%"]
    assert lines[-3:] == [
        ["Python", "all", "14", "of", "20", "70.0", "%"],
        ["Rust", "all", "26", "of", "42", "61.9", "%"],
        ["both", "all", "40", "of", "62", "64.5", "%"],
    ]
    assert len(lines) == 5 + 3


@pytest.mark.parametrize(
    ("lines", "share"),
    [(Lines(9999, 10_000), "99.9 %"), (Lines(3, 3), "100.0 %"), (Lines(0, 5), "0.0 %"), (Lines(0, 0), "-")],
)
def test_a_share_is_never_rounded_up(lines: Lines, share: str) -> None:
    assert str(lines).endswith(f" {share}")


def test_what_is_not_known_here_is_for_pytest() -> None:
    options, for_pytest = arguments().parse_known_args(["-n", "4", "--no-cargo", "tests/unit", "-k", "units"])
    assert (options.no_cargo, options.no_pytest) == (True, False)
    assert for_pytest == ["-n", "4", "tests/unit", "-k", "units"]


def test_without_the_llvm_tools_the_command_that_installs_them_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rustc = tmp_path / "rustc"
    rustc.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    rustc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SystemExit, match="rustup component add llvm-tools"):
        rust_tool.find_tools()
    folder = tmp_path / "lib/rustlib/some-target/bin"
    folder.mkdir(parents=True)
    (folder / "llvm-cov").touch()
    with pytest.raises(SystemExit):
        rust_tool.find_tools()
    (folder / "llvm-profdata").touch()
    assert rust_tool.find_tools() == folder


def test_the_lines_of_a_process_that_leaves_at_once_and_of_its_child_count(tmp_path: Path) -> None:
    """Workers leave by ``os._exit``: the settings of the repository have coverage.py count them all the same."""
    (tmp_path / "punktfunk").mkdir()
    (tmp_path / "harness").mkdir()
    (tmp_path / "punktfunk" / "child.py").write_text("import os\nx = 1\nos._exit(0)\n")
    (tmp_path / "parent.py").write_text(
        "import os, subprocess, sys\nsubprocess.run([sys.executable, 'punktfunk/child.py'])\nos._exit(0)\n"
    )
    (tmp_path / "pyproject.toml").write_bytes((Path(__file__).parents[2] / "pyproject.toml").read_bytes())
    # Also where the lines of this very process are counted.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for command in (["run", "parent.py"], ["combine", "-q"], ["json", "-q", "-o", "figures.json"]):
        subprocess.run([sys.executable, "-m", "coverage", *command], cwd=tmp_path, env=env, check=True)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["files"]["punktfunk/child.py"]["executed_lines"] == [1, 2, 3]
