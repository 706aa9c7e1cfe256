"""What every test sees: the rules for machines that lack something."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

_TAKE_THE_MACHINE = ("tests/net/", "tests/e2e/", "tests/web/", "tests/security/test_hostile_packets.py")
# The background job of a shell ignores SIGINT, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def missing(what: str) -> None:
    """Skip the calling test because ``what`` is missing here; fail it on CI, where all must be there."""
    if _CI:
        pytest.fail(f"CI=true and this machine lacks: {what}", pytrace=False)
    pytest.skip(what)


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
    parser.addoption("--kills", default=4, type=int, help="SIGKILLs of tests/net/test_kills.py (promise: 50)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Say what runs side by side under pytest-xdist: files that compute, and one of those that take the machine.

    Namespaces, compositors, browsers and timed processes would disturb and find each other, so that all of them
    form one queue. The tests of any other file stay together for its fixtures.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneQueueForTheMachine(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "machine" if file.startswith(_TAKE_THE_MACHINE) else file

    return OneQueueForTheMachine(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold the ``root`` marker's promise."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        missing("root, for network namespaces and TUN devices")
