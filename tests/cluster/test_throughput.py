"""What a cluster costs: CPU seconds of a run on two local workers beside those of two processes of a pool."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from tests.cluster.machines import MANY, ROOT, digest_of

SHARE = 0.9
"""Of the throughput of ``--jobs 2`` that ``--on local:2`` has at least. Throughput is cases a CPU second: how long
either takes is for a machine that does nothing else."""


def cpu_s(folder: Path, *options: str) -> tuple[float, str]:
    """Run the scenario and return the CPU seconds of everything that it started, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "many.yaml", "--no-charts", *options],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def test_two_local_workers_do_nine_tenths_of_what_two_processes_do(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(
        MANY.replace("frames: 30, frame_bytes: 3 kB", "frames: 300, frame_bytes: 12 kB")
    )
    pool, said = cpu_s(tmp_path, "-j", "2", "--out", "pool")
    local, there = cpu_s(tmp_path, "--on", "local:2", "--out", "local")
    print(
        f"5040 cases of 300 frames: --jobs 2 {pool:.1f} CPU s, --on local:2 {local:.1f} CPU s: {pool / local:.2f}"
    )
    assert digest_of(said) == digest_of(there)
    assert pool / local >= SHARE
