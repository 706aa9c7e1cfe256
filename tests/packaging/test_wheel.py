"""A wheel holds what it should, works without the source tree, and nothing else comes along."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.wheel import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_one_wheel_serves_every_python_from_3_11_on(wheel: Path) -> None:
    assert wheel.name.startswith("punktfunk-")
    assert "-cp311-abi3-" in wheel.name


def test_the_wheel_holds_packages_templates_and_licences_but_no_sources_of_the_core(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "punktfunk/core/_core.abi3.so",
        "punktfunk/core/_core.pyi",
        "punktfunk/cli.py",
        "punktfunk/mgmt/console/index.html",
        "punktfunk/mgmt/console/main.js",
        "harness/cli.py",
    ):
        assert wanted in names
    console = ROOT / "punktfunk" / "mgmt" / "console"
    files = {str(path.relative_to(ROOT)) for path in console.rglob("*") if path.is_file()}
    assert "punktfunk/mgmt/console/index.html" in files
    assert files <= set(names), "the web console, whole"
    assert any(n.startswith("harness/report/") and not n.endswith(".py") for n in names), (
        "the report's template"
    )
    assert any(n.endswith("LICENSE-MIT") for n in names)
    assert any(n.endswith("LICENSE-APACHE") for n in names)
    strays = [
        n for n in names if n.endswith((".rs", ".lock", ".pyc")) or n.startswith(("tests/", "scenarios/"))
    ]
    assert strays == []


def test_the_wheel_streams_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    """Unpacked beside this environment's dependencies, away from the clone: import, simulate, show both programs."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import punktfunk, harness, json, pathlib; from punktfunk.core import simulate;"
        f"assert pathlib.Path(punktfunk.__file__).is_relative_to({str(tmp_path)!r}), punktfunk.__file__;"
        "r = json.loads(simulate(json.dumps({'seed': 1, 'frames': 10,"
        " 'frame_bytes': {'kind': 'constant', 'bytes': 5000}})).ledger_json);"
        "assert r['frames']['intact'] == 10, r"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for command in (["-c", code], ["-m", "harness", "--help"], ["-m", "punktfunk", "--help"]):
        subprocess.run([sys.executable, *command], cwd=tmp_path, env=env, check=True, capture_output=True)
