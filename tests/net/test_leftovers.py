"""What SIGKILL leaves is found and removed by the next start, and only that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.network import leftovers
from harness.network.registry import FOLDER_VARIABLE, RUN_VARIABLE, Registration, namespace_folder
from harness.network.topology import Topology
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.root

_RUNNER = """
import os, subprocess, time
from harness.network.topology import Topology, open_tun
made = Topology("killed")
host = made.namespace("host")
client = made.namespace("client")
made.veth(host, "veth0", client, "veth0")
fd = open_tun(host, "tun0")
marked = {**os.environ, **made.registration.environment()}
child = subprocess.Popen(["sleep", "1000"], env=marked)
grandchild = subprocess.Popen(["sh", "-c", "sleep 1000 & echo; wait"], env=marked, stdout=subprocess.PIPE)
grandchild.stdout.readline()
print(made.registration.id, child.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def own_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "registry"))
    yield
    leftovers.clean()


def killed_runner() -> tuple[str, int]:
    """Start a runner that makes things, kill it; return its registration and its child's pid."""
    runner = subprocess.Popen([sys.executable, "-c", _RUNNER], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    run, child = runner.stdout.readline().split()
    runner.kill()
    runner.wait()
    runner.stdout.close()
    return run, int(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_killed_runner_leaves_namespaces_and_processes_that_clean_removes() -> None:
    run, child = killed_runner()
    found = leftovers.find()
    assert {item.kind for item in found} == {"process", "namespace", "record"}
    assert sum(item.kind == "process" for item in found) == 3, found
    assert sum(item.kind == "namespace" for item in found) == 2, found
    assert alive(child)

    assert set(leftovers.clean()) == set(found)

    assert leftovers.find() == []
    assert not alive(child)
    assert not [path for path in namespace_folder().iterdir() if run in path.name]


def test_what_a_live_run_owns_is_left_alone() -> None:
    with Topology("alive") as made:
        made.namespace("host")
        with subprocess.Popen(
            ["sleep", "1000"], env={**os.environ, **made.registration.environment()}
        ) as child:
            assert leftovers.find() == []
            assert leftovers.clean() == []
            assert child.poll() is None
            assert made.namespaces["host"].path.exists()
            child.kill()


def test_a_process_of_the_dead_run_is_known_by_mark_not_by_name() -> None:
    killed_runner()
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        leftovers.clean()
        assert bystander.poll() is None
        bystander.kill()


def test_a_reused_pid_is_not_killed() -> None:
    registration = Registration("reused")
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        registration.record.processes.append(("host", bystander.pid, 1))  # started at another time
        registration.add_process("client", os.getpid())
        os.close(registration._fd)  # what the kernel does when its process dies
        leftovers.clean()
        assert bystander.poll() is None
        bystander.kill()
    assert leftovers.find() == []


def test_a_record_cut_short_by_the_crash_still_names_its_namespaces() -> None:
    made = Topology("cut")
    made.namespace("host")
    (Path(os.environ[FOLDER_VARIABLE]) / f"{made.registration.id}.json").write_text('{"id": "cu')
    os.close(made.registration._fd)
    assert [item.kind for item in leftovers.find()] == ["namespace", "record"]
    leftovers.clean()
    assert leftovers.find() == []


def test_leaving_the_block_kills_what_the_run_started() -> None:
    with Topology("ends") as made:
        made.namespace("host")
        child = subprocess.Popen(["sleep", "1000"], env={**os.environ, RUN_VARIABLE: made.registration.id})
    assert child.wait(timeout=PATIENCE_S) == -signal.SIGKILL
