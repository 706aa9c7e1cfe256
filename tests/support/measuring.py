"""Tests whose verdict depends on how fast the machine is: ``@pytest.mark.measures``.

Such a test may pass beside others, for what is fast enough there is fast enough. Where it fails beside them it is
tried again alone: under pytest-xdist nothing else runs then. Where it fails alone while it waited behind other
programs (:class:`Beside` each try), it is tried again with fresh fixtures, three times alone. If the machine was too
busy each time, the outcome is "too busy to judge", a skip that says what was measured; where the machine was quiet,
the failure stands. The end of the run lists both. Under ``CI=true`` more than three tests without a judgement fail the
run.

``@pytest.mark.measures(alone=True)`` is for those that could not pass beside others or that would disturb them: they
run alone at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    from harness.analysis.results import Quietness

TRIES: Final = 3
TRY_FOR_S: Final = 60.0
"""No further try alone begins after this long; each has the time limit of the test."""
UNJUDGED_ALLOWED: Final = 3
_MARK: Final = "measures"
_UNJUDGED: Final = "too busy to judge"
_AGAIN: Final = "tried again"
_FOLDER: Final = "measuring_folder"
_PLUGIN: Final = "punktfunk-measuring"


class Beside:
    """What other programs did to a try: watches the machine meanwhile, and then tells whether a failure says anything.

    The harness' own measure of a quiet machine (ADR 0229): the test's thread and those that it started waited behind
    others, not that others computed. A test may hang on one moment of it, so that a burst refuses it as well.
    """

    def __init__(self) -> None:
        # Loaded with the first try: it brings NumPy, which a run of other tests may never need.
        from harness.machine.watch import Watch

        self._watch = Watch(this_process=True)
        self.too_busy = False
        self.said = ""

    def __enter__(self) -> Self:
        self._watch.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.__exit__()
        self.too_busy, self.said = weighed(self._watch.found)


def weighed(found: Quietness) -> tuple[bool, str]:
    """Return whether the machine was too busy to judge a test that failed, and what was found of it."""
    from harness.machine.load import BUSY_IN_A_WINDOW
    from harness.machine.watch import rivals, rivals_in_a_window

    if not found.quiet:
        return True, "; ".join(found.reasons)
    worst = rivals_in_a_window(found)
    idle = f" and {found.yielding:.0%} at idle priority" if found.yielding >= 0.005 else ""
    taken = f"other processes took {rivals(found):.0%} of {found.cpus} CPUs{idle}"
    said = f"{taken}, {worst:.0%} in the worst half second"
    return worst > BUSY_IN_A_WINDOW, said


class Turns:
    """Let any number of tests run, or one that measures; who waits to measure is not overtaken.

    Between processes, by ``flock``: what holds a turn and dies gives it back.
    """

    def __init__(self, folder: Path) -> None:
        self._door = (folder / "door").open("wb")
        self._room = (folder / "room").open("wb")
        self._alone: bool | None = None

    @property
    def alone(self) -> bool:
        """Return whether a turn alone is held."""
        return self._alone is True

    def take(self, *, alone: bool) -> None:
        """Wait for a turn. A turn alone that is held already is kept."""
        if self._alone and alone:
            return
        self.give_back()
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)
        self._alone = alone

    def give_back(self) -> None:
        """Give the turn back, if one is held."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._alone = None

    def close(self) -> None:
        """Give the turn back for good."""
        self._room.close()
        self._door.close()


class Measuring:
    """The plugin: takes turns, tries again, keeps count."""

    def __init__(self, config: pytest.Config) -> None:
        self.turns: Turns | None = None
        self._folder: Path | None = None
        self._unjudged: list[str] = []
        self._again: list[str] = []
        worker = getattr(config, "workerinput", None)
        if worker is not None:
            self.turns = Turns(Path(worker[_FOLDER]))
        self._counts = worker is None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give a worker of pytest-xdist the place where turns are taken."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="punktfunk-tests-"))
        node.workerinput[_FOLDER] = str(self._folder)

    def pytest_unconfigure(self) -> None:
        """Remove what was made for turns."""
        if self.turns is not None:
            self.turns.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, Any, Any]:
        """Take a turn for the test, before any time limit of it begins."""
        if self.turns is None:
            return (yield)
        self.turns.take(alone=is_alone(item))
        try:
            return (yield)
        finally:
            # Those that run alone do so one after the other where they follow each other.
            if nextitem is None or not (is_alone(item) and is_alone(nextitem)):
                self.turns.give_back()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was not judged and what was tried again, in the process that shows the result."""
        if self._counts:
            for name, said in report.user_properties:
                if name == _UNJUDGED:
                    self._unjudged.append(f"{report.nodeid}: {said}")
                elif name == _AGAIN:
                    self._again.append(f"{report.nodeid}: {said}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run on CI that leaves too much without a judgement."""
        if self._counts and self._too_many and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how many tests were not judged and which were tried again."""
        if not (self._unjudged or self._again):
            return
        terminalreporter.section("measuring beside other programs")
        for line in self._again:
            terminalreporter.line(f"TRIED AGAIN {line}")
        for line in self._unjudged:
            terminalreporter.line(f"NOT JUDGED {line}")
        terminalreporter.line(
            f"{len(self._again)} passed when tried again, {len(self._unjudged)} {_UNJUDGED}"
            + (f": more than {UNJUDGED_ALLOWED} fail this run" if self._too_many else "")
        )

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Names of the tests that run alone, once the workers have collected."""
        files = self._folder.glob("*.json") if self._folder is not None else ()
        return frozenset(name for file in files for name in json.loads(file.read_text(encoding="utf-8")))

    @property
    def _too_many(self) -> bool:
        return os.environ.get("CI", "").lower() in ("1", "true", "yes") and (
            len(self._unjudged) > UNJUDGED_ALLOWED
        )


class Tries:
    """Run those that measure, again where the machine was too busy."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test that measures up to three times and report the last try."""
        if not measures(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        plugin = item.config.pluginmanager.get_plugin(_PLUGIN)
        assert isinstance(plugin, Measuring)
        for report in judged(item, nextitem, plugin.turns):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def judged(item: pytest.Item, nextitem: pytest.Item | None, turns: Turns | None) -> list[pytest.TestReport]:
    """Return the reports of the last try, which say what the machine did meanwhile.

    ``turns`` is ``None`` where nothing of this run goes on beside the test.
    """
    if turns is None or turns.alone:
        return _judged_alone(item, nextitem)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    failed = [report for report in reports if report.failed]
    if not failed or any(_hung(report) for report in failed):
        return reports
    turns.take(alone=True)
    _begin_again(item)
    reports = _judged_alone(item, nextitem)
    known = {name for report in reports for name, _ in report.user_properties}
    if not any(report.failed for report in reports) and not known & {_AGAIN, _UNJUDGED}:
        said = f"failed beside other tests, passed alone; the failure: {_last_line(failed[0])}"
        reports[-1].user_properties.append((_AGAIN, said))
    return reports


def _judged_alone(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    loads: list[str] = []
    reports: list[pytest.TestReport] = []
    begun = time.monotonic()
    for number in range(TRIES):
        if loads and time.monotonic() - begun > TRY_FOR_S:
            break
        if loads:
            _begin_again(item)
        with Beside() as beside:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        loads.append(beside.said)
        failed = [report for report in reports if report.failed]
        if not failed:
            if number:
                reports[-1].user_properties.append(
                    (_AGAIN, f"passed at try {number + 1}; {'; '.join(loads)}")
                )
            return reports
        if any(_hung(report) for report in failed):
            return reports
        if not beside.too_busy:
            failed[0].sections.append(("machine", f"quiet enough to judge: {beside.said} (try {number + 1})"))
            return reports
    for report in [report for report in reports if report.failed]:
        said = f"{'; '.join(loads)}; the last failure: {_last_line(report)}"
        if not any(name == _UNJUDGED for one in reports for name, _ in one.user_properties):
            report.user_properties.append((_UNJUDGED, said))
        report.outcome = "skipped"
        path, line, _ = report.location
        report.longrepr = (path, line or 0, f"{_UNJUDGED}: {said}")
    return reports


def _begin_again(item: pytest.Item) -> None:
    """End all fixtures of the try before, those of the module too, and give the next one its time limit."""
    # What does not come down is part of the failure that is tried again.
    with contextlib.suppress(Exception):
        item.session._setupstate.teardown_exact(None)
    if hasattr(item.ihook, "pytest_timeout_set_timer"):
        import pytest_timeout

        # The plugin has let go of its timer with the failure.
        settings = pytest_timeout._get_item_settings(item)
        if settings.timeout:
            item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def _hung(report: pytest.TestReport) -> bool:
    """Return whether the time limit ended the test: no measurement, and another try would be as long."""
    return "Timeout (>" in _last_line(report)


def measures(item: pytest.Item) -> bool:
    """Return whether the test is one that measures."""
    return item.get_closest_marker(_MARK) is not None


def is_alone(item: pytest.Item) -> bool:
    """Return whether the test is one that measures and never runs beside others."""
    mark = item.get_closest_marker(_MARK)
    return mark is not None and bool(mark.kwargs.get("alone", False))


def tell_which_are_alone(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the names of those that run alone where the scheduler of pytest-xdist finds them: it sees names only."""
    worker: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
    names = [item.nodeid for item in items if is_alone(item)]
    (Path(worker[_FOLDER]) / f"{worker['workerid']}.json").write_text(json.dumps(names), encoding="utf-8")


def those_alone(config: pytest.Config) -> frozenset[str]:
    """Return the node IDs that the workers recorded; all of them have collected the same."""
    plugin = config.pluginmanager.get_plugin(_PLUGIN)
    assert isinstance(plugin, Measuring)
    return plugin.names


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).partition("\n")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the plugin."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}: judges how fast the machine is; tried again alone where it fails (alone=True: never beside others)",
    )
    config.pluginmanager.register(Measuring(config), _PLUGIN)
    config.pluginmanager.register(Tries(), "punktfunk-tries")
