"""One seed for all that a run draws: fresh for every run, printed at its head, and given back by ``--seed``.

Hypothesis draws from it, and tests that ask for ``rng``. A failure of either says how to replay it. A test whose
limits are statistical has constant seeds instead: it would fail by chance now and then, and this is not for it.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

_SEED_BITS = 32
_WORKERS_SEED = "punktfunk_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the seed of a run that is to be repeated."""
    parser.addoption(
        "--seed", type=int, help="what random tests draw from (default: fresh, printed at the head)"
    )
    parser.addoption(
        "--shuffle", action="store_true", help="run files, and the tests of each, in a drawn order"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed of this run, which Hypothesis and the workers of pytest-xdist draw from too."""
    # Hypothesis' own profile for CI draws the same examples every time. The machine's load is not a test's concern:
    # neither how long an example takes, nor how long it takes to draw ten of them.
    hypothesis.settings.register_profile(
        "punktfunk",
        deadline=None,
        derandomize=False,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("punktfunk")
    here: dict[str, int] | None = getattr(config, "workerinput", None)
    if here is not None:
        config.option.seed = here[_WORKERS_SEED]
    if config.option.seed is None:
        config.option.seed = secrets.randbits(_SEED_BITS)
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = config.option.seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker of pytest-xdist, which would draw one of its own: options do not carry it there."""
    node.workerinput[_WORKERS_SEED] = node.config.option.seed


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed, whatever comes of the run."""
    return f"seed: {config.option.seed} (--seed {config.option.seed} draws the same again)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle files and the tests in them, where that is asked for; fixtures of a file are made once all the same.

    A file marked ``in_order`` tells one story, and is shuffled as a whole.
    """
    if not config.option.shuffle:
        return
    drawn = random.Random(config.option.seed)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    names = list(files)
    drawn.shuffle(names)
    for tests in files.values():
        if tests[0].get_closest_marker("in_order") is None:
            drawn.shuffle(tests)
    items[:] = [item for name in names for item in files[name]]


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of this run."""
    drawn: int = pytestconfig.option.seed
    return drawn


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Return the test's own source of randomness: the run's seed and the test's name decide what it draws."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Add to a failed random test how to draw the same again."""
    report = yield
    if report.failed and draws(item):
        report.sections.append(("replay", replay(item)))
    return report


def draws(item: pytest.Item) -> bool:
    """Return whether the test draws from the run's seed."""
    return "seed" in getattr(item, "fixturenames", ()) or item.get_closest_marker("hypothesis") is not None


def replay(item: pytest.Item) -> str:
    """Return the command that repeats what the test drew."""
    return f"python -m pytest '{item.nodeid}' --seed {item.config.option.seed}"
