"""Tests that measure: a failure beside other programs is no verdict, one on a quiet machine is."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.results import Quietness
from harness.machine.kernel import LEAST_S
from harness.machine.load import BUSY_IN_A_WINDOW
from harness.machine.watch import RUN_DELAY, judge
from tests.suite.conftest import PLUGINS
from tests.support.measuring import Beside, weighed
from tests.support.waiting import eventually

Inner = Callable[..., subprocess.CompletedProcess[str]]

BUSY, QUIET = "0.6, 0.9", "0.01, 0.02"


def conftest(*loads: str) -> str:
    """A machine of which it is given what others take at each try, on average and in the worst half second."""
    return f"""
from tests.support import measuring

loads = iter([{", ".join(f"({load})" for load in loads)}])

class Beside:
    def __enter__(self):
        average, worst = next(loads)
        self.too_busy = worst > 0.4
        self.said = f"other processes took {{average:.0%}} of 2 CPUs, {{worst:.0%}} in the worst half second"
        return self

    def __exit__(self, *_):
        pass

measuring.Beside = Beside
"""


FAILS_TWICE = """
import pytest

tries = []

@pytest.fixture
def fresh():
    tries.append("begun")
    yield len(tries)
    tries.append("ended")

@pytest.mark.measures
def test_it(fresh, tmp_path):
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "left").touch()
    assert len(tries) == 2 * tries.count("ended") + 1, "the fixture of the try before has ended"
    assert fresh >= 5, f"slow at {fresh}"
"""


def test_a_failure_on_a_quiet_machine_stands_at_once(inner: Inner) -> None:
    done = inner({"conftest.py": conftest(QUIET), "test_x.py": FAILS_TWICE})
    assert done.returncode == 1
    assert "slow at 1" in done.stdout
    assert (
        "quiet enough to judge: other processes took 1% of 2 CPUs, 2% in the worst half second (try 1)"
        in done.stdout
    )
    assert "1 failed" in done.stdout


def test_beside_others_it_is_tried_again_with_fresh_fixtures_and_passes(inner: Inner) -> None:
    done = inner({"conftest.py": conftest(BUSY, BUSY, QUIET), "test_x.py": FAILS_TWICE}, ci=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert re.search(r"TRIED AGAIN test_x.py::test_it: passed at try 3; .*60% of 2 CPUs", done.stdout)
    assert "1 passed when tried again, 0 too busy to judge" in done.stdout


def test_a_failure_that_stays_when_it_gets_quiet_stands(inner: Inner) -> None:
    done = inner({"conftest.py": conftest(BUSY, QUIET), "test_x.py": FAILS_TWICE})
    assert done.returncode == 1
    assert "slow at 3" in done.stdout
    assert "(try 2)" in done.stdout


NEVER = """
import pytest

@pytest.mark.measures
@pytest.mark.parametrize("n", range({count}))
def test_it(n):
    assert False, "too slow"
"""


def test_three_tries_beside_others_are_no_verdict_and_say_so(inner: Inner) -> None:
    done = inner({"conftest.py": conftest(BUSY, BUSY, BUSY), "test_x.py": NEVER.format(count=1)})
    assert done.returncode == 0
    assert "1 skipped" in done.stdout
    assert done.stdout.count("90% in the worst half second") >= 3
    assert "too busy to judge: " in done.stdout
    assert "the last failure: AssertionError: too slow" in done.stdout
    assert "NOT JUDGED test_x.py::test_it[0]" in done.stdout


@pytest.mark.parametrize(
    ("count", "ci", "status", "workers"),
    [(3, True, 0, ()), (4, True, 1, ()), (4, False, 0, ()), (4, True, 1, ("-n", "2"))],
)
def test_more_than_three_without_a_verdict_fail_a_run_on_ci_only(
    count: int, ci: bool, status: int, workers: tuple[str, ...], inner: Inner
) -> None:
    loads = [BUSY] * 3 * count
    done = inner({"conftest.py": conftest(*loads), "test_x.py": NEVER.format(count=count)}, *workers, ci=ci)
    assert f"{count} skipped" in done.stdout
    assert f"0 passed when tried again, {count} too busy to judge" in done.stdout
    assert ("more than 3 fail this run" in done.stdout) is (status == 1)
    assert done.returncode == status


def test_no_try_begins_that_the_time_limit_has_no_room_for(inner: Inner) -> None:
    patient = "from tests.support import measuring\n\nmeasuring.TRY_FOR_S = 0.0\n"
    done = inner({"conftest.py": patient + conftest(BUSY), "test_x.py": NEVER.format(count=1)})
    assert done.returncode == 0
    assert "NOT JUDGED" in done.stdout


def test_a_fixture_that_fails_beside_others_is_tried_again_too(inner: Inner) -> None:
    text = """
import pytest

tries = []

@pytest.fixture
def session():
    tries.append(1)
    assert len(tries) > 1, "did not come up"

@pytest.mark.measures
def test_it(session):
    pass
"""
    done = inner({"conftest.py": conftest(BUSY, BUSY), "test_x.py": text})
    assert done.returncode == 0, done.stdout
    assert "passed at try 2" in done.stdout


def test_tests_that_do_not_measure_are_never_tried_again(inner: Inner) -> None:
    done = inner({"conftest.py": conftest(), "test_x.py": "def test_it():\n    assert False, 'wrong'\n"})
    assert done.returncode == 1
    assert "wrong" in done.stdout


def test_nothing_runs_beside_a_test_that_measures(inner: Inner, tmp_path: Path) -> None:
    """Each test writes when it began and ended; several workers, and the measuring ones in the middle of files."""
    one = """
import pathlib, time
import pytest

log = pathlib.Path(__file__).with_suffix(".log")

def note(name, begun):
    with log.open("a") as file:
        print(name, begun, time.monotonic(), file=file)

@pytest.mark.parametrize("n", range(6))
def test_plain(n):
    begun = time.monotonic()
    time.sleep(0.02)
    note("plain", begun)

@pytest.mark.measures(alone=True)
@pytest.mark.parametrize("n", range(2))
def test_alone(n):
    begun = time.monotonic()
    time.sleep(0.02)
    note("alone", begun)

@pytest.mark.parametrize("n", range(6))
def test_plain_too(n):
    begun = time.monotonic()
    time.sleep(0.02)
    note("plain", begun)
"""
    names = [f"test_{letter}.py" for letter in "abcd"]
    files = {"conftest.py": conftest(*[QUIET] * 8), **dict.fromkeys(names, one)}
    done = inner(files, "-n", "4")
    assert "56 passed" in done.stdout, done.stdout + done.stderr
    rows = [
        line.split()
        for name in names
        for line in (tmp_path / name).with_suffix(".log").read_text().splitlines()
    ]
    spans = [(name, float(begun), float(ended)) for name, begun, ended in rows]
    assert len(spans) == 56
    for at, (name, begun, ended) in enumerate(spans):
        beside = [other for n, (other, b, e) in enumerate(spans) if n != at and b < ended and begun < e]
        assert name == "plain" or not beside, (name, beside)
    order = [name for _, name in sorted((begun, name) for name, begun, _ in spans)]
    assert "".join("a" if name == "alone" else "." for name in order).strip(".") == "a" * 8, (
        "one after the other"
    )


def test_what_fails_beside_others_is_tried_again_with_nothing_beside_it(inner: Inner, tmp_path: Path) -> None:
    plain = """
import pathlib, time
import pytest

log = pathlib.Path(__file__).with_suffix(".log")

@pytest.mark.parametrize("n", range(20))
def test_plain(n):
    begun = time.monotonic()
    time.sleep(0.05)
    with log.open("a") as file:
        print("plain", begun, time.monotonic(), file=file)
"""
    measured = """
import pathlib, time
import pytest

log = pathlib.Path(__file__).with_suffix(".log")

@pytest.mark.measures
@pytest.mark.parametrize("fails", [0, 1, 2])
def test_it(fails):
    begun = time.monotonic()
    time.sleep(0.05)
    with log.open("a") as file:
        print(f"measured{fails}", begun, time.monotonic(), file=file)
    assert log.read_text().count(f"measured{fails}") > fails
"""
    files = {"conftest.py": conftest(QUIET, QUIET), "test_m.py": measured, "test_p.py": plain}
    done = inner(files, "-n", "2", "--dist", "loadscope")
    # The second passes alone; the third fails alone too, on a machine that was quiet.
    assert "1 failed, 22 passed" in done.stdout, done.stdout + done.stderr
    assert "failed beside other tests, passed alone" in done.stdout
    assert "1 passed when tried again, 0 too busy to judge" in done.stdout
    rows = [
        line.split() for name in "mp" for line in (tmp_path / f"test_{name}.log").read_text().splitlines()
    ]
    spans = [(name, float(begun), float(ended)) for name, begun, ended in rows]
    for name in ("measured1", "measured2"):
        _, (_, begun, ended) = [span for span in spans if span[0] == name]
        assert not [other for other, b, e in spans if other != name and b < ended and begun < e], name


def test_a_test_that_hangs_is_not_tried_again_and_further_tries_have_its_limit(inner: Inner) -> None:
    text = """
import time
import pytest

tries = []

@pytest.mark.measures
@pytest.mark.timeout(2)
def test_hangs():
    tries.append("hangs")
    time.sleep(30)

@pytest.mark.measures
@pytest.mark.timeout(2)
def test_hangs_at_its_second_try():
    tries.append("second")
    assert tries.count("second") == 2, "slow"
    time.sleep(30)

def test_once():
    assert tries == ["hangs", "second", "second"]
"""
    done = inner(
        {"conftest.py": conftest(*[BUSY] * 3), "test_x.py": text}, plugins=(*PLUGINS, "pytest_timeout")
    )
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("Timeout (>2.0s)") >= 2


def test_fixtures_of_a_module_are_fresh_for_another_try(inner: Inner) -> None:
    text = """
import pytest

made = []

@pytest.fixture(scope="module")
def host():
    made.append(1)
    return len(made)

@pytest.mark.measures
def test_it(host):
    assert host > 1, "the first one is spoilt"

def test_next(host):
    assert host == 2
"""
    done = inner({"conftest.py": conftest(BUSY, BUSY), "test_x.py": text})
    assert "2 passed" in done.stdout, done.stdout


def machine(**figures: float) -> Quietness:
    """Return what was found beside a try of ten seconds on two CPUs, half of which it used itself."""
    found = {"others": 0.0, "others_worst": 0.0, "own": 0.5, "run_delay": 0.0, **figures}
    return judge(Quietness(quiet=True, seconds=10, cpus=2, run_delay_thread="python3", **found))


@pytest.mark.parametrize(
    ("figures", "too_busy", "words"),
    [
        (
            {"others": 0.9, "others_worst": 1.0, "yielding": 0.88, "run_delay": 0.1},
            False,
            "88% at idle priority",
        ),
        (
            {"others": 0.3, "others_worst": BUSY_IN_A_WINDOW},
            False,
            "took 30% of 2 CPUs, 40% in the worst half second",
        ),
        ({"others": 0.1, "others_worst": BUSY_IN_A_WINDOW + 0.01}, True, "41% in the worst half second"),
        ({"others": 0.5, "run_delay": 2 * RUN_DELAY}, False, "50% of 2 CPUs"),
        (
            {"others": 0.5, "run_delay": 2 * RUN_DELAY + 0.01},
            True,
            "thread python3 waited for a CPU 7% of its time",
        ),
        ({"others": 0.01, "run_delay": 0.5}, False, "took 1% of 2 CPUs"),
    ],
    ids=["idle work", "nobody waits", "a burst", "at the limit", "waited behind others", "waited for itself"],
)
def test_a_try_is_judged_by_what_waited_behind_others(
    figures: dict[str, float], too_busy: bool, words: str
) -> None:
    busy, said = weighed(machine(**figures))
    assert busy is too_busy
    assert words in said


def test_the_thread_that_runs_a_test_is_one_of_those_that_may_not_wait() -> None:
    with Beside() as beside:
        begun = time.monotonic()
        eventually(lambda: time.monotonic() - begun > LEAST_S, "a thread that was there long enough to tell")
    found = beside._watch.found
    assert found.run_delay is not None, "most tests start nothing, and their own thread is what is measured"
    assert (beside.too_busy, beside.said) == weighed(found)
