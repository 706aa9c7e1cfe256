"""How a session ended, told apart, and what is said of loss then: what nobody knows is unknown and never 0."""

from __future__ import annotations

import json

import pytest

from punktfunk.client import commands, json_lines, messages
from punktfunk.client.config import ClientConfig
from punktfunk.client.ending import LOSS_COUNTERS, Counts, End, Hearing, silence_ns
from punktfunk.client.link_end import end_of
from punktfunk.client.summary import Summary
from punktfunk.clock import monotonic_ns
from punktfunk.native.dialect import CloseCode
from punktfunk.native.quic import Closed, PeerLoss

S = 1_000_000_000
FULL = {
    **dict.fromkeys(LOSS_COUNTERS, 0),
    "packets_lost": 7,
    "frames_unrecoverable": 2,
    "frames_expired": 1,
    "frames_complete": 50,
    "frames_released": 50,
    "pictures": 49,
    "recovery_requests": 3,
    "data_shards_recovered": 4,
}


def closed(
    code: int, *, by_peer: bool = True, application: bool = True, loss: PeerLoss | None = None
) -> Closed:
    return Closed(code, "said", application, by_peer, loss)


@pytest.mark.parametrize(
    ("ended", "end"),
    [
        (closed(CloseCode.DONE), End.CLOSED),
        (closed(CloseCode.SUPERSEDED), End.CLOSED),
        (closed(CloseCode.ERROR), End.HOST_FAILED),
        (closed(0, application=False), End.CLOSED),
        (closed(0xA, application=False), End.HOST_FAILED),
        (closed(1, by_peer=False, application=False, loss=PeerLoss.SILENT), End.HOST_SILENT),
        (closed(1, by_peer=False, application=False, loss=PeerLoss.REFUSED), End.HOST_GONE),
        (closed(1, by_peer=False, application=False), End.FAILED),
    ],
)
def test_a_host_that_closes_is_told_from_one_that_is_gone_and_one_that_fell_silent(
    ended: Closed, end: End
) -> None:
    found, reason, hint = end_of(ended)
    assert found is end
    assert reason
    assert bool(hint) == found.failed


def test_only_ends_in_order_are_no_failure() -> None:
    assert {end for end in End if not end.failed} == {End.VERIFIED, End.CLOSED, End.STOPPED}


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("silent_ns", [0, S - 1, S, 5 * S - 1, 5 * S])
def test_loss_is_known_where_the_end_was_heard_and_packets_came_until_then(end: End, silent_ns: int) -> None:
    """A host that closes writes its records first, so that some seconds before its close are no silence."""
    allowed = {End.CLOSED: 5 * S, End.HOST_FAILED: 5 * S, End.STOPPED: S, End.VERIFIED: 99 * S}.get(end, 0)
    assert Hearing(5, silent_ns, S).knows_loss(end) == (silent_ns < allowed)


def test_silence_is_a_second_or_three_frames() -> None:
    assert [silence_ns(hz) for hz in (0, 1, 2, 3, 4, 60)] == [3 * S, 3 * S, 3 * S // 2, S, S, S]


def test_the_time_of_the_last_packet_is_told_of_hosts_that_were_lost_and_of_streams_that_stood_still() -> (
    None
):
    told = {end for end in End if Hearing(5, 0, S).tells_of(end)}
    assert told == {End.HOST_GONE, End.HOST_SILENT, End.STREAM_SILENT}
    assert Hearing(5, S, S).tells_of(End.STOPPED)
    assert not Hearing(5, S, S).tells_of(End.CLOSED)


def test_the_last_packet_is_told_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        sentence = Hearing(10 * S, 8_250_000_000, S).sentence((12 * 3600 + 34 * 60 + 46) * S)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert sentence == "the last packet came at 12:34:56, 8.2 s before the end"
    assert Hearing(None, 6 * S, S).sentence(0) == "no packet of the stream came in 6.0 s"


def test_every_counter_that_says_what_is_missing_is_unknown_with_the_rest() -> None:
    assert set(LOSS_COUNTERS) == {
        "packets_lost",
        "frames_unrecoverable",
        "frames_unseen",
        "frames_expired",
        "data_shards_missing",
        "data_shards_unrecoverable",
    }


def test_unknown_loss_is_in_no_counter_and_kept_as_a_lower_bound() -> None:
    counts = Counts.of(FULL, loss_known=False)
    assert not set(LOSS_COUNTERS) & set(counts.counters)
    assert counts.at_least == {name: FULL[name] for name in LOSS_COUNTERS}
    assert (counts.packets_lost, counts.frames_lost) == (None, None)
    assert counts.loss_words() == "packets lost unknown (at least 7), frames lost unknown (at least 3)"
    nothing_seen = Counts.of({**FULL, **dict.fromkeys(LOSS_COUNTERS, 0)}, loss_known=False)
    assert nothing_seen.loss_words() == "packets lost unknown, frames lost unknown"
    known = Counts.of(FULL, loss_known=True)
    assert (known.packets_lost, known.frames_lost, known.at_least) == (7, 3, {})
    assert known.loss_words() == "packets lost 7, frames lost 3"


def test_of_a_worker_that_left_no_figures_nothing_is_claimed() -> None:
    summary = Summary("receive worker killed by signal 9", end=End.FAILED, failed=True)
    assert (summary.packets_lost, summary.frames_lost, summary.last_packet_ns) == (None, None, None)
    line = commands._summary_line(summary)
    assert "received unknown frames, decoded unknown, packets lost unknown, frames lost unknown" in line


def test_frames_that_were_announced_are_known_to_be_lost_whatever_was_heard() -> None:
    counts = Counts.of(FULL, loss_known=False)
    summary = Summary("silence", counts.counters, 60, at_least=counts.at_least, end=End.STREAM_SILENT)
    assert (summary.packets_lost, summary.frames_lost) == (None, 10)


def test_json_says_null_where_loss_is_unknown_and_the_exit_status_that_the_session_failed() -> None:
    counts = Counts.of(FULL, loss_known=False)
    summary = Summary(
        "the host fell silent",
        counts.counters,
        failed=True,
        end=End.HOST_SILENT,
        at_least=counts.at_least,
        last_packet_ns=5,
        silent_ns=8 * S,
    )
    line = json.loads(json.dumps(json_lines.summary_line(summary)))
    assert (line["end"], line["failed"], line["silent_ns"]) == ("host silent", True, 8 * S)
    assert (line["packets_lost"], line["frames_lost"]) == (None, None)
    assert "packets_lost" not in line["counters"]
    assert line["at_least"]["packets_lost"] == 7
    assert json_lines.exit_status(summary) == 1
    assert json_lines.exit_status(Summary("host: the session ended", FULL, end=End.CLOSED)) == 0


def test_a_second_without_a_packet_claims_no_loss_of_0() -> None:
    quiet = {**FULL, **dict.fromkeys(LOSS_COUNTERS, 0)}

    def line(last_packet_ns: int | None) -> str:
        return commands._second_line(messages.Progress(quiet, 0, 0, None, last_packet_ns), S)

    assert "latency unknown  packets lost 0, frames lost 0" in line(monotonic_ns())
    assert "nothing came for 3." in line(monotonic_ns() - 3 * S)
    for last in (None, monotonic_ns() - 3 * S):
        assert "packets lost unknown, frames lost unknown" in line(last)


def test_a_latency_below_what_the_clocks_can_tell_is_an_upper_limit() -> None:
    def line(latency_us: list[int], error_us: int) -> str:
        progress = messages.Progress(FULL, 60, 0, latency_us, monotonic_ns(), error_us)
        return commands._second_line(progress, S)

    assert "latency p50 0.00 ms p95 1.25 ms max 30.00 ms  packets" in line([0, 1250, 30_000], 900)
    assert "latency p50 <0.50 ms p95 <0.90 ms max 0.02 ms  packets" in line([-410, -10, 20], 910)
    assert "latency p50 <0.00 ms p95 0.01 ms" in line([-900, 10, 20], 900)
    assert "latency p50 unknown p95 0.01 ms" in line([-901, 10, 20], 900)


@pytest.mark.parametrize("text", ["499 ms", "601 s"])
def test_an_idle_time_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="idle time"):
        ClientConfig(idle_timeout=text)  # type: ignore[arg-type]
    assert ClientConfig(idle_timeout="500 ms").idle_timeout is not None  # type: ignore[arg-type]
    assert ClientConfig(idle_timeout="10 min").idle_timeout is not None  # type: ignore[arg-type]
