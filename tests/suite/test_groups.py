"""Queues: what waits is begun first, what computes fills the gaps, what measures comes last."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import groups
from tests.support.groups import ALONE, POLITENESS, choose, group_of, is_polite, rank

WAITS = ["cases", "links", "desktop", "tests/e2e/test_serve.py", "browser"]
COMPUTES = ["tests/property/test_fec.py", "tests/unit/test_units.py", "tests/e2e/test_soak.py"]


def test_a_process_that_waits_takes_what_waits_first_and_what_measures_last() -> None:
    queues = [*COMPUTES, *WAITS, ALONE]
    taken = []
    while (queue := choose(queues, polite=False)) is not None:
        taken.append(queue)
        queues.remove(queue)
    assert taken == [*WAITS, *reversed(COMPUTES), ALONE]
    assert not queues


def test_the_polite_process_takes_what_computes_and_nothing_else() -> None:
    queues = [*WAITS, *COMPUTES, ALONE]
    taken = []
    while (queue := choose(queues, polite=True)) is not None:
        taken.append(queue)
        queues.remove(queue)
    assert taken == COMPUTES
    assert queues == [*WAITS, ALONE]


@pytest.mark.parametrize(
    ("process", "processes", "polite"),
    [("gw0", 1, False), ("gw1", 2, False), ("gw2", 3, True), ("gw1", 3, False), ("gw3", 4, True)],
)
def test_the_last_of_three_or_more_processes_is_the_polite_one(
    process: str, processes: int, polite: bool
) -> None:
    assert is_polite(process, processes) is polite


def test_a_file_is_a_queue_unless_its_folder_is_one() -> None:
    assert group_of("tests/unit/test_units.py::test_one[a::b]") == "tests/unit/test_units.py"
    assert group_of("tests/web/test_console.py::test_one") == "browser"
    assert group_of("tests/net/test_tun.py::test_one") == "links"
    assert (
        group_of("tests/net/test_live.py::test_one")
        == group_of("tests/net/test_kills.py::test_one")
        == "cases"
    )
    assert group_of("tests/net/test_new.py::test_one") == "links", "until it is known that it emulates none"
    assert group_of("tests/net/test_streams.py::test_one") == "tests/net/test_streams.py"
    assert group_of("tests/e2e/desktop/test_audio.py::test_one") == "desktop"
    assert group_of("tests/e2e/test_serve.py::test_one") == "tests/e2e/test_serve.py"


def test_files_that_are_queued_by_name_exist() -> None:
    here = Path(__file__).parents[2]
    assert [name for name in (*groups._CASES, *groups._NO_LINK) if not (here / name).is_file()] == []


def test_long_queues_begin_before_short_ones_and_what_waits_before_what_computes() -> None:
    files = [
        "tests/net/test_live.py",
        "tests/net/test_tun.py",
        "tests/e2e/desktop/test_audio.py",
        "tests/security/test_session_floods.py",
        "tests/web/test_console.py",
        "tests/net/test_streams.py",
        "tests/e2e/test_serve.py",
        "tests/security/test_pairing.py",
        "tests/unit/test_units.py",
    ]
    ranks = [rank(f"{file}::test_one") for file in files]
    assert ranks == sorted(set(ranks))


def test_every_test_runs_once_and_what_waits_at_full_priority(
    inner: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    one = """
import os, pathlib
import pytest

@pytest.mark.parametrize("n", range(3))
def test_it(n):
    with pathlib.Path(__file__).with_suffix(".log").open("a") as file:
        print(os.nice(0), file=file)
"""
    waiting = [f"tests/e2e/test_{letter}.py" for letter in "abcd"]
    computing = [f"tests/unit/test_{letter}.py" for letter in "klmn"]
    done = inner(dict.fromkeys([*waiting, *computing], one), "-n", "3", "--dist", "loadscope")
    assert "24 passed" in done.stdout, done.stdout + done.stderr
    own = int(subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout)

    def niceness(files: list[str]) -> list[int]:
        logs = [(tmp_path / name).with_suffix(".log") for name in files]
        return [int(line) - own for log in logs for line in log.read_text().split()]

    assert niceness(waiting) == [0] * 12
    assert len(niceness(computing)) == 12
    assert set(niceness(computing)) <= {0, min(POLITENESS, 19 - own)}


def test_a_worker_that_dies_costs_its_test_and_the_run_goes_on(
    inner: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    one = """
import os, pathlib
import pytest

@pytest.mark.parametrize("n", range(6))
def test_it(n):
    with pathlib.Path(__file__).with_suffix(".log").open("a") as file:
        print(n, file=file)
    if n == 3 and __file__.endswith("test_dies.py"):
        os._exit(1)
"""
    others = [f"tests/e2e/test_{letter}.py" for letter in "abc"]
    others += [f"tests/unit/test_{letter}.py" for letter in "klm"]
    files = ["tests/e2e/test_dies.py", *others]
    done = inner(dict.fromkeys(files, one), "-n", "2", "--dist", "loadscope")
    assert "1 failed, 41 passed" in done.stdout, done.stdout + done.stderr
    assert "crashed while running" in done.stdout
    for name in files:
        assert (tmp_path / name).with_suffix(".log").read_text().split() == list("012345"), "each once"


def test_one_queue_is_run_whichever_of_three_workers_is_left(
    inner: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    late = """
import time

def pytest_configure(config):
    here = getattr(config, "workerinput", None)
    if here is not None and here["workerid"] != "gw2":
        time.sleep(1.5)
"""
    files = {"conftest.py": late, "tests/e2e/test_it.py": "def test_it():\n    pass\n"}
    done = inner(files, "-n", "3", "--dist", "loadscope")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
