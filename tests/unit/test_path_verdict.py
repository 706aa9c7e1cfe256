"""What a probe makes of its records: loss and its pattern, frames that FEC saves, and the sentences."""

from __future__ import annotations

import asyncio
import random
from math import comb
from typing import Any

import numpy as np
import pytest

from punktfunk.client.config import ClientConfig
from punktfunk.client.path import (
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
from punktfunk.client.verdict import PathShape, judge, rate, saturated
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


@pytest.mark.parametrize(
    ("kbps", "text"), [(500, "500 kbit/s"), (999_900, "1 Gbit/s"), (71_000, "71 Mbit/s"), (999.8, "1 Mbit/s")]
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
