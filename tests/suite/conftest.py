"""A suite inside the suite: pytest on files that a test writes, with this suite's own plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PLUGINS = ("tests.support.measuring", "tests.support.groups")


@pytest.fixture
def inner(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that writes files and runs pytest on them: ``inner({"test_x.py": ...}, "-n", "2")``."""

    def run(
        files: dict[str, str], *arguments: str, ci: bool = False, plugins: tuple[str, ...] = PLUGINS
    ) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        # What else is installed takes seconds to load and has no part in this.
        inherited["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        loaded = [argument for plugin in ("xdist.plugin", *plugins) for argument in ("-p", plugin)]
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-rs",
                "--color=no",
                "-p",
                "no:cacheprovider",
                *loaded,
                *arguments,
            ],
            cwd=tmp_path,
            env={**inherited, "PYTHONPATH": str(REPOSITORY), "CI": "true" if ci else ""},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run
