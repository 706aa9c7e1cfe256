"""What a probe makes of its records: loss and its pattern, frames that FEC saves, and the sentences."""

from __future__ import annotations

import asyncio
import math
import random
from math import comb
from typing import Any

import numpy as np
import pytest

from punktfunk.client.config import ClientConfig
from punktfunk.client.path_figures import (
    MAX_PATTERN_PACKETS,
    Burst,
    BurstFigures,
    LossPattern,
    carried_kbps,
    figures,
    frame_loss,
    loss_pattern,
)
from punktfunk.client.probe import PathProbe
from punktfunk.client.verdict import (
    BEARABLE_FRAME_LOSS,
    FEC_CHOICES,
    PathShape,
    Verdict,
    choose_fec,
    held_back,
    judge,
    rate,
    saturated,
)
from punktfunk.core._core import FLAG_PROBE
from punktfunk.native.messages import ProbeResult
from punktfunk.units import Bitrate

SHAPE = PathShape(packet_bytes=1500, shard_bytes=1408)
MS = 1_000_000


def burst_figures(**changes: object) -> BurstFigures:
    values = {
        "target_kbps": 30_000,
        "offered_kbps": 32_000,
        "delivered_kbps": 32_000,
        "packets_sent": 5000,
        "packets_received": 5000,
        "packets_reordered": 0,
        "kernel_dropped": 0,
        "send_drops": 0,
        "delay_ms": (0.1, 0.4, 0.9),
    }
    return BurstFigures(**{**values, **changes})  # type: ignore[arg-type]


def single_packets(lost: set[int], count: int = 1000, interval_ns: int = MS) -> dict[str, np.ndarray]:
    """Records of filler of one packet each; what is lost left a row that knows nothing."""
    came = np.array([at not in lost for at in range(count)])
    at = np.arange(count) * interval_ns + 5 * MS
    columns = {
        "pts_ns": np.where(came, at - 5 * MS, -1),
        "flags": np.where(came, FLAG_PROBE, -1),
        "k": np.where(came, 1, -1),
        "m": np.where(came, 0, -1),
        "packets_received": came.astype(np.int64),
        "recv_first_ns": np.where(came, at, -1),
        "recv_last_ns": np.where(came, at, -1),
    }
    return {name: column.astype(np.int64) for name, column in columns.items()}


@pytest.mark.parametrize(("packets", "spare", "share"), [(60, 10, 0.05), (12, 2, 0.2), (5, 0, 0.01)])
def test_frame_loss_under_independent_loss_is_the_binomial_tail(
    packets: int, spare: int, share: float
) -> None:
    tail = sum(
        comb(packets, lost) * share**lost * (1 - share) ** (packets - lost)
        for lost in range(spare + 1, packets + 1)
    )
    assert frame_loss(packets, spare, share, 1 / (1 - share)) == pytest.approx(tail, rel=1e-9)


def test_frame_loss_in_bursts_is_what_a_drawn_chain_loses() -> None:
    seed, share, mean_run, packets, spare = 20_261_122, 0.02, 6.0, 50, 8
    rng = random.Random(seed)
    leave = 1 / mean_run
    enter = leave * share / (1 - share)
    frames, beyond = 40_000, 0
    bad = False
    for _ in range(frames):
        lost = 0
        for _ in range(packets):
            lost += bad
            bad = rng.random() < (1 - leave if bad else enter)
        beyond += lost > spare
    expected = frame_loss(packets, spare, share, mean_run)
    assert 0.005 < expected < 0.5
    # Frames follow one another, so that their losses are a little dependent: five deviations and a half more.
    assert abs(beyond / frames - expected) < 7.5 * (expected / frames) ** 0.5, f"seed {seed}"


def test_runs_of_lost_packets_are_seen_as_bursts_and_single_ones_are_not() -> None:
    burst = [Burst(1408 * 8, 0, ProbeResult(0, 1000, 1000, 1000, 0))]
    runs = {at + step for at in range(50, 1000, 100) for step in range(6)}
    pattern = loss_pattern(single_packets(runs), burst, 0)
    assert (pattern.packets, pattern.lost, pattern.runs, pattern.longest) == (1000, 60, 10, 6)
    assert pattern.bursty
    scattered = loss_pattern(single_packets(set(range(7, 1000, 17))), burst, 0)
    assert (scattered.lost, scattered.longest) == (59, 1)
    assert not scattered.bursty


def test_rate_of_arrival_and_loss_come_from_the_records_of_the_burst_and_not_from_video_before_it() -> None:
    records = single_packets({10, 11, 12, 500})
    video = single_packets(set(), 20)
    video = {name: column.copy() for name, column in video.items()}
    video["flags"][:] = 5
    video["recv_first_ns"] -= 10**12
    video["recv_last_ns"] -= 10**12
    joined = {name: np.concatenate((video[name], records[name])) for name in records}
    [found] = figures(joined, [Burst(11_264, 0, ProbeResult(0, 1000, 1000, 1000, 0))], packet_bytes=1500)
    assert (found.packets_sent, found.packets_received) == (1000, 996)
    assert found.loss == pytest.approx(0.004)
    assert found.delivered_kbps == pytest.approx(12_000, rel=0.01)
    assert found.delay_ms is not None
    assert found.delay_ms[2] == pytest.approx(0)


def test_a_burst_that_queues_or_loses_has_met_the_capacity_and_one_with_steady_loss_has_not() -> None:
    assert not saturated(burst_figures(), 0)
    assert saturated(burst_figures(delivered_kbps=20_000), 0)
    assert saturated(burst_figures(delay_ms=(5.0, 60.0, 80.0)), 0)
    assert saturated(burst_figures(packets_received=4000), 0)
    assert not saturated(burst_figures(packets_received=4000, delivered_kbps=25_600), 0.2)


def test_each_rule_of_saturation_decides_alone_and_at_its_limit() -> None:
    # Loss: 4 % beyond the path's own. What came, came at full rate and at once.
    assert not saturated(burst_figures(packets_received=4800), 0)
    assert saturated(burst_figures(packets_received=4799), 0)
    # Rate: 93 % of what was offered and not lost anyway.
    assert not saturated(burst_figures(offered_kbps=10_000, delivered_kbps=9_300), 0)
    assert saturated(burst_figures(offered_kbps=10_000, delivered_kbps=9_299), 0)
    assert not saturated(burst_figures(offered_kbps=10_000, delivered_kbps=7_440), 0.2)
    assert saturated(burst_figures(offered_kbps=10_000, delivered_kbps=7_439), 0.2)
    # Queue: 20 ms in the middle of the burst, and growing by as much again.
    assert not saturated(burst_figures(delay_ms=(10.0, 20.1, 30.0)), 0)
    assert not saturated(burst_figures(delay_ms=(9.0, 20.0, 30.0)), 0)
    assert saturated(burst_figures(delay_ms=(9.0, 20.1, 29.1)), 0)


def test_a_burst_of_which_nothing_came_is_saturated_even_where_all_loss_is_the_paths_own() -> None:
    # Loss of 100 % is asked for, so that neither loss nor rate can answer first.
    nothing = burst_figures(packets_received=0, delivered_kbps=0, delay_ms=None)
    assert saturated(nothing, 1.0)
    # Packets came, but none whose delay is known: that alone says nothing of a queue.
    assert not saturated(burst_figures(delay_ms=None), 0)


def test_a_host_holds_back_when_it_sends_less_than_85_percent_of_what_was_asked_for() -> None:
    assert not held_back(burst_figures(offered_kbps=850), 1000)
    assert held_back(burst_figures(offered_kbps=849), 1000)


def test_a_clean_path_gets_little_fec_and_four_fifths_of_its_capacity() -> None:
    clean = LossPattern(1000, 0, 0, 0)
    verdict = judge(
        SHAPE,
        capacity_kbps=100_000,
        limited_by="path",
        hold=burst_figures(),
        pattern=clean,
        bursts=[burst_figures(delay_ms=(10.0, 40.0, 42.0))],
    )
    assert (verdict.fec_percent, verdict.bitrate_kbps) == (5, 71_000)
    assert verdict.sentences[0] == (
        "this path carries 71 Mbit/s of video with 5 % FEC; recommended: --bitrate '71 Mbit/s' --fec 5"
    )
    assert "no loss in 6000 packets below capacity" in verdict.sentences
    assert "packets arrive in the order they were sent in" in verdict.sentences
    assert any("adds up to 42 ms" in sentence for sentence in verdict.sentences)


def test_loss_in_bursts_takes_more_fec_than_as_much_scattered_loss() -> None:
    def fec(pattern: LossPattern) -> int:
        return judge(
            SHAPE, capacity_kbps=40_000, limited_by="path", hold=burst_figures(), pattern=pattern, bursts=[]
        ).fec_percent

    assert fec(LossPattern(10_000, 200, 200, 1)) < fec(LossPattern(10_000, 200, 40, 12))


def test_a_path_that_no_fec_saves_is_told_to_freeze() -> None:
    hold = burst_figures(packets_received=3500, packets_reordered=70)
    verdict = judge(
        SHAPE,
        capacity_kbps=40_000,
        limited_by="host",
        hold=hold,
        pattern=LossPattern(10_000, 3000, 300, 40),
        bursts=[],
    )
    assert verdict.fec_percent == 50
    assert any("expect freezes" in sentence for sentence in verdict.sentences)
    assert any(sentence.startswith("the path reorders 2 %") for sentence in verdict.sentences)
    assert any("loss in bursts: 30 % of the packets, 10.0 in a row" in s for s in verdict.sentences)
    assert any("the host could not send more" in sentence for sentence in verdict.sentences)


def verdict_of(**changes: Any) -> Verdict:
    given = {
        "capacity_kbps": 40_000,
        "limited_by": "path",
        "hold": burst_figures(),
        "pattern": LossPattern(1000, 0, 0, 0),
        "bursts": [],
        **changes,
    }
    return judge(SHAPE, **given)


def test_loss_is_the_larger_of_what_the_hold_and_the_single_packets_showed() -> None:
    lossy_hold = verdict_of(hold=burst_figures(packets_received=4800))
    assert lossy_hold.loss == pytest.approx(0.04)
    assert "scattered loss: 4 % of the packets, at most 0 in a row" in lossy_hold.sentences
    lossy_singles = verdict_of(
        hold=burst_figures(packets_received=4950), pattern=LossPattern(1000, 30, 30, 1)
    )
    assert lossy_singles.loss == pytest.approx(0.03)
    assert "no loss in 6000 packets below capacity" in verdict_of().sentences
    assert not any("no loss" in sentence for sentence in lossy_hold.sentences)


def test_loss_of_the_hold_is_the_loss_that_saturation_is_judged_against() -> None:
    burst = burst_figures(packets_received=4300, delivered_kbps=27_500, delay_ms=(0.0, 30.0, 77.0))
    # 14 % lost against none below capacity: the path was full, and so was its queue.
    assert verdict_of(bursts=[burst]).queue_ms == 77.0
    only_lossy = burst_figures(packets_received=4300, delivered_kbps=27_500, delay_ms=(60.0, 70.0, 77.0))
    assert verdict_of(bursts=[only_lossy]).queue_ms == 77.0
    # The same, where 12 % are lost below capacity as well: then it says nothing of a queue.
    assert verdict_of(bursts=[only_lossy], hold=burst_figures(packets_received=4400)).queue_ms is None


def test_a_queue_is_claimed_only_of_a_path_that_was_full_and_only_what_full_bursts_showed() -> None:
    full = burst_figures(delay_ms=(1.0, 40.0, 42.0))
    fuller = burst_figures(delay_ms=(1.0, 50.0, 58.0))
    never_full = burst_figures(delay_ms=(90.0, 91.0, 92.0))
    nothing = burst_figures(packets_received=0, delay_ms=None)
    assert verdict_of(bursts=[full, fuller, never_full, nothing]).queue_ms == 58.0
    assert verdict_of(bursts=[never_full, nothing]).queue_ms is None
    for limit in ("host", "client", "limit"):
        claimed = verdict_of(bursts=[full], limited_by=limit)
        assert claimed.queue_ms is None
        assert not any("queue" in sentence for sentence in claimed.sentences)
    told = "its queue adds up to 58 ms when it is full: stay below the capacity"
    assert told in verdict_of(bursts=[fuller]).sentences
    short = burst_figures(packets_received=4000, delay_ms=(1.0, 2.0, 20.0))
    assert verdict_of(bursts=[short]).queue_ms == 20.0
    assert not any("queue" in sentence for sentence in verdict_of(bursts=[short]).sentences)


@pytest.mark.parametrize(
    ("limited_by", "sentence"),
    [
        ("path", "capacity 40 Mbit/s of IP packets"),
        ("host", "capacity at least 40 Mbit/s: the host could not send more than that"),
        ("client", "capacity at least 40 Mbit/s: this machine dropped packets on receipt beyond it"),
        ("limit", "capacity at least 40 Mbit/s: nothing beyond was tried (--limit)"),
    ],
)
def test_what_limited_the_rate_is_told_and_only_a_path_has_a_capacity(limited_by: str, sentence: str) -> None:
    assert verdict_of(limited_by=limited_by).sentences[1] == sentence


@pytest.mark.parametrize(
    ("capacity_kbps", "bitrate_kbps"),
    # Four fifths, less headers (1408 of 1500 bytes) and 5 % of recovery, two digits of it, 500 at least.
    [(100_000, 71_000), (10_000, 7100), (1_234_567, 880_000), (700, 500), (100, 500)],
)
def test_the_recommended_rate_is_payload_of_four_fifths_of_the_capacity(
    capacity_kbps: int, bitrate_kbps: int
) -> None:
    verdict = verdict_of(capacity_kbps=capacity_kbps)
    assert (verdict.fec_percent, verdict.bitrate_kbps) == (5, bitrate_kbps)


@pytest.mark.parametrize("fps", [30, 60, 120])
@pytest.mark.parametrize("wire_kbps", [2000, 20_000, 200_000])
@pytest.mark.parametrize("share", [0.002, 0.02, 0.06])
def test_fec_is_the_least_that_a_frame_of_that_rate_and_loss_wants(
    fps: int, wire_kbps: int, share: float
) -> None:
    """By the binomial tail over the packets of a frame, worked out from bytes a second here."""
    shape = PathShape(packet_bytes=1500, shard_bytes=1408, fps=fps)
    pattern = LossPattern(100_000, round(100_000 * share), round(100_000 * share * (1 - share)), 2)

    def left(percent: int) -> float:
        payload_bytes_a_second = wire_kbps * 1000 / 8 * 1408 / 1500 / (1 + percent / 100)
        shards = max(1, math.ceil(int(payload_bytes_a_second * 8 / 1000) * 1000 / 8 / fps / 1408))
        spare = math.ceil(shards * percent / 100)
        packets = shards + spare
        return 1 - sum(
            comb(packets, lost) * share**lost * (1 - share) ** (packets - lost) for lost in range(spare + 1)
        )

    percent, remaining = choose_fec(pattern, shape, wire_kbps)
    assert remaining == pytest.approx(left(percent), rel=1e-3, abs=1e-9)
    assert remaining <= 1e-3 or percent == FEC_CHOICES[-1]
    weaker = [choice for choice in FEC_CHOICES if choice < percent]
    assert all(left(choice) > 1e-3 for choice in weaker)


def test_fec_is_chosen_for_the_rate_that_is_used_and_not_for_the_capacity() -> None:
    pattern = LossPattern(100_000, 2000, 1960, 2)
    chosen = {
        capacity: (
            verdict_of(capacity_kbps=capacity, pattern=pattern).fec_percent,
            choose_fec(pattern, SHAPE, round(capacity * 0.8))[0],
            choose_fec(pattern, SHAPE, capacity)[0],
        )
        for capacity in range(1000, 40_000, 500)
    }
    assert all(told == used for told, used, _ in chosen.values())
    assert any(used != other for _, used, other in chosen.values()), "else this says nothing"


def test_reordering_is_a_share_of_what_came() -> None:
    hold = burst_figures(packets_received=2500, packets_reordered=50)
    assert verdict_of(hold=hold).reordered == pytest.approx(0.02)
    assert verdict_of(hold=burst_figures(packets_received=0, delay_ms=None)).reordered == 0
    assert verdict_of(hold=burst_figures(packets_received=0, delay_ms=None)).delay_p50_ms is None
    varied = verdict_of(hold=burst_figures(delay_ms=(1.5, 2.5, 9.5)))
    assert (varied.delay_p50_ms, varied.delay_p99_ms) == (1.5, 2.5)


def test_frames_are_told_to_be_lost_from_one_in_a_thousand_on() -> None:
    bearable = verdict_of(pattern=LossPattern(100_000, 100, 100, 1))
    assert bearable.frame_loss <= BEARABLE_FRAME_LOSS
    assert not any("freezes" in sentence for sentence in bearable.sentences)


def test_rates_are_of_whole_packets_and_of_the_time_that_the_host_took() -> None:
    burst = [Burst(11_264, 0, ProbeResult(1_408_000, 1000, 2000, 1000, 7), reordered=3, kernel_dropped=2)]
    [found] = figures(single_packets(set()), burst, packet_bytes=1500)
    assert found.offered_kbps == 1000 * 1500 * 8 // 2000
    assert (found.packets_sent, found.packets_received, found.send_drops) == (1000, 1000, 7)
    assert (found.packets_reordered, found.kernel_dropped) == (3, 2)
    few = single_packets(set(), 9)
    [rough] = figures(few, [Burst(100, 0, ProbeResult(0, 9, 1000, 9, 0))], packet_bytes=1500)
    assert rough.delivered_kbps == 9 * 1500 * 8 // 1000, "too few to see when they came"


@pytest.mark.parametrize(
    ("kbps", "text"),
    [
        (500, "500 kbit/s"),
        (999.4, "999 kbit/s"),
        (999.5, "1 Mbit/s"),
        (71_000, "71 Mbit/s"),
        (999_499, "999 Mbit/s"),
        (999_500, "1 Gbit/s"),
        (999_900, "1 Gbit/s"),
    ],
)
def test_rates_are_written_as_flags_take_them(kbps: float, text: str) -> None:
    assert rate(kbps) == text


def test_a_path_that_loses_most_of_every_burst_still_has_a_capacity() -> None:
    # Loss that does not grow with the rate is the path's own: the ramp goes on to its limit.
    ramp = [burst_figures(delivered_kbps=rate, packets_received=2000) for rate in (4000, 8000)]
    probe = PathProbe(ClientConfig(address="127.0.0.1"), limit=Bitrate.parse("10 Mbit/s"))
    unused: Any = None
    assert asyncio.run(probe._capacity(unused, unused, ramp, "limit")) == 8000
    assert carried_kbps([*ramp, burst_figures(delivered_kbps=3000)]) == 3000


def test_a_host_that_claims_shards_without_end_makes_no_heap_of_a_pattern() -> None:
    records = single_packets({3}, count=200)
    records["k"][50:] = 65_535
    burst = Burst(1000, 0, ProbeResult(1, 200, 200, 200, 0))
    pattern = loss_pattern(records, [burst], 0)
    assert 50 + 15 * 65_535 <= pattern.packets <= MAX_PATTERN_PACKETS
    assert pattern.lost == 1 + (pattern.packets - 50) // 65_535 * 65_534
