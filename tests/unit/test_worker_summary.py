"""How a stream ended, by what its receive worker said last."""

from __future__ import annotations

import pytest

from punktfunk.client.ending import NOTHING_CAME_NS, End
from punktfunk.client.messages import Ended, Progress
from punktfunk.client.summary import Summary
from punktfunk.client.worker_summary import exited, told, untold


def ended(end: End, last_packet_ns: int | None = 5, silent_ns: int = 0) -> Ended:
    return Ended(
        reason="over",
        counters={"frames_complete": 3},
        end=end,
        last_packet_ns=last_packet_ns,
        silent_ns=silent_ns,
        at_least={"packets_lost": 1},
    )


@pytest.mark.parametrize("end", End)
def test_what_a_worker_tells_is_kept_and_its_end_says_whether_that_is_a_failure(end: End) -> None:
    summary = told(ended(end))
    assert summary == Summary(
        "over",
        {"frames_complete": 3},
        failed=end.failed,
        end=end,
        at_least={"packets_lost": 1},
        last_packet_ns=5,
        silent_ns=0,
    )


def test_a_host_that_failed_has_failed_whatever_became_of_the_frames() -> None:
    summary = told(ended(End.CLOSED), failed=True, hint="look there")
    assert (summary.failed, summary.end, summary.hint) == (True, End.CLOSED, "look there")


@pytest.mark.parametrize(
    ("silent_ns", "hint", "failed", "expected"),
    [
        (NOTHING_CAME_NS - 1, "", False, ""),
        (NOTHING_CAME_NS, "", True, "does a firewall pass UDP from the host to this machine?"),
        (NOTHING_CAME_NS, "look there", True, "look there"),
    ],
)
def test_a_stream_of_which_nothing_came_has_failed(
    silent_ns: int, hint: str, failed: bool, expected: str
) -> None:
    summary = told(ended(End.CLOSED, None, silent_ns), hint=hint)
    assert (summary.failed, summary.hint) == (failed, expected)


@pytest.mark.parametrize(
    ("status", "stopping", "end", "reason"),
    [
        (-9, False, End.FAILED, "receive worker killed by signal 9"),
        (3, False, End.FAILED, "receive worker ended with status 3"),
        (0, True, End.STOPPED, "receive worker ended with status 0"),
    ],
)
def test_a_worker_that_is_gone_without_a_word_is_told_by_its_status(
    status: int, stopping: bool, end: End, reason: str
) -> None:
    assert exited(None, status, stopping=stopping) == Summary(reason, failed=end.failed, end=end)


def test_the_last_report_stands_in_for_the_end_and_says_nothing_of_loss() -> None:
    counters = {"frames_complete": 3, "packets_received": 9, "packets_lost": 2}
    summary = untold(Progress(counters, 1, 1, None, 7), End.FAILED, "why", "look there")
    assert (summary.reason, summary.hint, summary.last_packet_ns) == ("why", "look there", 7)
    assert summary.counters["frames_complete"] == 3
    assert (summary.packets_lost, summary.at_least) == (None, {"packets_lost": 2})
