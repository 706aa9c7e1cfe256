"""What every test sees: the rules for machines that lack something."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator

import pytest

from punktfunk import log
from punktfunk.log_ring import LogRing
from punktfunk.process import loading

# What is collected stays until the end: some 5,000 tests, their modules, and all that those import.
loading.begin()
pytest_plugins = (
    "tests.support.seeds",
    "tests.support.measuring",
    "tests.support.groups",
    "tests.support.cpu",
)

# Each of the hundreds of processes would look through all installed packages for plugins of pydantic.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# The background job of a shell ignores SIGINT, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def missing(what: str) -> None:
    """Skip the calling test because ``what`` is missing here; fail it on CI, where all must be there."""
    if _CI:
        pytest.fail(f"CI=true and this machine lacks: {what}", pytrace=False)
    pytest.skip(what)


@pytest.fixture(autouse=True)
def scheduling_as_found() -> Iterator[None]:
    """Fail a test that leaves this process with another priority: all that is started after it would inherit that."""
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    yield
    after = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    assert after == before, "the scheduling of the test process"


@pytest.fixture(autouse=True)
def log_as_found() -> Iterator[None]:
    """Write and keep this process's log as before the test: what one has configured is no concern of the next."""
    outlet = log._outlet
    before = outlet.written, outlet.kept, outlet.ring, outlet.write
    yield
    outlet.written, outlet.kept, outlet.ring, outlet.write = before


@pytest.fixture
def ring() -> Iterator[LogRing]:
    """Return what keeps the entries of this process's log during the test."""
    kept = LogRing()
    log.keep(kept)
    yield kept
    log.keep(None)


@pytest.fixture(scope="session")
def need_tool() -> object:
    """Return a function that demands a program by name: ``need_tool("tshark")`` gives its path."""

    def need(program: str, package: str | None = None) -> str:
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if path is None:
            missing(f"the program {program} (apt-get install {package or program})")
        assert path is not None
        return path

    return need


@pytest.fixture(scope="session")
def lack() -> Callable[[str], None]:
    """Return :func:`missing`, for what is no program: ``lack("pywayland (pip install ...)")``."""
    return missing


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of single tests."""
    parser.addoption(
        "--flood-frames",
        default=2,
        type=int,
        help="streams of tests/security/test_link_floods.py (promise: 20)",
    )
    parser.addoption("--kills", default=4, type=int, help="SIGKILLs of tests/net/test_kills.py (promise: 50)")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Collect garbage again, but never look through the tests for it."""
    loading.ready()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold the ``root`` marker's promise."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        missing("root, for network namespaces and TUN devices")
