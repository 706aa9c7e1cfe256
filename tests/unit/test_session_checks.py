"""The checks that every live session has to pass, and that each of them can fail."""

from __future__ import annotations

import numpy as np

from harness.link.checks import session_checks
from harness.records import Records, empty
from harness.results import Check
from harness.scenario import Session

SPEC = Session.model_validate(
    {
        "media": {"source": "testcard", "duration": "4 s"},
        "link": {"backend": "tun", "down": {"loss": "5 %"}},
    }
)


def table(frames: int = 100) -> Records:
    rows = empty(frames)
    rows["index"] = np.arange(frames)
    for name, value in (("client_status", 0), ("decodable", 1), ("decode_end_ns", 5)):
        rows[name][:] = value
    return rows


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def link(lost: int, n: int = 10_000) -> dict[str, int]:
    return {"link_in": n, "dropped_loss": lost}


def test_a_session_as_it_should_be_passes() -> None:
    assert failed(session_checks(SPEC, table(), {}, {"recovery_requests": 0}, link(507))) == []


def test_a_decodable_frame_without_a_picture_is_found() -> None:
    rows = table()
    rows["decode_end_ns"][7] = -1
    found = session_checks(SPEC, rows, {}, {}, link(507))
    assert failed(found) == ["every complete frame whose references are complete decodes"]


def test_a_frame_that_waits_for_its_reference_need_not_decode_but_asks_for_recovery() -> None:
    rows = table()
    rows["decode_end_ns"][7], rows["decodable"][7] = -1, 0
    assert failed(session_checks(SPEC, rows, {}, {"recovery_requests": 1}, link(507))) == []
    found = session_checks(SPEC, rows, {}, {"recovery_requests": 0}, link(507))
    assert failed(found) == ["recovery is requested when a frame is lost"]


def test_frames_lost_at_the_very_end_ask_for_nothing() -> None:
    rows = table()
    rows["client_status"][95] = 1
    rows["decode_end_ns"][95] = -1
    assert failed(session_checks(SPEC, rows, {}, {"recovery_requests": 0}, link(507))) == []


def test_frames_that_a_slow_decoder_left_out_are_named_and_no_failure() -> None:
    rows = table()
    rows["decode_end_ns"][40:43] = -1
    [decodes, *_] = session_checks(SPEC, rows, {}, {"frames_queue_dropped": 3}, link(507))
    assert decodes.passed
    assert "3 more were dropped" in decodes.detail


def test_another_transport_loss_than_asked_is_found() -> None:
    for lost in (390, 620):
        assert failed(session_checks(SPEC, table(), {}, {}, link(lost))) == [
            "transport loss is the loss asked for"
        ]


def test_a_link_that_changes_is_not_tested_against_its_first_loss() -> None:
    changing = SPEC.model_copy(
        update={"events": Session.model_validate({"events": [{"at": "1 s", "down": {"loss": "9 %"}}]}).events}
    )
    assert failed(session_checks(changing, table(), {}, {}, link(900))) == []
