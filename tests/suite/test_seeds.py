"""The seed of a run: fresh, printed, given back, and named by every failure of a random test."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

Inner = Callable[..., subprocess.CompletedProcess[str]]
PLUGINS = (
    "_hypothesis_pytestplugin",
    "tests.support.seeds",
    "tests.support.measuring",
    "tests.support.groups",
)
DRAWS = """
from hypothesis import given, settings, strategies as st

def test_drawn(rng):
    drawn = rng.randrange(10**9)
    assert False, f"drew {drawn}"

@settings(database=None, max_examples=5)
@given(st.integers(0, 10**9))
def test_property(n):
    print("example", n)
    assert n < 0

def test_constant():
    assert False
"""


def drawn(output: str) -> list[str]:
    return re.findall(r"drew (\d+)|^example (\d+)", output, re.MULTILINE)


def test_a_seed_draws_the_same_again_and_another_run_draws_something_else(inner: Inner) -> None:
    one, two = (inner({"test_x.py": DRAWS}, plugins=PLUGINS).stdout for _ in range(2))
    seeds = [re.findall(r"^seed: (\d+) ", output, re.MULTILINE) for output in (one, two)]
    assert [len(found) for found in seeds] == [1, 1], "printed at the head"
    assert seeds[0] != seeds[1]
    assert drawn(one) != drawn(two)
    assert len(drawn(one)) > 2
    again = inner({}, "--seed", seeds[0][0], plugins=PLUGINS).stdout
    assert drawn(again) == drawn(one)
    beside = inner({}, "-n", "1", "--seed", seeds[0][0], plugins=PLUGINS, ci=True).stdout
    assert drawn(beside) == drawn(one), "on CI and in a worker too"


def test_a_failure_says_how_to_replay_it_where_it_was_drawn(inner: Inner) -> None:
    output = inner({"test_x.py": DRAWS}, "--seed", "77", plugins=PLUGINS).stdout
    assert "python -m pytest 'test_x.py::test_drawn' --seed 77" in output
    assert "python -m pytest 'test_x.py::test_property' --seed 77" in output
    assert "python -m pytest 'test_x.py::test_constant'" not in output


def test_the_order_is_drawn_too_where_it_is_asked_for(inner: Inner) -> None:
    text = "import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_it(n):\n    print('ran', n)\n"
    files = {"test_a.py": text, "test_b.py": text}
    runs = [
        re.findall(
            r"^(test_.\.py)::test_it\[(\d+)\]", inner(files, *options, "-v", plugins=PLUGINS).stdout, re.M
        )
        for options in (
            ("--shuffle", "--seed", "5"),
            ("--shuffle", "--seed", "5"),
            ("--shuffle", "--seed", "6"),
            (),
        )
    ]
    assert runs[0] == runs[1]
    assert len({tuple(run) for run in runs}) == 3
    assert {tuple(sorted(run)) for run in runs} == {tuple(sorted(runs[3]))}
    files_in_turn = [file for file, _ in runs[0]]
    assert files_in_turn in (sorted(files_in_turn), sorted(files_in_turn, reverse=True)), (
        "files stay together"
    )


def test_a_file_that_tells_one_story_is_shuffled_as_a_whole(inner: Inner) -> None:
    story = (
        "import pytest\npytestmark = pytest.mark.in_order\n"
        "@pytest.mark.parametrize('n', range(20))\ndef test_it(n):\n    pass\n"
    )
    files = {"test_a.py": story, "test_b.py": story.replace("pytestmark", "unmarked")}
    options = ("-W", "ignore", "-o", "markers=in_order", "--shuffle", "--seed", "5", "-v")
    ran = re.findall(r"^(test_.\.py)::test_it\[(\d+)\]", inner(files, *options, plugins=PLUGINS).stdout, re.M)
    in_turn = [str(n) for n in range(20)]
    assert [n for file, n in ran if file == "test_a.py"] == in_turn
    drawn = [n for file, n in ran if file == "test_b.py"]
    assert drawn != in_turn
    assert sorted(drawn) == sorted(in_turn)


def test_workers_draw_from_the_seed_of_the_run_whether_it_was_given_or_drawn(inner: Inner) -> None:
    text = """
import pytest

@pytest.mark.parametrize("n", range(12))
def test_it(n, seed):
    assert seed == 0, "to be shown"
"""
    files = {"test_a.py": text, "test_b.py": text}
    for options in ((), ("--seed", "5")):
        done = inner(files, "-n", "2", "--dist", "loadscope", "--shuffle", *options, plugins=PLUGINS)
        assert "24 failed" in done.stdout, done.stdout + done.stderr
        [seed] = set(re.findall(r"^seed: (\d+) ", done.stdout, re.M))
        assert set(re.findall(r"assert (\d+) == 0", done.stdout)) == {seed}
        assert not options or seed == "5"
