"""Count the lines of Python and Rust that the tests reach: ``nox -s coverage -- tests/unit``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.coverage import rooms, rust_tool
from tests.coverage.rust_tool import CORE, ROOT

COUNTED = ROOT / ".nox" / "coverage"
TARGET = COUNTED / "target"
REPORT = ROOT / "reports" / "coverage"
MODULE = CORE / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
"""Python takes a module with its own version in the name before the one for all versions that is there already."""

_PYTHON = {"COVERAGE_FILE": str(COUNTED / "python" / "lines"), "COVERAGE_ROOT": str(ROOT)}


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line; what it does not know is pytest's."""
    parser = argparse.ArgumentParser(
        prog="nox -s coverage --",
        description=__doc__,
        epilog="All other arguments are pytest's: folders, files and -k say of which part it is asked.",
    )
    parser.add_argument("--no-cargo", action="store_true", help="leave out the core's own tests")
    parser.add_argument("--no-pytest", action="store_true", help="the core's own tests alone")
    return parser


@contextmanager
def counting_module(module: Path) -> Iterator[None]:
    """Have Python load the core with counters."""
    shutil.copy(module, MODULE)
    try:
        yield
    finally:
        MODULE.unlink()


def main() -> int:
    """Build, run, merge, report. Fails where a test does, with the report all the same."""
    options, for_pytest = arguments().parse_known_args()
    tools = rust_tool.find_tools()
    for old in (COUNTED / "rust", COUNTED / "python", REPORT):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    built = rust_tool.build(TARGET)
    passed = options.no_cargo or rust_tool.run_tests(built, COUNTED / "rust")
    files: list[tuple[str, Path, rooms.Lines]] = []
    lcov = ""
    if not options.no_pytest:
        with counting_module(built.module):
            passed &= _pytest(for_pytest)
        report, lcov = _python_report()
        files += rooms.of_python(report)
    report, of_rust = rust_tool.export(tools, built, COUNTED / "rust", REPORT / "rust")
    files += rooms.of_rust(report)
    (REPORT / "lcov.info").write_text(lcov + of_rust, encoding="utf-8")
    summary = rooms.table(rooms.by_room(files, ROOT))
    (REPORT / "summary.txt").write_text(summary + "\n", encoding="utf-8")
    print(f"\nlines reached, by room\n{summary}\n")
    print(f"{REPORT.relative_to(ROOT)}: lcov.info of both, pages in python/ and rust/")
    if not passed:
        print("tests failed: what they did not get to is not counted")
    return 0 if passed else 1


def _pytest(arguments: list[str]) -> bool:
    env = rust_tool.counting(COUNTED / "rust") | _PYTHON
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0


def _python_report() -> tuple[dict[str, object], str]:
    """Return the figures of each file, and the same as lcov; write the pages."""
    figures, lcov = COUNTED / "python" / "figures.json", COUNTED / "python" / "lcov.info"
    env = os.environ | _PYTHON
    for command in (
        ["combine", "--quiet"],
        ["json", "--quiet", "-o", figures],
        ["lcov", "--quiet", "-o", lcov],
        ["html", "--quiet", "-d", REPORT / "python"],
    ):
        subprocess.run([sys.executable, "-m", "coverage", *command], cwd=ROOT, env=env, check=True)
    return json.loads(figures.read_text(encoding="utf-8")), lcov.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
