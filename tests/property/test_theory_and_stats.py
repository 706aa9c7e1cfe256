"""Laws that hold for every input of the theory, the statistics and the records."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import records, stages, stats, theory
from harness.analysis.definitions import QUANTILES
from harness.analysis.metrics import quantile_curves
from harness.analysis.theory import Blocks, GilbertElliott, Independent
from punktfunk.core import StreamConfig, _core

calm = settings(deadline=None)  # the machine's load is not the law's concern

blocks: st.SearchStrategy[Blocks] = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 6)), min_size=1, max_size=3
).map(tuple)
streams = st.lists(blocks, min_size=1, max_size=6)
chances = st.floats(0, 1)
chains = st.builds(GilbertElliott, chances, chances, chances, chances, chances)
losses = st.one_of(st.builds(Independent, chances), chains)
floats = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@calm
@given(
    frame_bytes=st.integers(0, 200_000),
    shard=st.integers(1, 3000),
    block=st.integers(1, 300),
    fec=st.integers(0, 255),
)
def test_geometry_carries_every_byte(frame_bytes: int, shard: int, block: int, fec: int) -> None:
    found = theory.geometry(frame_bytes, shard, block, fec)
    shards = sum(k for k, _ in found)
    assert (shards - 1) * shard < max(1, frame_bytes) <= shards * shard
    assert all(1 <= k <= block for k, _ in found)
    assert all(k == block for k, _ in found[:-1])


HEADER_COUNTS = struct.Struct("<24x5H")
"""block_index, block_count, data and recovery shards, shard_index (punktfunk/1 section 4.4)."""


@calm
@given(
    frame_bytes=st.integers(0, 60_000),
    shard=st.integers(8, 992).map(lambda half: 2 * half),
    block=st.integers(1, 300),
    fec=st.integers(0, 255),
)
def test_what_the_core_sends_has_the_geometry_of_theory(
    frame_bytes: int, shard: int, block: int, fec: int
) -> None:
    config = StreamConfig(shard_bytes=shard, max_block_shards=block, fec_percent=fec, max_frame_bytes=60_000)
    packets = _core.packetize(config, bytes(frame_bytes), 0, 5, 0, 0)
    sent = [HEADER_COUNTS.unpack_from(packet) for packet in packets]
    found = theory.geometry(frame_bytes, shard, block, fec)
    assert tuple(_core.geometry(config, frame_bytes)) == found
    assert sent == [
        (index, len(found), k, m, position) for index, (k, m) in enumerate(found) for position in range(k + m)
    ]


@calm
@given(frames=streams, loss=losses)
def test_every_prediction_is_a_distribution_and_certain_loss_leaves_only_certain_outcomes(
    frames: list[Blocks], loss: theory.Loss
) -> None:
    found = theory.predict(frames, loss)
    assert found.frames == len(frames)
    assert found.pmf.min() >= 0
    assert found.pmf.sum() == pytest.approx(1.0)
    low, high = found.interval()
    assert found.pmf[low : high + 1].sum() >= 0.95 - 1e-9
    assert 0 <= found.p_value(round(found.mean)) <= 1
    assert theory.predict(frames, Independent(0.0)).mean == pytest.approx(len(frames))
    assert theory.predict(frames, Independent(1.0)).mean == pytest.approx(0.0)


@calm
@given(frames=streams, loss=losses)
def test_one_more_recovery_shard_never_hurts(frames: list[Blocks], loss: theory.Loss) -> None:
    # Not a law of bursts in general: an added packet moves all later ones along the chain. So one block at a
    # time.
    k, m = frames[0][0]
    fewer = theory.predict([((k, m),)], loss).mean
    if isinstance(loss, Independent):
        assert theory.predict([((k, m + 1),)], loss).mean >= fewer - 1e-12


@calm
@given(frames=streams, chain=chains)
def test_the_chain_forgets_nothing_between_blocks(frames: list[Blocks], chain: GilbertElliott) -> None:
    """A frame without recovery survives when its packets all do, however it is cut into blocks."""
    packets = sum(k for frame in frames for k, _ in frame)
    cut = tuple((k, 0) for frame in frames for k, _ in frame)
    assert theory.predict([cut], chain).mean == pytest.approx(theory.predict([((packets, 0),)], chain).mean)


@calm
@given(packets=st.integers(0, 60), chain=chains)
def test_moments_of_loss_are_those_of_some_count(packets: int, chain: GilbertElliott) -> None:
    mean, variance = theory.loss_moments(packets, chain)
    assert -1e-9 <= mean <= packets + 1e-9
    assert -1e-9 <= variance <= packets * packets / 4 + 1e-6


@calm
@given(values=floats, q=st.floats(0.001, 1))
def test_a_percentile_is_an_observed_value_with_its_share_of_the_sample_at_or_below(
    values: list[float], q: float
) -> None:
    found = stats.percentile(values, q)
    if found is not None:
        assert found in values
        assert sum(v <= found for v in values) >= q * len(values) - 1e-6
        interval = stats.percentile_interval(values, q)
        assert interval is None or min(values) <= interval[0] <= interval[1] <= max(values)


@calm
@given(p_values=st.lists(st.floats(0, 1), max_size=40))
def test_holm_only_raises_p_values_keeps_their_order_and_rejects_what_bonferroni_rejects(
    p_values: list[float],
) -> None:
    adjusted = stats.holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= 1
        assert q <= min(1.0, p * len(p_values)) + 1e-12
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert all(adjusted[a] <= adjusted[b] for a, b in itertools.pairwise(order))


@calm
@given(successes=st.integers(0, 50), more=st.integers(0, 50))
def test_wilson_intervals_hold_the_share_and_stay_within_0_and_1(successes: int, more: int) -> None:
    interval = stats.wilson(successes, successes + more)
    if interval is not None:
        assert 0 <= interval[0] <= successes / (successes + more) <= interval[1] <= 1


# With ties the rank test goes through all 2^n signs for up to 13 values, a second for each of 13: none of 9 to 13.
ratios_of_pairs = st.one_of(
    st.lists(st.floats(0.5, 2), min_size=1, max_size=8), st.lists(st.floats(0.5, 2), min_size=14, max_size=40)
)


@settings(calm, max_examples=30)
@given(ratios=ratios_of_pairs, scale=st.floats(0.01, 100))
def test_a_comparison_knows_no_units_and_is_antisymmetric(ratios: list[float], scale: float) -> None:
    (found,) = stats.judge({"x": [(scale, scale * r) for r in ratios]})
    (plain,) = stats.judge({"x": [(1.0, r) for r in ratios]})
    (swapped,) = stats.judge({"x": [(r, 1.0) for r in ratios]})
    assert found.ratio == pytest.approx(plain.ratio)
    assert swapped.ratio == pytest.approx(1 / plain.ratio)
    mirror = {
        stats.Verdict.REGRESSION: stats.Verdict.IMPROVEMENT,
        stats.Verdict.IMPROVEMENT: stats.Verdict.REGRESSION,
    }
    assert swapped.verdict is mirror.get(plain.verdict, plain.verdict)


stamps = st.lists(
    st.one_of(st.just(-1), st.integers(0, 10**12)), min_size=len(records.STAMPS), max_size=len(records.STAMPS)
)


@calm
@given(rows=st.lists(stamps, max_size=12))
def test_no_combination_of_missing_stamps_gives_a_duration_that_was_not_measured(
    rows: list[list[int]],
) -> None:
    table = records.empty(len(rows))
    table["index"] = np.arange(len(rows))
    table["decodable"][:] = 1
    for n, row in enumerate(rows):
        for name, value in zip(records.STAMPS, row, strict=True):
            table[name][n] = value
    for span in stages.SPANS:
        both = sum(
            row[records.STAMPS.index(span.begin)] >= 0 and row[records.STAMPS.index(span.end)] >= 0
            for row in rows
        )
        found = stages.durations_ms(table, span)
        assert found.size <= both if span.name == "reassembly" else found.size == both
    for curve in quantile_curves(table).values():
        assert len(curve) == len(QUANTILES)
        assert curve == sorted(curve)
    parts = stages.split(table)
    assert len({part.size for part in parts.values()}) <= 1
