"""``--cpu``: which tests take the CPU, by themselves and by the processes that they start.

A run takes as long as its CPU seconds divided by the CPUs, whatever the tests wait for: these are the ones to save. A
test has what its fixtures take in its turn, and all processes that were waited for in it. What is killed and never
waited for is in no figure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from typing import Any, Final

import pytest

MOST: Final = 30
"""Tests that are listed."""
_NAME: Final = "cpu seconds"


class Meter:
    """The plugin of a run with ``--cpu``."""

    def __init__(self) -> None:
        self._began = _seconds()
        self._tests: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        """Begin a test."""
        self._began = _seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Report with the last report of a try what it took; under pytest-xdist another process adds up."""
        if call.when == "teardown":
            now = _seconds()
            item.user_properties.append((_NAME, now - self._began))
            self._began = now
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up."""
        if report.when == "teardown":
            self._tests[report.nodeid] += sum(
                value for name, value in report.user_properties if name == _NAME
            )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print those that took most."""
        terminalreporter.section(f"CPU seconds, {MOST} tests with most")
        for test, seconds in self._tests.most_common(MOST):
            terminalreporter.line(f"{seconds:7.2f}  {test}")
        terminalreporter.line(f"{self._tests.total():7.2f}  all {len(self._tests)} tests")


def _seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--cpu", action="store_true", help=f"list the {MOST} tests that take most CPU, processes included"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin where it was asked for."""
    if config.getoption("--cpu"):
        config.pluginmanager.register(Meter(), "punktfunk-cpu")
