"""``--cpu`` lists the tests that take the CPU, with the processes that they start, and the queues that take long."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

FILES = {
    "test_work.py": """\
import time

def test_its_own():
    end = time.process_time() + 0.2
    while time.process_time() < end: pass

def test_that_waits():
    time.sleep(0.3)
""",
    "test_processes.py": """\
import subprocess, sys
import pytest

BURN = "import time\\nwhile time.process_time() < 0.4: pass"

@pytest.fixture
def program():
    yield
    subprocess.run([sys.executable, "-c", BURN], check=True)

def test_of_its_fixture(program):
    pass
""",
}


@pytest.mark.parametrize("side_by_side", [(), ("-n", "2", "--dist", "loadscope")], ids=["one", "two"])
def test_cpu_is_counted_with_processes_and_fixtures_and_without_waiting(
    inner: Callable[..., subprocess.CompletedProcess[str]], side_by_side: tuple[str, ...]
) -> None:
    done = inner(FILES, *side_by_side, "--cpu", plugins=("tests.support.cpu",))
    assert done.returncode == 0, done.stdout
    lines = re.findall(r"^ *([\d.]+)  \S+::(\w+)$", done.stdout, re.MULTILINE)
    taken = {name: float(seconds) for seconds, name in lines}
    assert list(taken) == ["test_of_its_fixture", "test_its_own", "test_that_waits"], done.stdout
    # The kernel counts in ticks of 10 ms.
    assert taken["test_of_its_fixture"] >= 0.35
    assert 0.15 <= taken["test_its_own"] < 0.35
    assert taken["test_that_waits"] < 0.15
    assert re.search(r"^ *\d+\.\d+  all 3 tests$", done.stdout, re.MULTILINE)
    before = re.search(r"^ *(\d+\.\d+)  before them, in (\d) process(es)?$", done.stdout, re.MULTILINE)
    assert before is not None, done.stdout
    assert int(before[2]) == (2 if side_by_side else 1)
    assert float(before[1]) > 0.05, "pytest itself was loaded"


def test_long_queues_are_listed_with_their_process_and_when_they_ran(
    inner: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    long = """
import time
import pytest

@pytest.fixture
def slow():
    time.sleep(0.6)

def test_one(slow):
    time.sleep(0.6)

@pytest.mark.measures(alone=True)
def test_two():
    time.sleep(1.2)
"""
    short = "def test_it():\n    pass\n"
    files = {"tests/web/test_long.py": long, "tests/unit/test_short.py": short}
    loaded = ("tests.support.measuring", "tests.support.groups", "tests.support.cpu")
    # The quickest tests of this file cannot last as long as a queue of the whole suite that is worth its line.
    files["conftest.py"] = "from tests.support import cpu\ncpu.LONG_S = 1.0\n"
    done = inner(files, "-n", "2", "--dist", "loadscope", "--cpu", plugins=loaded)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    listed = re.findall(r"^ *([\d.]+) +([\d.]+) +[\d.]+  (gw\d)  (\S+)$", done.stdout, re.MULTILINE)
    spans = {queue: (float(begun), float(ended)) for begun, ended, _, queue in listed}
    assert set(spans) == {"browser", "alone"}, done.stdout
    assert all(1.0 <= ended - begun < 60 for begun, ended in spans.values())
    assert spans["browser"][1] <= spans["alone"][0] + 0.1, "what measures came last"


def test_without_the_option_nothing_is_printed(
    inner: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    one = {"test_one.py": "def test_one():\n    pass\n"}
    assert "CPU seconds" not in inner(one, plugins=("tests.support.cpu",)).stdout
