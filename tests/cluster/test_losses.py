"""What a cluster may lose while a run is on: nothing of the run is lost with it, nothing is in it twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from harness.network.topology import topology
from tests.cluster.machines import PORT, ROOT, Machines, digest_of, each_once
from tests.support.waiting import eventually

pytestmark = pytest.mark.root
ON = f"dask://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the same run on this machine alone."""
    with topology("alone") as made:
        alone = Machines(made, tmp_path_factory.mktemp("alone"))
        return digest_of(alone.ran(alone.lab("run", "many.yaml", "--no-charts", "-j", "2", "--out", "here")))


def begun(machines: Machines, *, workers: int) -> int:
    """Start a cluster and a run on it, and return once some results are there."""
    machines.scheduler()
    for number in range(1, workers + 1):
        machines.worker(number)
    machines.lab("run", "many.yaml", "--no-charts", "--on", ON, "--out", "there")
    eventually(lambda: machines.parts("there") > 3, "the first results", within_s=600)
    return machines.parts("there")


def ended(machines: Machines, process_log: str = "client") -> str:
    eventually(lambda: "verdict:" in machines.log(process_log), "the end of the run", within_s=1800)
    return machines.log(process_log)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_digest_is_that_of_one_machine_whatever_the_workers(
    machines: Machines, digest: str, workers: int
) -> None:
    begun(machines, workers=workers)
    said = ended(machines)
    assert digest_of(said) == digest
    assert "verdict: passed" in said
    each_once(machines.folder / "there")


def test_a_worker_that_is_killed_costs_a_retry_and_no_result(machines: Machines, digest: str) -> None:
    begun(machines, workers=2)
    machines.signal(1, signal.SIGKILL)
    said = ended(machines)
    assert digest_of(said) == digest
    assert "verdict: passed" in said
    each_once(machines.folder / "there")


def test_a_worker_that_freezes_is_given_up_and_when_it_thaws_nothing_comes_twice(
    machines: Machines, digest: str
) -> None:
    begun(machines, workers=2)
    machines.signal(1, signal.SIGSTOP)
    eventually(
        lambda: "Worker failed to heartbeat" in machines.log("scheduler"), "its being given up", within_s=120
    )
    machines.signal(1, signal.SIGCONT)
    said = ended(machines)
    assert digest_of(said) == digest
    each_once(machines.folder / "there")


def test_a_network_that_is_away_for_ten_seconds_costs_time_alone(machines: Machines, digest: str) -> None:
    begun(machines, workers=2)
    for number in (1, 2):
        machines.cable(number, up=False)
    time.sleep(10)  # what is tested is that span, not what happens in it
    for number in (1, 2):
        machines.cable(number, up=True)
    said = ended(machines)
    assert digest_of(said) == digest
    each_once(machines.folder / "there")


def test_a_client_that_is_killed_leaves_its_results_and_resume_completes(
    machines: Machines, digest: str
) -> None:
    machines.scheduler()
    for number in (1, 2):
        machines.worker(number)
    client = machines.lab("run", "many.yaml", "--no-charts", "--on", ON, "--out", "there")
    eventually(lambda: machines.parts("there") > 3, "the first results", within_s=600)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    kept = machines.parts("there")
    (folder,) = (machines.folder / "there").iterdir()
    process = machines.lab("run", "--resume", str(folder), "--no-charts", "--on", ON, name="again")
    said = machines.ran(process, "again")
    assert kept > 3
    assert "results of the earlier run were kept" in said
    assert digest_of(said) == digest
    each_once(machines.folder / "there")


def test_a_scheduler_that_is_killed_ends_the_run_in_order_and_resume_completes_here(
    machines: Machines, digest: str
) -> None:
    scheduler = machines.scheduler()
    machines.worker(1)
    client = machines.lab("run", "many.yaml", "--no-charts", "--on", ON, "--out", "there")
    eventually(lambda: machines.parts("there") > 3, "the first results", within_s=600)
    scheduler.kill()
    assert client.wait(timeout=300) == 5
    said = machines.log("client")
    assert "error[PF680]" in said
    assert "go on with: python -m harness run --resume" in said
    (folder,) = (machines.folder / "there").iterdir()
    process = machines.lab("run", "--resume", str(folder), "--no-charts", "-j", "2", name="again")
    assert digest_of(machines.ran(process, "again")) == digest
    each_once(machines.folder / "there")


def test_a_worker_of_other_code_is_refused_by_name(machines: Machines, tmp_path: Path) -> None:
    """One line of the sources differs there."""
    other = tmp_path / "other"
    for package in ("harness", "punktfunk"):
        shutil.copytree(
            ROOT / package, other / package, ignore=shutil.ignore_patterns("target", "__pycache__", "*.rs")
        )
    with (other / "harness/analysis/theory.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    machines.scheduler()
    machines.worker(1)
    machines.worker(2, environment={"PYTHONPATH": str(other)})
    client = machines.lab("run", "many.yaml", "--on", ON, "--out", "there")
    assert client.wait(timeout=300) == 4
    said = machines.log("client")
    assert "error[PF681] worker tcp://10.77.2.2:" in said
    assert "runs other code: sources " in said
    assert not (machines.folder / "there").exists()
