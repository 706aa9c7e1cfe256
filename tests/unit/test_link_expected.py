"""What a link promises, held against enumeration and other libraries."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from harness.analysis import theory
from harness.link.expected import Expected, expected

NOTHING = Expected(
    loss=0.0,
    loss_inflation=1.0,
    burst_end=None,
    every=None,
    duplicate=0.0,
    payload_corrupt=0.0,
    reorder=0.0,
    reorder_extra_us=0.0,
    jitter_reorder=False,
    delay_us=0.0,
    jitter_us=0.0,
    jitter_distribution="uniform",
    rate_kbps=None,
    overhead_bytes=28,
    checksum_drop=0.0,
)


def chain(p: float, r: float, bad: float = 1.0, good: float = 0.0) -> dict[str, Any]:
    return {"loss": {"kind": "gilbert_elliott", "p": p, "r": r, "bad": bad, "good": good}}


def test_an_empty_description_promises_nothing() -> None:
    assert expected({}) == NOTHING
    assert expected({"loss": None, "corrupt": None, "duplicate": None, "reorder": None}) == NOTHING


def test_every_part_of_a_description_is_promised_under_its_own_name() -> None:
    found = expected(
        {
            "loss": {"kind": "independent", "p": 0.02},
            "duplicate": 0.03,
            "corrupt": 0.04,
            "corrupt_mode": "payload",
            "reorder": {"p": 0.05, "extra_us": 600.0},
            "jitter_reorder": True,
            "delay_us": 700.0,
            "jitter_us": 80.0,
            "jitter_distribution": "pareto",
            "rate_kbps": 9000,
            "overhead_bytes": 42,
        }
    )
    assert found == Expected(
        loss=0.02,
        loss_inflation=1.0,
        burst_end=None,
        every=None,
        duplicate=0.03,
        payload_corrupt=0.04,
        reorder=0.05,
        reorder_extra_us=600.0,
        jitter_reorder=True,
        delay_us=700.0,
        jitter_us=80.0,
        jitter_distribution="pareto",
        rate_kbps=9000,
        overhead_bytes=42,
        checksum_drop=0.0,
    )


def test_what_a_checksum_drops_is_loss_in_no_pattern() -> None:
    found = expected({"loss": {"kind": "periodic", "every": 5}, "corrupt": 0.1})
    assert found.loss == pytest.approx(1 - 0.8 * 0.9)
    assert (found.every, found.burst_end, found.checksum_drop, found.payload_corrupt) == (
        None,
        None,
        0.1,
        0.0,
    )
    assert expected(chain(0.1, 0.3) | {"corrupt": 0.1}).burst_end is None
    plain = expected({"loss": {"kind": "periodic", "every": 5}})
    assert (plain.loss, plain.every, plain.checksum_drop) == (0.2, 5, 0.0)


@pytest.mark.parametrize("parts", [(0.02, 0.3, 1.0, 0.0), (0.05, 0.2, 0.8, 0.1), (0.3, 0.1, 0.5, 0.02)])
def test_mean_and_spread_of_bursty_loss_are_those_of_the_chain(
    parts: tuple[float, float, float, float],
) -> None:
    found, exact = expected(chain(*parts)), theory.GilbertElliott(*parts)
    n = 100_000
    mean, variance = theory.loss_moments(n, exact)
    assert found.loss == pytest.approx(mean / n)
    assert found.loss_inflation == pytest.approx(variance / (n * found.loss * (1 - found.loss)), rel=1e-3)
    assert found.burst_end == (parts[1] if parts[2:] == (1.0, 0.0) else None)


def test_chains_without_bursts_or_without_loss_vary_like_a_coin() -> None:
    stuck = expected(chain(0.0, 0.0, 0.9, 0.25))  # never leaves the good state
    assert (stuck.loss, stuck.loss_inflation, stuck.burst_end) == (0.25, 1.0, None)
    assert expected(chain(0.0, 0.5)).loss_inflation == 1.0
    # Losses that avoid each other vary less; the judge takes them for independent.
    assert expected(chain(0.9, 0.9)).loss_inflation == 1.0
    only_good = expected(chain(0.1, 0.3, 1.0, 0.01))
    assert only_good.burst_end is None


def partial_by_enumeration(parts: tuple[float, float], segments: int) -> float:
    """Sum over the paths of the simple Gilbert chain that lose some, but not all."""
    model, found = theory.GilbertElliott(*parts), 0.0
    for states in itertools.product((0, 1), repeat=segments):
        weight = model.start[states[0]]
        for a, b in itertools.pairwise(states):
            weight *= model.step[a, b]
        found += weight if 0 < sum(states) < segments else 0.0
    return float(found)


@pytest.mark.parametrize("segments", [1, 2, 3, 7])
def test_the_share_of_trains_lost_in_part_is_that_of_an_enumeration(segments: int) -> None:
    for parts in ((0.05, 0.3), (0.4, 0.1), (0.2, 1.0)):
        assert expected(chain(*parts)).partial_train(segments) == pytest.approx(
            partial_by_enumeration(parts, segments), abs=1e-12
        )
    # Loss without memory is the chain whose states follow each other by chance.
    independent = expected({"loss": {"kind": "independent", "p": 0.3}})
    assert independent.partial_train(segments) == pytest.approx(
        partial_by_enumeration((0.3, 0.7), segments), abs=1e-12
    )
    assert expected(chain(0.5, 0.0)).partial_train(segments) == 0.0  # all is lost


@pytest.mark.parametrize(
    ("every", "segments", "share"), [(8, 4, 0.5), (8, 8, 1.0), (8, 10, 1.0), (2, 1, 0.5), (1, 4, 0.0)]
)
def test_periodic_loss_hits_a_train_as_often_as_it_is_long(every: int, segments: int, share: float) -> None:
    assert expected({"loss": {"kind": "periodic", "every": every}}).partial_train(segments) == share


def test_a_datagram_takes_the_bottleneck_for_its_length() -> None:
    # 972 and 28 bytes are 8000 bits: 4 ms at 2 Mbit/s.
    assert expected({"rate_kbps": 2000}).service_us(972) == 4000.0
    assert expected({}).service_us(972) == 0.0


def law_of(name: str) -> Any:
    """Return the same law of another library."""
    from scipy import stats

    match name:
        case "uniform":
            return stats.uniform(-50, 100)
        case "normal":
            return stats.norm(0, 50)
        case _:
            return stats.lomax(3, scale=100)  # mean 50


@pytest.mark.parametrize("name", ["uniform", "normal", "pareto"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_quantiles_of_jitter_are_those_of_its_law(name: str, share: float) -> None:
    want = expected({"jitter_us": 50.0, "jitter_distribution": name})
    assert want.jitter_quantile(share) == pytest.approx(law_of(name).ppf(share), abs=1e-9)
    assert expected({"jitter_distribution": name}).jitter_quantile(share) == 0.0


@pytest.mark.parametrize("name", ["uniform", "normal"])
def test_the_share_of_delays_near_the_median_is_that_of_the_law(name: str) -> None:
    want = expected({"jitter_us": 50.0, "jitter_distribution": name})
    law = law_of(name)
    for us in (0.0, 20.0, 50.0, 70.0):
        assert want.jitter_share_within(us) == pytest.approx(law.cdf(us) - law.cdf(-us), abs=1e-9)
    assert expected({"jitter_distribution": name}).jitter_share_within(0.0) == 1.0
    assert np.isclose(expected({"jitter_us": 0.5}).jitter_share_within(0.25), 0.5)
