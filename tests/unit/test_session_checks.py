"""The checks that every live session has to pass, and that each of them can fail."""

from __future__ import annotations

import numpy as np

from harness.analysis.records import Records, empty
from harness.analysis.results import Check
from harness.run.checks import recovery_checks, session_checks
from harness.scenario.model import Session

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


def test_a_check_shows_its_counts() -> None:
    rows = table()
    rows["decode_end_ns"][40:44] = -1
    rows["client_status"][10:12] = 1
    rows["decodable"][20] = 0
    host, client = {"keyframe_requests": 2}, {"frames_queue_dropped": 3, "recovery_requests": 5}
    decodes, recovery, loss = session_checks(SPEC, rows, host, client, link(507))
    # 97 frames are whole and decodable, 4 of them without a picture, 3 of which the client says it dropped.
    assert (decodes.passed, decodes.expected, decodes.measured) == (False, "94 frames", "93 frames")
    assert decodes.detail == "3 more were dropped before the decoder, which was too slow"
    assert recovery.passed
    assert recovery.expected == "at least one request"
    assert recovery.measured == "5 requests for 3 lost or undecodable frames"
    assert loss.passed
    assert loss.expected == "5.000% of 10000 packets"
    assert loss.measured == "5.070% (p 0.75)"
    decodes, recovery, _ = session_checks(SPEC, table(), {}, {}, link(507))
    assert (decodes.detail, recovery.expected) == ("", "nothing was lost")
    assert recovery.measured == "0 requests for 0 lost or undecodable frames"


def test_a_request_may_come_from_the_host_too() -> None:
    rows = table()
    rows["client_status"][10] = 1
    assert failed(session_checks(SPEC, rows, {"keyframe_requests": 1}, {}, link(507))) == []
    assert failed(session_checks(SPEC, rows, {}, {}, link(507))) == [
        "recovery is requested when a frame is lost"
    ]


def test_a_frame_lost_just_before_the_last_ones_must_be_asked_for() -> None:
    for index, wanted in ((69, True), (70, False)):
        rows = table()
        rows["client_status"][index] = 1
        found = failed(session_checks(SPEC, rows, {}, {}, link(507)))
        assert (found == ["recovery is requested when a frame is lost"]) is wanted, index


def test_frames_of_which_the_client_knows_nothing_are_not_called_lost() -> None:
    rows = table()
    rows["client_status"][10] = -1
    assert failed(session_checks(SPEC, rows, {}, {}, link(507))) == []


def session(down: dict[str, object], **more: object) -> Session:
    return Session.model_validate(
        {"media": {"source": "testcard", "duration": "4 s"}, "link": {"backend": "tun", "down": down}} | more
    )


def names(spec: Session, counters: dict[str, int]) -> list[str]:
    return [check.name for check in session_checks(spec, table(), {}, {}, counters)]


def test_which_checks_a_session_gets() -> None:
    decodes, recovery, loss = names(SPEC, link(507))
    assert names(SPEC, link(0, n=0)) == names(SPEC, {}) == names(SPEC, {"link_in": 10}) == [decodes, recovery]
    synthetic = session({"loss": "5 %"}, media={"source": "synthetic", "duration": "4 s"})
    assert names(synthetic, link(507)) == [recovery, loss]
    assert names(session({"loss": "5 %"}, stream={"recovery": False}), link(507)) == [decodes, loss]
    # Periodic loss is exact on its own clock, and other traffic takes its turns.
    assert loss not in names(session({"loss": {"every": 5}}), link(2000))


def test_a_checksum_drops_behind_the_place_where_loss_is_counted() -> None:
    spec = session({"loss": "5 %", "corrupt": {"rate": "10 %", "mode": "checksum"}})
    assert failed(session_checks(spec, table(), {}, {}, link(507))) == []
    assert failed(session_checks(spec, table(), {}, {}, link(1450))) == [
        "transport loss is the loss asked for"
    ]


def test_bursts_make_the_count_of_losses_vary_more() -> None:
    spec = session({"loss": {"rate": "5 %", "burst": 8}})
    for lost, wrong in ((570, False), (640, False), (850, True), (200, True)):
        found = failed(session_checks(spec, table(), {}, {}, link(lost)))
        assert (found == ["transport loss is the loss asked for"]) is wrong, lost


def test_of_a_client_that_left_nothing_only_the_link_is_checked() -> None:
    found = session_checks(SPEC, empty(0), {}, None, link(507))
    assert [check.name for check in found] == ["transport loss is the loss asked for"]


def streamed(frames: int = 100) -> Records:
    """The same with what the host knows; its only key frame is the first."""
    rows = table(frames)
    rows["sealed_ns"] = np.arange(frames) * 16_000_000
    for name, value in (("host_status", 0), ("flags", 1)):
        rows[name][:] = value
    rows["flags"][0] = 5
    return rows


def test_a_lost_frame_that_no_key_frame_follows_is_found_in_any_of_the_seeds() -> None:
    answered, silent = streamed(), streamed()
    for rows in (answered, silent):
        rows["client_status"][[10, 50]] = 1
    answered["flags"][55] = 5
    silent["flags"][40] = 5
    [check] = recovery_checks(SPEC, [answered, table()])
    assert (check.passed, check.expected, check.measured) == (True, "2 frames", "2 frames")
    [check] = recovery_checks(SPEC, [answered, silent])
    assert (check.passed, check.expected, check.measured) == (False, "4 frames", "3 frames")
    late = streamed()
    late["client_status"][70] = 1
    assert recovery_checks(SPEC, [late])[0].passed, "too late to be answered"
    late["client_status"][69] = 1
    assert not recovery_checks(SPEC, [late])[0].passed


def test_a_client_that_hears_nothing_any_more_owes_no_request() -> None:
    """A burst that lasts to the end of the stream: what it misses, a client learns from what comes after."""
    silent = streamed()
    silent["client_status"][60:] = 1
    [check] = recovery_checks(SPEC, [silent])
    assert (check.passed, check.expected) == (True, "0 frames")
    silent["packets_received"][84] = 1
    assert recovery_checks(SPEC, [silent])[0].expected == "10 frames", (
        "to 69: later is too late to be answered"
    )
    silent["packets_received"][84:86] = [-1, 1]
    assert recovery_checks(SPEC, [silent])[0].expected == "0 frames", "heard of when there is no time left"


def test_nothing_is_asked_of_a_session_that_asks_for_no_key_frames_or_has_no_others() -> None:
    keys = session({"loss": "5 %"}, media={"source": "synthetic", "frames": 100, "key_interval": 0})
    deaf = session({"loss": "5 %"}, stream={"recovery": False})
    for spec in (keys, deaf):
        assert recovery_checks(spec, [streamed()]) == []
    assert recovery_checks(SPEC, [table()]) == [], "no host left records"
    assert [check.name for check in session_checks(SPEC, streamed(), {}, {}, {})][1:] == [
        "recovery is requested when a frame is lost",
        "a key frame follows every lost frame",
    ]
