"""The checks that every live session has to pass, and that each of them can fail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

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


def test_over_a_long_link_a_round_trip_of_frames_more_may_be_noticed_too_late() -> None:
    """200 ms are 12 frames of 60 a second: of 100 frames 57 is the last that has to be asked for."""
    long = SPEC.model_copy(update={"link": over({"delay": "80 ms"}, {"delay": "120 ms"}).link})
    for index, wanted in ((57, True), (58, False)):
        rows = table()
        rows["client_status"][index] = 1
        found = failed(session_checks(long, rows, {}, {}, link(0)))
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


FRAME_NS = 16_000_000
"""About 60 frames a second, which is what sessions here stream."""


def streamed(frames: int = 100, *, way_ns: int = 500_000) -> Records:
    """The same with what the host knows and when the client heard; its only key frame is the first."""
    rows = table(frames)
    rows["sealed_ns"] = np.arange(frames) * FRAME_NS
    for name in ("recv_first_ns", "recv_last_ns", "complete_ns"):
        rows[name] = rows["sealed_ns"] + way_ns
    for name, value in (("host_status", 0), ("flags", 1)):
        rows[name][:] = value
    rows["flags"][0] = 5
    return rows


def lose(rows: Records, which: int | slice | list[int], *, heard: bool = False) -> None:
    """Have frames not be completed; ``heard`` says that some of their packets arrived."""
    rows["client_status"][which] = 1
    rows["complete_ns"][which] = -1
    if not heard:
        rows["recv_first_ns"][which] = rows["recv_last_ns"][which] = -1


def over(down: Mapping[str, object], up: Mapping[str, object]) -> Session:
    return Session.model_validate({"link": {"backend": "tun", "down": down, "up": up}})


def judged(rows: Records, spec: Session, *, live: bool = False) -> tuple[bool, str]:
    [check] = recovery_checks(spec, [rows], live=live)
    return check.passed, check.expected


def last_owed(spec: Session, way_ns: int, *, live: bool = False) -> int:
    """Return the last of 100 frames whose loss has to be answered with a key frame."""
    for lost in reversed(range(100)):
        rows = streamed(way_ns=way_ns)
        lose(rows, lost)
        passed, owed = judged(rows, spec, live=live)
        assert passed is (owed == "0 frames")
        rows["flags"][99] = 5
        assert judged(rows, spec, live=live)[0] or lost == 99, "the last frame answers it"
        if not passed:
            return lost
    raise AssertionError("no frame at all")


def test_a_lost_frame_that_no_key_frame_follows_is_found_in_any_of_the_seeds() -> None:
    answered, silent = streamed(), streamed()
    for rows in (answered, silent):
        lose(rows, [10, 50])
    answered["flags"][55] = 5
    silent["flags"][40] = 5
    [check] = recovery_checks(SPEC, [answered, table()])
    assert (check.passed, check.expected, check.measured) == (True, "2 frames", "2 frames")
    [check] = recovery_checks(SPEC, [answered, silent])
    assert (check.passed, check.expected, check.measured) == (False, "4 frames", "3 frames")


@pytest.mark.parametrize(("way_ms", "frame"), [(0.5, 92), (10, 91), (40, 86), (200, 46)])
def test_how_late_a_lost_frame_still_has_to_be_answered_follows_from_the_round_trip(
    way_ms: float, frame: int
) -> None:
    """Of frames every 16 ms, the last 1,584 ms after the first.

    The client gives a frame up when the next has been complete for the reorder window of 20 ms. If it had asked before,
    it asks again by 50 ms or two ways later, with the next packet that it hears; then the way up.
    """
    delay = {"delay": f"{way_ms} ms"}
    assert last_owed(over(delay, delay), round(way_ms * 1e6)) == frame


def test_of_a_live_session_over_a_short_link_every_frame_before_the_last_thirty_is_owed_an_answer() -> None:
    assert last_owed(SPEC, 500_000, live=True) == 69


def test_a_live_client_may_wait_longer_where_the_way_up_loses_or_a_queue_makes_the_round_trip_unknown() -> (
    None
):
    assert last_owed(over({}, {"loss": "2 %"}), 500_000, live=True) == 63
    assert last_owed(over({"rate": "5 Mbit/s"}, {}), 500_000, live=True) == 44


def test_events_and_traces_count_with_their_longest_delay() -> None:
    quick = over({}, {"delay": "1 ms"})
    assert quick.longest_delay_ns("up") == 1_000_000
    slow = quick.model_validate(
        {
            "link": {
                "up": {"trace": {"points": [{"at": "0 s", "delay": "1 ms"}, {"at": "1 s", "delay": "30 ms"}]}}
            },
            "events": [{"at": "1 s", "up": {"jitter": "2 ms", "reorder": {"rate": "1 %", "extra": "5 ms"}}}],
        }
    )
    assert slow.longest_delay_ns("up") == (30 + 4 * 2 + 5) * 1_000_000
    assert slow.longest_delay_ns("down") == 0


def test_a_client_that_hears_nothing_any_more_owes_no_request() -> None:
    """A burst that lasts to the end of the stream: what it misses, a client learns from what comes after."""
    silent = streamed()
    lose(silent, slice(60, None))
    spec = over({"delay": "500 us"}, {"delay": "500 us"})
    assert judged(silent, spec) == (True, "0 frames")
    # A packet of a frame that never comes whole: 120 ms later those before it are given up, and it as well.
    for heard, owed in ((80, 20), (89, 0)):
        rows = {name: column.copy() for name, column in silent.items()}
        rows["recv_first_ns"][heard] = rows["recv_last_ns"][heard] = heard * FRAME_NS
        assert judged(rows, spec) == (True, "0 frames"), "it hears nothing more, so does not ask again"
        rows["recv_first_ns"][97:] = rows["recv_last_ns"][97:] = rows["sealed_ns"][97:]
        assert judged(rows, spec) == (owed == 0, f"{owed} frames"), heard


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
