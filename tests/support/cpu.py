"""``--cpu``: which tests take the CPU, by themselves and by the processes that they start, and which queue ran when.

A run takes no less time than its CPU seconds divided by the CPUs, and no less than its longest queue: both are listed.
A test has what its fixtures take in its turn, and all processes that were waited for in it. What is killed and never
waited for is in no figure.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.support.groups import ALONE, group_of
from tests.support.measuring import is_alone

MOST: Final = 30
"""Tests that are listed."""
LONG_S: Final = 5.0
"""Queues that are listed: those that took at least as long."""
_NAME: Final = "cpu seconds"
_QUEUE: Final = "queue"
_COLLECTED: Final = "cpu seconds until collected"


@dataclass
class Turn:
    """What a queue took: CPU seconds, and from when to when (seconds since the epoch)."""

    cpu: float
    begun: float
    ended: float


class Meter:
    """The plugin of a run with ``--cpu``."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = _seconds()
        self._tests: Counter[str] = Counter()
        self._queues: dict[tuple[str, str], Turn] = {}
        self._collected: dict[str, float] = {}
        self._start = time.time()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Note what this process took until it knew its tests."""
        output: dict[str, Any] = getattr(self._config, "workeroutput", self._collected)
        output[_COLLECTED] = _seconds()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a process of pytest-xdist took until it knew its tests, unless it died."""
        if _COLLECTED in getattr(node, "workeroutput", {}):
            self._collected[node.gateway.id] = node.workeroutput[_COLLECTED]

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
        if call.when == "setup":
            item.user_properties.append((_QUEUE, ALONE if is_alone(item) else group_of(item.nodeid)))
        if call.when == "teardown":
            now = _seconds()
            item.user_properties.append((_NAME, now - self._began))
            self._began = now
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up."""
        node = getattr(report, "node", None)
        worker = "" if node is None else node.gateway.id
        cpu = 0.0
        if report.when == "teardown":
            cpu = sum(value for name, value in report.user_properties if name == _NAME)
            self._tests[report.nodeid] += cpu
        for queue in {value for name, value in report.user_properties if name == _QUEUE}:
            turn = self._queues.setdefault((worker, queue), Turn(0.0, report.start, report.stop))
            turn.cpu += cpu
            turn.begun = min(turn.begun, report.start)
            turn.ended = max(turn.ended, report.stop)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the tests that took most, and when the long queues ran."""
        terminalreporter.section(f"CPU seconds, {MOST} tests with most")
        for test, seconds in self._tests.most_common(MOST):
            terminalreporter.line(f"{seconds:7.2f}  {test}")
        terminalreporter.line(f"{self._tests.total():7.2f}  all {len(self._tests)} tests")
        collected = sum(self._collected.values())
        processes = len(self._collected)
        terminalreporter.line(
            f"{collected:7.2f}  before them, in {processes} process{'es' * (processes != 1)}"
        )
        terminalreporter.section(f"queues of {LONG_S:.0f} s or more: from, to, CPU seconds")
        for (worker, queue), turn in sorted(self._queues.items(), key=lambda one: (one[0][0], one[1].begun)):
            if turn.ended - turn.begun >= LONG_S:
                begun, ended = turn.begun - self._start, turn.ended - self._start
                terminalreporter.line(f"{begun:7.1f} {ended:7.1f} {turn.cpu:7.2f}  {worker}  {queue}")


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
        config.pluginmanager.register(Meter(config), "punktfunk-cpu")
