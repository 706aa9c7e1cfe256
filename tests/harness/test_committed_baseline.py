"""The committed baseline of the simulated latencies holds: exact figures, equal for equal code on any machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_simulated_latencies_are_those_of_the_baseline(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness"]
    scenario = "scenarios/latency-regression.yaml"
    subprocess.run(
        [*command, "run", scenario, "-k", "simulated", "--no-charts", "--out", str(tmp_path)],
        cwd=ROOT,
        check=True,
        timeout=100,
    )
    (run,) = tmp_path.iterdir()
    held = subprocess.run(
        [*command, "baseline", str(run), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert held.returncode == 0, held.stdout + held.stderr
    assert "0 figures moved in 2 cases" in held.stdout
