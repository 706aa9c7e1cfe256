"""The judge of a probed link: passes what is as asked, refuses what is not, over simulated probes of known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.link.expected import Expected, expected
from harness.link.judge import (
    Finding,
    Sample,
    binomial_bounds,
    judge_copies,
    judge_delay,
    judge_loss,
    judge_rate,
    packets_for_half,
)

SEEDS = range(40)


def probe(
    lost: np.ndarray, *, segments: int = 10, delay_us: np.ndarray | float = 100.0, interval_ns: int = 250_000
) -> Sample:
    """What arrives of a probe whose packet i is lost where ``lost[i]``."""
    index = np.flatnonzero(~lost)
    sent_ns = (np.arange(len(lost)) // segments) * interval_ns
    delay = np.broadcast_to(np.asarray(delay_us, dtype=float), lost.shape)
    received_ns = sent_ns + np.round(delay * 1e3).astype(np.int64)
    return Sample(len(lost), segments, 64, interval_ns, index, sent_ns[index], received_ns[index])


def gilbert_elliott(rng: np.random.Generator, n: int, p: float, r: float) -> np.ndarray:
    bad = rng.random() < p / (p + r)
    out = np.empty(n, dtype=bool)
    for i, u in enumerate(rng.random(n)):
        bad = u >= r if bad else u < p
        out[i] = bad
    return out


def refused(findings: list[Finding]) -> list[str]:
    return [one.name for one in findings if not one.ok]


@pytest.mark.parametrize("p", [0.005, 0.02, 0.1, 0.3])
def test_a_link_as_asked_passes_and_one_with_half_the_loss_does_not(p: float) -> None:
    want = expected({"loss": {"kind": "independent", "p": p}})
    n = packets_for_half(p) // 10 * 10 + 10
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        assert refused(judge_loss(want, probe(rng.random(n) < p))) == [], f"seed {seed}"
        assert "loss" in refused(judge_loss(want, probe(rng.random(n) < p / 2))), f"seed {seed}"


def test_loss_that_was_not_asked_for_is_refused() -> None:
    want = expected({})
    rng = np.random.default_rng(5)
    assert refused(judge_loss(want, probe(np.zeros(2000, dtype=bool)))) == []
    assert refused(judge_loss(want, probe(rng.random(2000) < 0.02))) == ["loss"]


def test_loss_beyond_what_was_asked_is_refused_on_a_lossy_link_too() -> None:
    for p, actual in ((0.02, 0.03), (0.05, 0.065), (0.3, 0.34)):
        want = expected({"loss": {"kind": "independent", "p": p}})
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            assert refused(judge_loss(want, probe(rng.random(20_000) < actual))) == ["loss"], (
                f"{p} seed {seed}"
            )


def test_a_finding_says_what_was_asked_what_was_found_and_how_sure_it_is() -> None:
    want = expected({"loss": {"kind": "independent", "p": 0.05}})
    lost = np.arange(10_000) % 16 == 5
    [loss, trains] = judge_loss(want, probe(lost))
    low, high = binomial_bounds(10_000, 0.05)
    assert loss.asked == f"5.000% ({low:.0f} to {high:.0f} of 10000)"
    assert loss.found == "6.250% (625)"
    assert not loss.ok
    assert loss.power is not None
    assert loss.power > 0.999999
    assert trains == Finding(
        "decisions inside segmentation trains", True, "at least 141 of 1000 trains lost in part", "625"
    )
    [nothing] = judge_loss(expected({}), probe(np.zeros(1000, dtype=bool)))
    assert (nothing.ok, nothing.power, nothing.found) == (True, None, "0.000% (0)")


def test_a_probe_too_short_to_tell_says_so() -> None:
    want = expected({"loss": {"kind": "independent", "p": 0.01}})
    [loss] = judge_loss(want, probe(np.zeros(200, dtype=bool), segments=1))
    assert loss.ok
    assert loss.power is not None
    assert loss.power < 0.01


def test_loss_that_was_not_asked_for_is_borne_up_to_one_in_a_thousand() -> None:
    for count, ok in ((0, True), (20, True), (50, False)):
        lost = np.arange(20_000) < count
        assert (refused(judge_loss(expected({}), probe(lost, segments=1))) == []) is ok, count


def with_hit_numbers(n: int, hit: int, missing: int) -> Sample:
    """``n`` packets of which some came with a corrupted number, and some not at all."""
    got = probe(np.arange(n) < hit + missing, segments=1)
    return replace(got, corrupt=hit, unidentified=hit)


def test_packets_whose_number_was_corrupted_arrived_and_are_corrupted_and_not_lost() -> None:
    want = expected({"corrupt": 0.03, "corrupt_mode": "payload"})
    got = with_hit_numbers(10_000, 300, 0)
    assert refused(judge_loss(want, got) + judge_copies(want, got)) == []
    # The same gap in the numbers without packets to fill it is loss.
    gone = with_hit_numbers(10_000, 0, 300)
    assert refused(judge_loss(want, gone)) == ["loss"]
    assert refused(judge_copies(want, gone)) == ["corrupted payloads"]
    both = with_hit_numbers(10_000, 300, 200)
    assert refused(judge_loss(want, both)) == ["loss"]
    assert refused(judge_copies(want, both)) == []
    # All packets count, those with a number and those without: 150 of 300 is the half that was asked for.
    half = expected({"corrupt": 0.5, "corrupt_mode": "payload"})
    [_, corrupted, _] = judge_copies(half, with_hit_numbers(300, 150, 0))
    assert corrupted.ok
    assert corrupted.asked.endswith("of 300)")


def test_trains_that_are_lost_whole_are_refused_though_the_rate_is_right() -> None:
    want = expected({"loss": {"kind": "independent", "p": 0.05}})
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        whole = np.repeat(rng.random(2000) < 0.05, 10)
        found = judge_loss(want, probe(whole))
        assert "decisions inside segmentation trains" in refused(found), f"seed {seed}"
        assert "GSO left on" in next(one for one in found if "trains" in one.name).found


def test_bursty_loss_as_asked_passes_and_another_burst_length_does_not() -> None:
    want = expected({"loss": {"kind": "gilbert_elliott", "p": 0.01, "r": 0.25, "bad": 1.0, "good": 0.0}})
    assert want.loss == pytest.approx(0.01 / 0.26)
    for seed in range(15):
        rng = np.random.default_rng(seed)
        assert refused(judge_loss(want, probe(gilbert_elliott(rng, 40_000, 0.01, 0.25)))) == [], (
            f"seed {seed}"
        )
        # the same average in bursts of 10 instead of 4
        other = gilbert_elliott(rng, 40_000, 0.004, 0.1)
        assert "burst length" in refused(judge_loss(want, probe(other))), f"seed {seed}"


def test_the_spread_of_bursty_counts_is_what_the_chain_predicts() -> None:
    want = expected({"loss": {"kind": "gilbert_elliott", "p": 0.02, "r": 0.3, "bad": 1.0, "good": 0.0}})
    rng = np.random.default_rng(7)
    n = 3000
    counts = np.array([gilbert_elliott(rng, n, 0.02, 0.3).sum() for _ in range(400)])
    predicted = n * want.loss * (1 - want.loss) * want.loss_inflation
    assert counts.var() == pytest.approx(predicted, rel=0.25)
    assert counts.mean() == pytest.approx(n * want.loss, rel=0.05)


def test_periodic_loss_must_keep_its_distance() -> None:
    want = expected({"loss": {"kind": "periodic", "every": 8, "offset": 0}})
    lost = np.arange(2000) % 8 == 3  # another packet may have come first
    assert refused(judge_loss(want, probe(lost))) == []
    lost[8] = True
    assert refused(judge_loss(want, probe(lost))) == ["loss"]


def test_a_wrong_delay_is_refused_and_the_paths_own_delay_is_not() -> None:
    none = np.zeros(300, dtype=bool)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        own = rng.exponential(60, 300) + 30
        base = probe(none, segments=1, delay_us=own)
        want = expected({"delay_us": 20_000})
        again = rng.exponential(60, 300) + 30
        assert refused(judge_delay(want, base, probe(none, segments=1, delay_us=20_000 + again))) == []
        for wrong in (10_000, 19_500, 21_500):
            got = probe(none, segments=1, delay_us=wrong + again)
            assert refused(judge_delay(want, base, got)) == ["delay"], (seed, wrong)


def test_a_machine_that_stalls_half_of_the_time_is_judged_by_the_packets_that_came_through() -> None:
    none = np.zeros(300, dtype=bool)
    want = expected({"delay_us": 20_000})
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        base = probe(none, segments=1, delay_us=rng.exponential(60, 300) + 30)
        stalls = 20_000 + rng.exponential(60, 300) + 30 + rng.uniform(0, 9000, 300) * (rng.random(300) < 0.75)
        assert refused(judge_delay(want, base, probe(none, segments=1, delay_us=stalls))) == ["delay"]
        assert refused(judge_delay(want, base, probe(none, segments=1, delay_us=stalls), 0.1)) == []
        wrong = probe(none, segments=1, delay_us=stalls + 3000)
        assert refused(judge_delay(want, base, wrong, 0.1)) == ["delay"], f"seed {seed}"


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_jitter_of_half_the_spread_is_refused(distribution: str) -> None:
    want = expected({"delay_us": 20_000, "jitter_us": 2000, "jitter_distribution": distribution})
    none = np.zeros(300, dtype=bool)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        noise = rng.exponential(20, 300) + 30
        base = probe(none, segments=1, delay_us=noise)
        unit = rng.uniform(-1, 1, 300) if distribution == "uniform" else rng.normal(0, 1, 300)
        assert refused(judge_delay(want, base, probe(none, delay_us=20_000 + 2000 * unit + noise))) == []
        half = judge_delay(want, base, probe(none, delay_us=20_000 + 900 * unit + noise))
        assert refused(half) == ["jitter"], f"seed {seed}"


def test_duplicates_and_corruption_are_counted_against_their_probability() -> None:
    want = expected({"duplicate": 0.02, "corrupt": 0.03, "corrupt_mode": "payload"})
    assert want.loss == 0
    n = 10_000
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        copies = 1 + (rng.random(n) < 0.02)
        index = np.repeat(np.arange(n), copies)
        zero = np.zeros(len(index), dtype=np.int64)
        got = Sample(n, 10, 64, 250_000, index, zero, zero, corrupt=int(rng.binomial(len(index), 0.03)))
        assert refused(judge_copies(want, got)) == [], f"seed {seed}"
        half = replace(got, corrupt=int(rng.binomial(len(index), 0.015)))
        assert refused(judge_copies(want, half)) == ["corrupted payloads"], f"seed {seed}"


def test_reordering_is_asked_for_or_absent() -> None:
    order = np.arange(1000)
    zero = np.zeros(1000, dtype=np.int64)
    swapped = order.copy().reshape(500, 2)
    swapped[::5] = swapped[::5, ::-1]
    swapped = swapped.reshape(1000)
    assert refused(judge_copies(expected({}), Sample(1000, 10, 64, 1, order, zero, zero))) == []
    assert refused(judge_copies(expected({}), Sample(1000, 10, 64, 1, swapped, zero, zero))) == ["reordered"]
    want = expected({"reorder": {"p": 0.1, "extra_us": 2000}})
    assert refused(judge_copies(want, Sample(1000, 10, 64, 250_000, order, zero, zero))) == ["reordered"]


@pytest.mark.parametrize(("kbps", "ok"), [(10_000, True), (9_850, False), (10_200, False), (5_000, False)])
def test_a_rate_is_met_within_a_percent(kbps: int, ok: bool) -> None:
    want = expected({"rate_kbps": 10_000})
    times = (np.arange(600) * (1228 * 8 / kbps * 1e6)).astype(np.int64)
    got = Sample(900, 1, 1200, 1, np.arange(600), times, times)
    assert judge_rate(want, got).ok is ok


@pytest.mark.parametrize(("kbps", "ok"), [(8_000, True), (10_000, False), (6_400, False)])
def test_what_a_checksum_drops_behind_the_bottleneck_is_no_lack_of_rate(kbps: int, ok: bool) -> None:
    want = expected({"rate_kbps": 10_000, "corrupt": 0.2, "corrupt_mode": "checksum"})
    times = (np.arange(600) * (1228 * 8 / kbps * 1e6)).astype(np.int64)
    found = judge_rate(want, Sample(900, 1, 1200, 1, np.arange(600), times, times))
    assert found.ok is ok
    assert (found.name, found.asked) == ("rate", "8000 kbit/s within 1.3%")
    assert found.found == f"{kbps} kbit/s over {599 * 1228 * 8 / kbps:.0f} ms"
    # What reaches the application corrupted has taken its time at the bottleneck and arrives.
    payload = expected({"rate_kbps": 10_000, "corrupt": 0.2, "corrupt_mode": "payload"})
    assert judge_rate(payload, Sample(900, 1, 1200, 1, np.arange(600), times, times)).ok is (kbps == 10_000)


def test_a_rate_is_the_median_of_four_windows_and_counts_the_overhead() -> None:
    want = expected({"rate_kbps": 10_000, "overhead_bytes": 100})
    times = (np.arange(601) * (1300 * 8 / 10_000 * 1e6)).astype(np.int64)
    assert judge_rate(want, Sample(900, 1, 1200, 1, np.arange(601), times, times)).ok
    stalled = times.copy()
    stalled[400:] += 300_000_000
    assert judge_rate(want, Sample(900, 1, 1200, 1, np.arange(601), stalled, stalled)).ok
    twice = stalled.copy()
    twice[100:] += 300_000_000
    assert not judge_rate(want, Sample(900, 1, 1200, 1, np.arange(601), twice, twice)).ok
    few = np.arange(16)
    found = judge_rate(want, Sample(900, 1, 1200, 1, few, times[few], times[few]))
    assert (found.ok, found.found) == (False, "0 kbit/s over 0 ms")


@pytest.mark.parametrize(("n", "p"), [(100, 0.5), (2000, 0.01), (50_000, 0.2), (10, 0.9)])
def test_bounds_hold_all_but_the_stated_probability(n: int, p: float) -> None:
    from scipy.stats import binom

    low, high = binomial_bounds(n, p)
    assert binom.cdf(low - 1, n, p) <= 5e-7
    assert binom.sf(high, n, p) <= 5e-7
    assert low == 0 or binom.cdf(low, n, p) >= 5e-7
    assert high == n or binom.sf(high - 1, n, p) >= 5e-7


def test_checksum_corruption_is_loss_to_the_receiver() -> None:
    want: Expected = expected({"loss": {"kind": "independent", "p": 0.1}, "corrupt": 0.05})
    assert want.loss == pytest.approx(1 - 0.9 * 0.95)
    assert want.payload_corrupt == 0


def test_bounds_are_exact_at_their_ends() -> None:
    assert binomial_bounds(0, 0.5) == binomial_bounds(10, 0.0) == binomial_bounds(-1, 0.5) == (0.0, 0.0)
    assert binomial_bounds(10, 1.0) == (10, 10)
    assert binomial_bounds(1, 0.5) == (0.0, 1.0)
    assert binomial_bounds(1, 1e-9) == (0.0, 0.0)


def test_periodic_and_bursty_findings_show_what_was_counted() -> None:
    every = expected({"loss": {"kind": "periodic", "every": 8, "offset": 0}})
    [loss] = judge_loss(every, probe(np.arange(80) % 8 == 3, segments=1))
    assert loss == Finding("loss", True, "1 of every 8", "10 of 80, 0 at other distances")
    moved = np.isin(np.arange(80), [3, 11, 20, 27, 35, 43, 51, 59, 67, 75])
    assert judge_loss(every, probe(moved, segments=1))[0] == Finding(
        "loss", False, "1 of every 8", "10 of 80, 2 at other distances"
    )
    # One packet more or less at the edges is the phase; two are not.
    for missing, ok in ((0, True), (1, True), (2, False)):
        lost = (np.arange(80) % 8 == 3) & (np.arange(80) >= 8 * missing)
        assert judge_loss(every, probe(lost, segments=1))[0].ok is ok
    assert not judge_loss(every, probe(np.zeros(80, dtype=bool), segments=1))[0].ok
    bursts = expected({"loss": {"kind": "gilbert_elliott", "p": 0.01, "r": 0.25, "bad": 1.0, "good": 0.0}})
    lost = np.arange(10_000) % 100 >= 96  # runs of four, the last of which ends with the probe
    [_, length] = judge_loss(bursts, probe(lost, segments=1))
    low, high = binomial_bounds(400, 0.25)
    assert length == Finding(
        "burst length", True, f"4.00 packets ({low:.0f} to {high:.0f} bursts)", "4.00 packets (100 bursts)"
    )
    assert judge_loss(bursts, probe(np.zeros(50, dtype=bool), segments=1))[1:] == [], "no burst, no length"


def test_trains_are_judged_where_there_are_enough_of_them() -> None:
    want = expected({"loss": {"kind": "independent", "p": 0.05}})
    names = [one.name for one in judge_loss(want, probe(np.arange(2000) % 20 == 7, segments=1))]
    assert names == ["loss"], "no trains"
    # 2 packets a train are lost in part with 9.5 %: 20 such trains are expected of 211, not of 210.
    for trains, judged in ((210, False), (211, True)):
        found = judge_loss(want, probe(np.arange(2 * trains) % 20 == 7, segments=2))
        assert (len(found) == 2) is judged, trains


def test_counts_are_taken_at_their_bounds_and_refused_one_beyond() -> None:
    bursts = expected({"loss": {"kind": "gilbert_elliott", "p": 0.01, "r": 0.25, "bad": 1.0, "good": 0.0}})
    low, high = (int(bound) for bound in binomial_bounds(400, 0.25))
    for ends, ok in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        # 400 lost packets in that many runs: one long run first, then single ones far apart.
        lost = np.zeros(10_000, dtype=bool)
        lost[: 400 - ends + 1] = True
        lost[1000 : 1000 + 10 * (ends - 1) : 10] = True
        assert judge_loss(bursts, probe(lost, segments=1))[1].ok is ok, ends
    want = expected({"loss": {"kind": "independent", "p": 0.05}})
    least = 141  # of 1000 trains of ten, half the share of which 5e-7 may be missed
    for partial, ok in ((least - 1, False), (least, True)):
        lost = np.zeros((1000, 10), dtype=bool)
        lost[:partial, 0] = True
        assert judge_loss(want, probe(lost.reshape(-1)))[1].ok is ok, partial


def test_copies_and_corruption_are_shares_of_what_arrived() -> None:
    want = expected({"duplicate": 0.1, "corrupt": 0.2, "corrupt_mode": "payload"})
    index = np.concatenate([np.arange(500), np.arange(60)])
    zero = np.zeros(len(index), dtype=np.int64)
    got = replace(Sample(1000, 1, 64, 1000, index, zero, zero), corrupt=111)
    copies, corrupted, order = judge_copies(want, got)
    assert [one.name for one in (copies, corrupted)] == ["duplicates", "corrupted payloads"]
    for one, count, n, p in ((copies, 60, 500, 0.1), (corrupted, 111, 560, 0.2)):
        low, high = binomial_bounds(n, p)
        assert (one.ok, one.found) == (True, str(count))
        assert one.asked == f"{p:.3%} ({low:.0f} to {high:.0f} of {n})"
        assert one.power is not None
        assert 0.1 < one.power < 1
    # A copy that comes later than its number is no reordering.
    assert order == Finding("reordered", True, "none (at most 7 of 500)", "0")
    assert judge_copies(expected({}), got)[0].power is None


def test_order_is_judged_by_the_first_copy_of_each_number() -> None:
    def late(count: int, extra_us: float = 2000.0, interval_ns: int = 250_000) -> list[Finding]:
        order = np.arange(1000)
        order[: 2 * count] = order[: 2 * count].reshape(count, 2)[:, ::-1].reshape(-1)
        zero = np.zeros(1000, dtype=np.int64)
        want = expected({"reorder": {"p": 0.1, "extra_us": extra_us}})
        return judge_copies(want, Sample(1000, 10, 64, interval_ns, order, zero, zero))[2:]

    low, high = binomial_bounds(1000, 0.1)
    assert [one.ok for n in (int(low) - 1, int(low), int(high), int(high) + 1) for one in late(n)] == [
        False, True, True, False,
    ]  # fmt: skip
    # A packet that is held for no longer than two intervals overtakes by chance: nothing to judge.
    assert late(0, extra_us=500.0) == []
    assert len(late(0, extra_us=501.0)) == 1
    jittered = expected({"jitter_us": 500.0, "jitter_reorder": True})
    zero = np.zeros(1000, dtype=np.int64)
    assert len(judge_copies(jittered, Sample(1000, 10, 64, 1, np.arange(1000), zero, zero))) == 2


def test_a_delay_shows_its_interval_and_the_paths_own() -> None:
    none = np.zeros(101, dtype=bool)
    base = probe(none, segments=1, delay_us=np.arange(101.0))
    got = probe(none, segments=1, delay_us=5000 + np.arange(101.0))
    low, high = binomial_bounds(101, 0.5)
    [found] = judge_delay(expected({"delay_us": 5000.0}), base, got)
    assert found.ok
    assert found.asked == "5.000 ms and the path's own 0.050 to 0.095 ms"
    assert found.found == f"median {(5000 + low - 1) / 1e3:.3f} to {(5000 + high) / 1e3:.3f} ms"
    [tenth] = judge_delay(expected({"delay_us": 5000.0}), base, got, 0.1)
    assert tenth.found.startswith("10% quantile 5.000 to ")
    assert judge_delay(expected({"delay_us": 5000.0}), base, probe(~none, segments=1))[0].ok is False


@pytest.mark.parametrize(
    ("delay_us", "ok"),
    # 10 ms, 0.1 ms of the path, 0.5 % of the delay, 50 us of timer slack, 92 bytes at 184 kbit/s: 4 ms
    [(9_999.0, False), (10_000.0, True), (14_200.0, True), (14_201.0, False)],
)
def test_a_delay_may_be_the_asked_one_and_what_the_path_and_the_bottleneck_add(
    delay_us: float, ok: bool
) -> None:
    none = np.zeros(100, dtype=bool)
    want = expected({"delay_us": 10_000.0, "rate_kbps": 184})
    base = probe(none, segments=1, delay_us=100.0)
    [found] = judge_delay(want, base, probe(none, segments=1, delay_us=delay_us))
    assert found.ok is ok
    [more] = judge_delay(want, base, probe(none, segments=1, delay_us=delay_us), 0.5, 60.0)
    assert more.ok is (ok or delay_us > 14_000)


def test_jitter_shows_how_many_lie_near_the_median() -> None:
    n = 300
    none = np.zeros(n, dtype=bool)
    base = probe(none, segments=1, delay_us=10.0)
    for law, width in (("uniform", "1.000"), ("normal", "1.349")):
        want = expected({"delay_us": 20_000.0, "jitter_us": 2000.0, "jitter_distribution": law})
        spread = np.linspace(-2000, 2000, n)
        found = judge_delay(want, base, probe(none, segments=1, delay_us=20_010 + spread))[1]
        within = int((np.abs(spread - np.median(spread)) <= float(width) * 1000).sum())
        assert found.name == "jitter"
        assert found.found == str(within)
        assert found.asked.endswith(f"of {n} within {width} ms of the median")
    heavy = expected({"delay_us": 20_000.0, "jitter_us": 2000.0, "jitter_distribution": "pareto"})
    assert len(judge_delay(heavy, base, probe(none, segments=1, delay_us=21_000.0))) == 1


def test_a_probe_is_as_long_as_it_takes_to_tell_half_of_the_loss_and_not_much_longer() -> None:
    from scipy.stats import binom

    for p in (0.01, 0.05, 0.3):
        n = packets_for_half(p)

        def noticed(n: int, p: float = p) -> float:
            low, _ = binomial_bounds(n, p)
            return float(binom.cdf(low - 1, n, p / 2))

        assert noticed(n) >= 0.999
        assert noticed(round(n / 1.2)) < 0.999
    assert packets_for_half(0.05, power=0.5) < packets_for_half(0.05)
