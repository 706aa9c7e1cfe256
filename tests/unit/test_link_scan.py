"""Which stretch of windows is improbable: bounds against exact distributions, and how rare a false alarm is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.link import scan as scan_module
from harness.link.scan import Count, Scan, loss_count

ALARMING = 1.0 - 1e-12
"""A false-alarm rate at which every bound below it is told."""
Chain = tuple[float, float, float, float]


def bound(count: Count) -> float:
    """The logarithm of the bound of one window's probability, as an alarm tells it."""
    # The first window may use 6 / pi^2 of it; what is not improbable at all raises no alarm.
    stretch = Scan(alpha=ALARMING).add([count])
    return 0.0 if stretch is None else stretch.log_p


def exact_chain(n: int, chain: Chain) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The distribution of the losses of a stationary chain, by carrying it packet by packet."""
    to_bad, to_good, in_bad, in_good = chain
    stationary = to_bad / (to_bad + to_good)
    bad, good = np.zeros(n + 1), np.zeros(n + 1)
    bad[0], good[0] = stationary, 1 - stationary
    for _ in range(n):
        now_bad = bad * (1 - to_good) + good * to_bad
        now_good = bad * to_good + good * (1 - to_bad)
        bad = now_bad * (1 - in_bad) + np.roll(now_bad, 1) * in_bad
        good = now_good * (1 - in_good) + np.roll(now_good, 1) * in_good
    return bad + good


@pytest.mark.parametrize(
    ("n", "p", "events"),
    [(1000, 0.04, 8), (1000, 0.04, 90), (300, 0.5, 90), (300, 0.5, 230), (5000, 0.001, 25), (80, 0.9, 40)],
)
def test_the_bound_of_a_count_is_above_its_exact_probability_and_near_it(
    n: int, p: float, events: int
) -> None:
    from scipy.stats import binom

    below = events < n * p
    exact = float(binom.logcdf(events, n, p) if below else binom.logsf(events - 1, n, p))
    found = bound(Count(n, events, p))
    # Chernoff gives away a factor of the deviation, the tilts that are tried another 48.
    assert exact < found < 0.93 * exact + math.log(48) + 4


@pytest.mark.parametrize(
    ("chain", "side"),
    [
        ((0.01, 0.25, 1.0, 0.0), 1),
        ((0.05, 0.5, 0.7, 0.01), 1),
        ((0.05, 0.5, 0.7, 0.01), -1),
        ((0.3, 0.2, 1.0, 0.0), -1),
    ],
)
def test_the_bound_of_bursty_loss_is_above_its_exact_probability_and_near_it(chain: Chain, side: int) -> None:
    n = 600
    exact = exact_chain(n, chain)
    tails = np.cumsum(exact) if side < 0 else np.cumsum(exact[::-1])[::-1]
    able = np.flatnonzero((tails > 1e-60) & (tails < 1e-9))
    assert able.size
    for events in (int(able[0]), int(able[len(able) // 2]), int(able[-1])):
        found = bound(Count(n, events, 0.0, chain=chain))
        # The tilts that are tried, Chernoff's factor, and that the chain may have begun in either state.
        assert math.log(tails[events]) < found < 0.93 * math.log(tails[events]) + math.log(48) + 5


def test_a_chain_that_goes_on_over_windows_is_bounded_like_one_of_their_length() -> None:
    chain = (0.01, 0.25, 1.0, 0.0)
    scan = Scan(alpha=ALARMING)
    found = [scan.add([Count(300, 80, 0.0, chain=chain)]) for _ in range(4)][-1]
    assert found is not None
    assert (found.first, found.last, found.n, found.events) == (0, 3, 1200, 320)
    assert found.log_p == pytest.approx(bound(Count(1200, 320, 0.0, chain=chain)))
    assert found.expected == pytest.approx(1200 / 26)
    # Entered anew in each window, it may have begun in any state each time.
    scan = Scan(alpha=ALARMING)
    again = [scan.add([Count(300, 80, 0.0, chain=chain, runs=2)]) for _ in range(4)][-1]
    assert again is not None
    assert again.log_p > found.log_p


def simulated(p: float, chain: Chain | None, windows: int, rng: np.random.Generator, adaptive: bool) -> Scan:
    """Run a session over a link as asked; return its scan, or raise StopIteration at an alarm."""
    scan, bad = Scan(alpha=0.1), False
    n = 120
    for _ in range(windows):
        if chain is None:
            lost = int(rng.binomial(n, p))
            count = Count(n, lost, p)
        else:
            lost = 0
            for state, loss in rng.random((n, 2)):
                bad = state >= chain[1] if bad else state < chain[0]
                lost += loss < chain[2 if bad else 3]
            count = Count(n, lost, 0.0, chain=chain)
        if scan.add([count]) is not None:
            raise StopIteration
        # A sender that sends more where it has just lost, as one that repairs does.
        n = min(60 + 20 * lost, 240) if adaptive else 120
    return scan


@pytest.mark.parametrize(
    ("p", "chain", "sessions"),
    [(0.05, None, 150), (0.5, None, 100), (0.0, (0.02, 0.4, 1.0, 0.0), 20)],
    ids=["rare", "even", "bursty"],
)
@pytest.mark.parametrize("adaptive", [False, True])
def test_a_link_as_asked_raises_alarms_no_more_often_than_is_said(
    p: float, chain: Chain | None, sessions: int, adaptive: bool
) -> None:
    """At 0.1 a session and not at a millionth, so that it can be counted; fixed seeds, so that it is not a coin."""
    from scipy.stats import binom

    alarms = 0
    for seed in range(sessions):
        try:
            simulated(p, chain, 20, np.random.default_rng(seed), adaptive)
        except StopIteration:
            alarms += 1
    # The probability of more than this many at 0.1 a session is one in a thousand.
    assert alarms <= binom.ppf(0.999, sessions, 0.1)


@pytest.mark.parametrize(
    ("asked", "real", "within"), [(0.02, 0.01, 9), (0.08, 0.04, 3), (0.01, 0.02, 10), (0.0, 0.002, 2)]
)
def test_a_change_in_mid_run_is_found_and_the_stretch_begins_with_it(
    asked: float, real: float, within: int
) -> None:
    scan, rng = Scan(alpha=1e-7), np.random.default_rng(4)
    for _ in range(20):
        assert scan.add([Count(1500, int(rng.binomial(1500, asked)), asked)]) is None
    found, windows = None, 20
    while found is None and windows < 20 + within:
        found = scan.add([Count(1500, int(rng.binomial(1500, real)), asked)])
        windows += 1
    assert found is not None, f"not within {within} windows"
    assert 19 <= found.first <= 22
    assert found.last == windows - 1
    assert found.n == 1500 * (found.last - found.first + 1)


def test_an_event_that_was_not_asked_for_is_improbable_at_once_and_none_never() -> None:
    scan = Scan(alpha=1e-7)
    for _ in range(50):
        assert scan.add([Count(100, 0, 0.0)]) is None
    found = scan.add([Count(100, 3, 0.0)])
    assert found is not None
    assert found.events == 3


def test_each_window_has_its_share_of_the_alarms_and_each_tilt_of_its() -> None:
    """Of an event that cannot happen the steepest tilt bounds the probability: 48 e^-20, at every window."""
    log_p = math.log(48) - 20
    for m in (1, 3):
        # What the m-th window allows its stretches is 6 / (pi^2 m^3) of the whole.
        at_limit = math.exp(log_p) * math.pi**2 / 6 * m**3
        for alpha, alarm in ((at_limit * 1.01, True), (at_limit * 0.99, False)):
            scan = Scan(alpha=alpha)
            for _ in range(m - 1):
                assert scan.add([Count(5, 0, 0.0)]) is None
            assert (scan.add([Count(5, 1, 0.0)]) is not None) is alarm


def test_between_two_probabilities_nothing_is_improbable() -> None:
    within = Scan(alpha=1e-7)
    for events in (500, 250, 500, 250):
        assert within.add([Count(500, events, 1.0, least=0.5)]) is None
    assert Scan(alpha=1e-7).add([Count(500, 150, 1.0, least=0.5)]) is not None
    assert Scan(alpha=1e-7).add([Count(500, 499, 0.9, least=0.5)]) is not None


def test_windows_without_packets_are_no_windows() -> None:
    scan = Scan(alpha=1e-7)
    for _ in range(3):
        assert scan.add([Count(0, 0, 0.1)]) is None
        assert scan.add([]) is None
    found = scan.add([Count(1000, 0, 0.1), Count(0, 0, 0.3)])
    assert found is not None
    assert (found.first, found.last) == (0, 0)


def test_a_long_session_keeps_a_bounded_number_of_beginnings_and_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_module, "MOST_STRETCHES", 20)
    scan = Scan(alpha=1e-7)
    for _ in range(25):
        assert scan.add([Count(10, 1, 0.1)]) is None
    assert len(scan._before) == 20
    assert scan._before[0].number == 0


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"kind": "none"}, Count(9, 2, 0.0)),
        ({"kind": "independent", "p": 0.25}, Count(9, 2, 0.25)),
        (
            {"kind": "gilbert_elliott", "p": 0.1, "r": 0.3, "bad": 0.9},
            Count(9, 2, 0.0, runs=3, chain=(0.1, 0.3, 0.9, 0.0)),
        ),
        ({"kind": "gilbert_elliott", "p": 0.0, "r": 0.3}, Count(9, 2, 1.0, least=0.0)),
        ({"kind": "periodic", "every": 5}, None),
    ],
)
def test_each_kind_of_loss_has_its_count(asked: dict[str, object], count: Count | None) -> None:
    assert loss_count(asked, 9, 2, 3) == count
