"""SIGKILL at any moment: the runner, the host, the client or the pump. The next start finds and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.network import leftovers
from harness.network.registry import FOLDER_VARIABLE, NAME_PREFIX, RUN_VARIABLE, namespace_folder
from tests.support.proven import REFUSED

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1800)]

VICTIMS = ("runner", "host", "client", "pump")

SCENARIO = """\
name: kills
media: {source: synthetic, mode: 640x360@60, bitrate: 2 Mbit/s, duration: 2 s}
link:
  backend: tun
  down: {delay: 2 ms, loss: 2 %}
"""


def pids_by_role(registry: Path) -> dict[str, int]:
    for record in registry.glob("*.json"):
        with contextlib.suppress(ValueError, OSError):
            return {role: pid for role, pid, _start in json.loads(record.read_text())["processes"]}
    return {}


def marked_processes(runs: set[str]) -> list[str]:
    """Living processes that carry the mark of one of ``runs``."""
    marks = {f"{RUN_VARIABLE}={run}".encode() for run in runs}
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
            if marks & set(environment.split(b"\0")):
                found.append(f"{entry.name} {(entry / 'cmdline').read_bytes().decode()[:200]}")
    return found


def namespaces(runs: set[str]) -> list[str]:
    """Names of namespaces of one of ``runs``; other programs on this machine may have some of their own."""
    names = [path.name for path in namespace_folder().glob(f"{NAME_PREFIX}*")]
    return [name for name in names if any(name.startswith(f"{NAME_PREFIX}{run}-") for run in runs)]


def start_until(
    victim: str, scenario: Path, out: Path, registry: Path, number: str
) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    """Start a run; return it and its processes by role once ``victim`` is among them.

    The moment of a kill counts from then, so that every phase of its life is hit.
    """
    deadline = time.monotonic() + 120
    while True:
        # Its own session: what it started shows up here as orphans, not as our children.
        runner = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", str(scenario), "--no-charts", "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while runner.poll() is None:
            pids = {**pids_by_role(registry), "runner": runner.pid}
            if victim in pids and len(pids) >= 2:
                return runner, pids
            assert time.monotonic() < deadline, f"{number}: no {victim} after 120 s"
            time.sleep(0.01)
        # A machine without time for a link is refused before anybody streams over it, and nothing else: another start.
        reasons = [json.loads(file.read_text())["reason"] for file in out.glob("*/*/case.json")]
        refused = [reason.startswith(REFUSED) for reason in reasons]
        assert refused, f"{number}: the runner ended without a result before {victim} began"
        assert all(refused), f"{number}: the runner ended before {victim} began: {reasons}"
        assert time.monotonic() < deadline, f"{number}: no link was as asked for 120 s"


def test_nothing_is_left_after_kills_at_random_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    kills = int(pytestconfig.getoption("--kills"))
    seed = int(os.environ.get("PUNKTFUNK_SEED", "20260611"))
    rng = random.Random(seed)
    registry = tmp_path / "registry"
    monkeypatch.setenv(FOLDER_VARIABLE, str(registry))
    scenario = tmp_path / "kills.yaml"
    scenario.write_text(SCENARIO)
    runs: set[str] = set()
    hit: dict[str, int] = dict.fromkeys(VICTIMS, 0)
    for number in range(kills):
        victim = VICTIMS[number % len(VICTIMS)] if kills < 2 * len(VICTIMS) else rng.choice(VICTIMS)
        delay_s = rng.uniform(0.0, 2.5)
        begun = f"seed {seed}, kill {number}"
        runner, pids = start_until(victim, scenario, tmp_path / f"out{number}", registry, begun)
        runs |= {path.stem for path in registry.glob("*.lock")}
        time.sleep(delay_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[victim], signal.SIGKILL)
            hit[victim] += 1
        status = runner.wait(timeout=120)
        where = f"seed {seed}, kill {number}: {victim} {delay_s:.2f} s after it began"
        if victim != "runner":
            assert namespaces(runs) == [], f"{where}: the runner's own end left namespaces"
            assert marked_processes(runs) == [], where
            assert status in (0, 1, 5), f"{where}: exit {status}"
        # What every start of the runner, and doctor --leftovers, does first:
        leftovers.clean()
        assert leftovers.find() == [], where
        assert runs, where
        assert namespaces(runs) == [], where
        assert marked_processes(runs) == [], where
    print(f"seed {seed}: {kills} kills, {hit}")
