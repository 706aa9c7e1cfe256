"""Progress tells the time left, and a log is not flooded."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from harness.analysis.results import CaseResult, Status
from harness.run.progress import PlainReporter, Remaining, TerminalReporter, clock


def result(name: str, status: Status, reason: str = "") -> CaseResult:
    return CaseResult(
        id=name, scenario="s", seed=1, protocol="punktfunk/1", backend="sim", status=status, reason=reason
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (4200, "1 h 10 min")],
)
def test_spans_are_written_as_people_do(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_time_left_follows_the_pace_that_is_seen() -> None:
    left = Remaining(100.0, now=0.0)
    assert left.seconds(0.0) == pytest.approx(100.0)
    left.advance(50.0)
    assert left.seconds(50.0) == pytest.approx(50.0)
    assert left.seconds(100.0) > 80.0, "twice as slow as thought: the rest will be, too"
    left.advance(1000.0)
    assert left.seconds(200.0) == 0.0


def test_a_log_has_a_line_for_each_failure_and_one_at_the_end() -> None:
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    reporter.begin(100, 10.0)
    for n in range(99):
        failed = n == 40
        reporter.ended(
            result(f"case-{n}", Status.FAILED if failed else Status.PASSED, "because" * failed), 0.1
        )
    reporter.ended(result("last", Status.PASSED), 0.1)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "100 cases, about 10 s"
    assert "[41/100] FAILED  case-40: because" in lines[1]
    assert lines[2] == "[100/100] ok      last"
    assert len(lines) == 3


def test_a_terminal_shows_how_far_and_how_long_and_failures_stand_above_the_bar() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(Console(file=stream, force_terminal=True, width=100, color_system=None))
    reporter.begin(4, 400.0)
    reporter.ended(result("first", Status.PASSED), 100.0)
    reporter.ended(result("second", Status.FAULT, "the link was not as asked"), 100.0)
    reporter.close()
    said = stream.getvalue()
    assert "FAULT   second: the link was not as asked" in said
    assert "2/4" in said
    assert "left" in said
