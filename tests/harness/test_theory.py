"""The theory is held against enumeration, simulation and published special cases, never against itself."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable

import numpy as np
import pytest

from harness.analysis import theory
from harness.analysis.theory import Blocks, GilbertElliott, Independent, Periodic
from punktfunk.errors import UsageError

CHAIN = GilbertElliott(p=0.2, r=0.4, bad=0.9, good=0.05, first_bad=0.3)


def enumerate_complete(frames: list[Blocks], chain: GilbertElliott) -> np.ndarray:
    """Sum over every path of states and every pattern of losses: slow, and plainly the definition."""
    packets = sum(k + m for blocks in frames for k, m in blocks)
    pmf = np.zeros(len(frames) + 1)
    loss = (chain.good, chain.bad)
    for states in itertools.product((0, 1), repeat=packets):
        weight = chain.start[states[0]]
        for a, b in itertools.pairwise(states):
            weight *= chain.step[a, b]
        for pattern in itertools.product((0, 1), repeat=packets):
            probability = weight
            for state, lost in zip(states, pattern, strict=True):
                probability *= loss[state] if lost else 1 - loss[state]
            position, complete = 0, 0
            for blocks in frames:
                saved = True
                for k, m in blocks:
                    saved &= sum(pattern[position : position + k + m]) <= m
                    position += k + m
                complete += saved
            pmf[complete] += probability
    return pmf


def test_geometry_follows_the_worked_examples_of_the_wire_description() -> None:
    worked = {0: (1, 1), 1: (1, 1), 1200: (1, 1), 1201: (2, 1), 65536: (55, 11), 4915200: (4096, 820)}
    for size, block in worked.items():
        assert theory.geometry(size, 1200, 4096, 20) == (block,)
    assert theory.geometry(4915201, 1200, 4096, 20) == ((4096, 820), (1, 1))
    assert theory.geometry(10_000_000, 1200, 4096, 20) == ((4096, 820), (4096, 820), (142, 29))
    assert theory.geometry(65536, 1452, 4096, 10) == ((46, 5),)
    assert theory.geometry(100_000, 1024, 64, 25) == ((64, 16), (34, 9))
    assert theory.geometry(5000, 1200, 64, 0) == ((5, 0),)


def test_a_block_without_recovery_survives_only_when_nothing_is_lost() -> None:
    assert theory.block_survival(10, 0, 0.1) == pytest.approx(0.9**10)
    assert theory.block_survival(3, 2, 0.0) == 1.0
    assert theory.block_survival(3, 2, 1.0) == 0.0


def test_independent_loss_equals_enumeration_over_frames_of_unequal_size() -> None:
    frames: list[Blocks] = [((2, 1),), ((1, 0), (1, 1)), ((3, 1),)]
    p = 0.23
    survival = []
    for blocks in frames:
        packets = sum(k + m for k, m in blocks)
        good = 0.0
        for pattern in itertools.product((0, 1), repeat=packets):
            position, saved = 0, True
            for k, m in blocks:
                saved &= sum(pattern[position : position + k + m]) <= m
                position += k + m
            if saved:
                good += p ** sum(pattern) * (1 - p) ** (packets - sum(pattern))
        survival.append(good)
    expected = np.zeros(len(frames) + 1)
    for outcome in itertools.product((0, 1), repeat=len(frames)):
        expected[sum(outcome)] += math.prod(s if o else 1 - s for s, o in zip(survival, outcome, strict=True))
    np.testing.assert_allclose(theory.predict(frames, Independent(p)).pmf, expected, atol=1e-14)


@pytest.mark.parametrize(
    "frames",
    [[((2, 1),)], [((1, 0), (1, 1))], [((2, 1),), ((1, 1),)], [((1, 0),), ((1, 1),), ((2, 0),)]],
)
def test_the_gilbert_elliott_chain_equals_enumeration_within_and_across_frames(frames: list[Blocks]) -> None:
    np.testing.assert_allclose(
        theory.predict(frames, CHAIN).pmf, enumerate_complete(frames, CHAIN), atol=1e-13
    )


def test_a_chain_whose_states_lose_alike_is_independent_loss() -> None:
    frames = [theory.geometry(size, 1024, 64, 20) for size in (3000, 90_000, 12_345, 100_000)]
    chain = GilbertElliott(p=0.03, r=0.2, bad=0.07, good=0.07)
    np.testing.assert_allclose(
        theory.predict(frames, chain).pmf, theory.predict(frames, Independent(0.07)).pmf, atol=1e-12
    )


def test_bursts_correlate_frames_so_the_variance_exceeds_the_binomial_one() -> None:
    blocks = theory.geometry(20_000, 1200, 64, 20)
    prediction = theory.predict([blocks] * 100, theory.bursty(0.05, 60))
    binomial = prediction.frames * prediction.rate * (1 - prediction.rate)
    assert prediction.variance > 2 * binomial


@pytest.mark.parametrize("seed", [1, 2])
def test_the_chain_agrees_with_monte_carlo_over_many_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [theory.geometry(size, 1200, 16, 20) for size in (25_000, 9_000, 40_000)] * 8
    chain = theory.bursty(0.06, 5)
    streams, packets = 4000, sum(k + m for blocks in frames for k, m in blocks)
    state = rng.random(streams) < chain.stationary_bad
    lost = np.empty((packets, streams), dtype=bool)
    for n in range(packets):
        lost[n] = state
        draw = rng.random(streams)
        state = np.where(state, draw >= chain.r, draw < chain.p)
    position, complete = 0, np.zeros(streams, dtype=int)
    for blocks in frames:
        saved = np.ones(streams, dtype=bool)
        for k, m in blocks:
            saved &= lost[position : position + k + m].sum(axis=0) <= m
            position += k + m
        complete += saved
    prediction = theory.predict(frames, chain)
    assert prediction.times(streams).p_value(int(complete.sum())) > 1e-4
    assert complete.var() == pytest.approx(prediction.variance, rel=0.15)


def test_the_sum_over_streams_has_the_moments_of_a_sum() -> None:
    a = theory.predict([((10, 2),)] * 7, theory.bursty(0.1, 4))
    b = theory.predict([((5, 1),)] * 3, Independent(0.1))
    both = theory.total([a, b, a])
    assert both.frames == 17
    assert both.mean == pytest.approx(2 * a.mean + b.mean)
    assert both.variance == pytest.approx(2 * a.variance + b.variance)
    np.testing.assert_allclose(theory.total([a, b]).pmf, np.convolve(a.pmf, b.pmf), atol=1e-14)


def test_the_p_value_is_that_of_the_exact_binomial_test_for_equal_frames() -> None:
    from scipy import stats

    prediction = theory.predict([((10, 2),)] * 200, Independent(0.12))
    probability = theory.block_survival(10, 2, 0.12)
    for complete in (150, 165, 170, 180, 199):
        assert prediction.p_value(complete) == pytest.approx(
            stats.binomtest(complete, 200, probability).pvalue, rel=1e-6
        )


def test_the_interval_holds_its_coverage_and_the_certain_outcome_is_a_point() -> None:
    prediction = theory.predict([((10, 2),)] * 100, Independent(0.1))
    low, high = prediction.interval(0.95)
    assert prediction.pmf[low : high + 1].sum() >= 0.95
    assert prediction.pmf[:low].sum() <= 0.025
    assert prediction.pmf[high + 1 :].sum() <= 0.025
    assert theory.predict([((10, 2),)] * 100, Independent(0.0)).interval() == (100, 100)


@pytest.mark.parametrize(
    ("every", "expected"), [(0, 50), (32, 50), (16, 50), (8, 50), (6, 50), (4, 0), (3, 0), (2, 0)]
)
def test_the_classic_sweep_keeps_every_frame_down_to_one_packet_in_six(every: int, expected: int) -> None:
    blocks = theory.geometry(100_000, 1024, 64, 25)
    prediction = theory.predict([blocks] * 50, Periodic(every))
    assert prediction.mean == expected
    assert prediction.p_value(expected) == 1.0
    assert prediction.p_value(abs(expected - 1)) == 0.0


def test_periodic_loss_counts_recovery_packets_on_the_way_of_a_frame() -> None:
    # Three packets a frame. Of packets 0, 1, 2, ... those at 0, 2, 4, ... are lost: two, one, two, one a frame.
    frames: list[Blocks] = [((2, 1),)] * 4
    assert theory.predict(frames, Periodic(2)).mean == 2
    # From packet 1 on the first frame loses one.
    assert theory.predict(frames[:3], Periodic(2), first_packet=1).mean == 2
    assert theory.predict(frames[:3], Periodic(2), first_packet=2).mean == 1
    # Both blocks of a frame have to survive: (2, 1) takes packets 0 to 2, (1, 0) packet 3.
    assert theory.predict([((2, 1), (1, 0))], Periodic(4, 3)).mean == 0
    assert theory.predict([((1, 0), (2, 1))], Periodic(4, 0)).mean == 0
    assert theory.predict([((2, 1), (1, 0))], Periodic(4, 1)).mean == 1


def test_periodic_prediction_is_that_of_a_walk_over_frames_of_several_blocks() -> None:
    seed = 20_261_125
    rng = random.Random(seed)
    for _ in range(300):
        loss = Periodic(rng.randint(2, 9), rng.randint(0, 9))
        frames = [
            tuple((rng.randint(1, 6), rng.randint(0, 3)) for _ in range(rng.randint(1, 3)))
            for _ in range(rng.randint(1, 8))
        ]
        first = rng.randint(0, 20)
        packet, complete = first, 0
        for blocks in frames:
            gone = []
            for k, m in blocks:
                gone.append(sum(n % loss.every == loss.offset for n in range(packet, packet + k + m)) > m)
                packet += k + m
            complete += not any(gone)
        found = theory.predict(frames, loss, first)
        assert (found.frames, found.mean) == (len(frames), complete), (seed, loss, frames, first)


def test_periodic_counts_are_those_of_a_walk_over_the_packets() -> None:
    rng = random.Random(7)
    for _ in range(300):
        loss = Periodic(rng.randint(1, 9), rng.randint(0, 9))
        first, count = rng.randint(0, 40), rng.randint(0, 40)
        assert loss.lost(first, count) == sum(
            n % loss.every == loss.offset for n in range(first, first + count)
        )


@pytest.mark.parametrize("packets", [0, 1, 2, 5, 9])
def test_loss_moments_of_the_chain_are_those_of_the_enumerated_distribution(packets: int) -> None:
    weights = theory._losses_in(packets, packets, CHAIN)
    pmf = np.einsum("s,stl->l", CHAIN.start, weights)
    counts = np.arange(len(pmf))
    mean, variance = theory.loss_moments(packets, CHAIN)
    assert mean == pytest.approx(pmf @ counts)
    assert variance == pytest.approx(pmf @ counts**2 - (pmf @ counts) ** 2, abs=1e-12)


def test_transport_loss_of_half_the_asked_rate_is_rejected_and_the_asked_rate_is_not() -> None:
    rng = np.random.default_rng(3)
    lost = int((rng.random(20_000) < 0.02).sum())
    assert theory.transport_loss_p_value(20_000, lost, Independent(0.02)) > 1e-4
    assert theory.transport_loss_p_value(20_000, lost // 2, Independent(0.02)) < 1e-9
    chain = theory.bursty(0.02, 4)
    assert theory.transport_loss_p_value(100_000, round(theory.loss_moments(100_000, chain)[0]), chain) > 0.9
    assert theory.transport_loss_p_value(100_000, 1000, chain) < 1e-9
    assert theory.transport_loss_p_value(120, 20, Periodic(6)) == 1.0
    assert theory.transport_loss_p_value(120, 19, Periodic(6)) == 0.0


def test_an_interval_leaves_at_most_its_share_beyond_each_end() -> None:
    # Binary fractions, so that the ends are met exactly: what is left beyond may be as much as asked, not more.
    for pmf, confidence, expected in (
        ([0.5, 0.25, 0.125, 0.125], 0.5, (0, 1)),
        ([0.25, 0.25, 0.5], 0.5, (1, 2)),
        ([0.125, 0.125, 0.25, 0.25, 0.25], 0.75, (1, 4)),
        ([0.0, 0.0, 1.0, 0.0], 0.95, (2, 2)),
    ):
        assert theory.Prediction(np.array(pmf)).interval(confidence) == expected


def test_no_p_value_exceeds_one_though_the_outcomes_round_to_more() -> None:
    assert theory.Prediction(np.array([0.5, 0.5 + 2**-52])).p_value(1) == 1.0


def test_frames_of_two_sizes_are_not_taken_for_one() -> None:
    found = theory.poisson_binomial([0.25, 0.75, 0.75])
    by_hand = [0.75 * 0.0625, 0.25 * 0.0625 + 0.75 * 0.375, 0.25 * 0.375 + 0.75 * 0.5625, 0.25 * 0.5625]
    np.testing.assert_allclose(found.pmf, by_hand)


def test_no_probability_is_negative_however_many_streams_are_summed() -> None:
    one = theory.predict([((10, 2),)] * 300, theory.bursty(0.02, 3))
    assert (one.pmf >= 0).all()
    assert (one.times(40).pmf >= 0).all()
    assert one.times(40).pmf.sum() == pytest.approx(1)
    # Where nothing is ever lost, "lost" is the difference of two equal matrices that rounded differently.
    spared = theory.predict([((50, 9),)] * 50, GilbertElliott(0.13, 0.31, bad=0.0))
    assert (spared.pmf >= 0).all()
    assert spared.mean == pytest.approx(50)


def test_moments_without_memory_are_those_of_the_binomial() -> None:
    assert theory.loss_moments(300, Independent(0.2)) == pytest.approx((60, 48))
    assert theory.loss_moments(7, Periodic(3)) == (3, 0)  # packets 0, 3 and 6
    assert theory.loss_moments(7, Periodic(3, 1)) == (2, 0)


def test_a_transport_count_is_judged_from_nothing_lost_to_everything_lost() -> None:
    loss = Independent(0.5)
    assert theory.transport_loss_p_value(4, 0, loss) == pytest.approx(2 / 16)
    assert theory.transport_loss_p_value(4, 4, loss) == pytest.approx(2 / 16)
    assert theory.transport_loss_p_value(0, 0, loss) == 1.0
    for packets, lost in ((4, 5), (4, -1)):
        with pytest.raises(UsageError, match=f"{lost} lost packets of {packets} cannot be"):
            theory.transport_loss_p_value(packets, lost, loss)


def test_a_bursty_transport_count_is_judged_by_its_distance_in_standard_deviations() -> None:
    chain = theory.bursty(0.1, 5)
    mean, variance = theory.loss_moments(50_000, chain)
    for deviations, two_sided in ((1, 0.3173), (-2, 0.0455), (3, 0.0027)):
        p = theory.transport_loss_p_value(50_000, round(mean + deviations * math.sqrt(variance)), chain)
        assert p == pytest.approx(two_sided, rel=0.05)


def test_one_recovery_shard_too_few_is_far_outside_the_prediction() -> None:
    announced = theory.predict([((20, 4),)] * 100, Independent(0.1)).times(20)
    sabotaged = theory.predict([((20, 3),)] * 100, Independent(0.1)).times(20)
    assert announced.p_value(round(sabotaged.mean)) < 1e-12


def test_a_block_of_thousands_of_packets_under_bursts_meets_its_normal_limit() -> None:
    from scipy import stats

    blocks = theory.geometry(4_915_200, 1200, 4096, 20)
    chain = theory.bursty(0.15, 20)
    prediction = theory.predict([blocks] * 100, chain)
    mean, variance = theory.loss_moments(4916, chain)
    normal = stats.norm.cdf((820.5 - mean) / math.sqrt(variance))  # 4916 packets hold enough bursts for it
    assert prediction.rate == pytest.approx(normal, abs=0.01)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Independent(1.01), "p = 1.01 is not a probability"),
        (lambda: GilbertElliott(-0.1, 0.5), "p = -0.1"),
        (lambda: GilbertElliott(0.1, 1.5), "r = 1.5"),
        (lambda: GilbertElliott(0.1, 0.5, bad=1.5), "bad = 1.5"),
        (lambda: GilbertElliott(0.1, 0.5, good=-1.0), "good = -1.0"),
        (lambda: GilbertElliott(0.1, 0.5, first_bad=2.0), "first_bad = 2.0"),
        (lambda: Periodic(-1), "every -1 from 0"),
        (lambda: Periodic(2, -1), "every 2 from -1"),
        (lambda: theory.bursty(1.0, 2), "mean loss 1.0 in bursts of 2"),
        (lambda: theory.bursty(-0.1, 2), "mean loss -0.1"),
        (lambda: theory.bursty(0.1, 0.9), "bursts of 0.9"),
        (lambda: theory.bursty(0.6, 1), "60% needs bursts longer than 1 "),
        (lambda: theory.geometry(-1, 1, 1, 1), "no geometry for -1 bytes"),
        (lambda: theory.geometry(1, 0, 1, 1), "shards of 0"),
        (lambda: theory.geometry(1, 1, 0, 1), "blocks of 0"),
        (lambda: theory.geometry(1, 1, 1, -1), "no geometry"),
        (lambda: theory.loss_of({"kind": "snow"}), "kind 'snow'"),
        (lambda: theory.predict([((1, 0),)], Independent(0.1)).p_value(2), "2 complete frames of 1"),
        (lambda: theory.predict([((1, 0),)], Independent(0.1)).p_value(-1), "-1 complete frames"),
    ],
)
def test_a_figure_beyond_its_limit_is_refused_by_name(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        wrong()


def test_figures_at_their_limits_are_taken() -> None:
    assert [Independent(p).p for p in (0.0, 1.0)] == [0.0, 1.0]
    assert Periodic(0, 0).mean == 0
    assert theory.bursty(0.0, 1.0).p == 0.0
    # Every second packet in bursts of one: the good state is always left.
    assert theory.bursty(0.5, 1.0) == GilbertElliott(1.0, 1.0)
    assert theory.geometry(0, 1, 1, 0) == ((1, 0),)
    assert theory.predict([((1, 0),)], Independent(0.25)).p_value(0) == pytest.approx(0.25)


def test_link_descriptions_become_their_loss_process() -> None:
    assert theory.loss_of(None) == Independent(0.0)
    assert theory.loss_of({"kind": "independent", "p": 0.02}) == Independent(0.02)
    assert theory.loss_of({}) == theory.loss_of({"p": 0.5}) == Independent(0.0)
    assert theory.loss_of({"kind": "periodic", "every": 6}) == Periodic(6)
    assert theory.loss_of({"kind": "periodic", "every": 6, "offset": 2}) == Periodic(6, 2)
    whole = {"kind": "gilbert_elliott", "p": 0.01, "r": 0.2, "bad": 0.8, "good": 0.03}
    assert theory.loss_of(whole) == GilbertElliott(0.01, 0.2, 0.8, 0.03)
    assert theory.loss_of({"kind": "gilbert_elliott", "p": 0.01, "r": 0.2}) == GilbertElliott(0.01, 0.2)
    assert theory.bursty(0.05, 8).mean == pytest.approx(0.05)
    assert theory.bursty(0.05, 8).r == 1 / 8


def test_only_links_whose_frames_have_an_exact_theory_get_one() -> None:
    chain = {"kind": "gilbert_elliott", "p": 0.01, "r": 0.2}
    assert theory.process_of({}) == Independent(0.0)
    assert theory.process_of({"delay_us": 5000, "loss": chain}) == GilbertElliott(0.01, 0.2)
    for harmless in ({"jitter_us": 10}, {"jitter_reorder": True}, {"duplicate": 0.1}, {"reorder": {"p": 0}}):
        assert theory.process_of(harmless) == Independent(0.0)
    corrupted = theory.process_of({"loss": {"kind": "independent", "p": 0.1}, "corrupt": 0.1})
    assert isinstance(corrupted, Independent)
    assert corrupted.p == pytest.approx(0.19)
    corrupted_chain = theory.process_of({"loss": chain, "corrupt": 0.1})
    assert isinstance(corrupted_chain, GilbertElliott)
    assert (corrupted_chain.p, corrupted_chain.r, corrupted_chain.bad) == (0.01, 0.2, 1.0)
    assert corrupted_chain.good == pytest.approx(0.1)
    half = theory.process_of({"loss": chain | {"bad": 0.5, "good": 0.2}, "corrupt": 0.1})
    assert isinstance(half, GilbertElliott)
    assert (half.bad, half.good) == pytest.approx((0.55, 0.28))
    assert corrupted_chain.mean == pytest.approx(1 - (1 - GilbertElliott(0.01, 0.2).mean) * 0.9)
    for limit in (
        {"rate_kbps": 1000},
        {"trace": [{"at_ms": 0}]},
        {"changes": [{"at_ms": 5}]},
        {"reorder": {"p": 0.1}},
        {"jitter_us": 10, "jitter_reorder": True},
        {"corrupt": 0.1, "duplicate": 0.1},
        {"corrupt": 0.1, "loss": {"kind": "periodic", "every": 6}},
    ):
        assert theory.process_of(limit) is None


def test_a_chain_starts_where_it_is_told_to() -> None:
    assert GilbertElliott(0.1, 0.3).start.tolist() == [0.75, 0.25]
    assert GilbertElliott(0.1, 0.3, first_bad=0.0).start.tolist() == [1.0, 0.0]
    first = [theory.loss_moments(1, GilbertElliott(0.1, 0.3, first_bad=x))[0] for x in (0.0, 1.0)]
    assert first == [0.0, 1.0]
