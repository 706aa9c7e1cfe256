"""The binomial distribution and its test are those of ``scipy.stats``, whose loading they spare."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.distributions import binomial_p_value, binomial_pmf

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1, 2, 3, 10, 200, 10_000, 300_000)


@pytest.fixture(scope="module")
def scipy_stats() -> Any:
    """``scipy.stats``, for whom these tests run; every process of the suite that only collects them is spared it."""
    from scipy import stats

    return stats


@pytest.mark.parametrize("trials", SIZES)
def test_the_p_value_is_that_of_the_exact_test(trials: int, rng: random.Random, scipy_stats: Any) -> None:
    for _ in range(100):
        probability = rng.choice([0.5, 0.25, rng.random(), rng.random() ** 4])
        deviation = (trials * probability * (1 - probability)) ** 0.5
        likely = min(trials, max(0, round(rng.gauss(trials * probability, 2 * deviation))))
        for successes in (likely, rng.randint(0, trials), 0, trials):
            expected = scipy_stats.binomtest(successes, trials, probability).pvalue
            found = binomial_p_value(successes, trials, probability)
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-13), (successes, probability)


@pytest.mark.parametrize(
    ("successes", "trials", "probability", "expected"),
    [
        (0, 0, 0.3, 1.0),
        (0, 5, 0.0, 1.0),
        (1, 5, 0.0, 0.0),
        (5, 5, 1.0, 1.0),
        (4, 5, 1.0, 0.0),
        (3, 4, 0.5, 0.625),
    ],
)
def test_the_p_value_at_its_edges(successes: int, trials: int, probability: float, expected: float) -> None:
    # Of four throws of a coin 0, 1, 3 and 4 heads are no likelier than three: ten outcomes of sixteen.
    assert binomial_p_value(successes, trials, probability) == pytest.approx(expected)


@pytest.mark.parametrize("trials", SIZES)
def test_the_probabilities_are_those_of_the_binomial(
    trials: int, rng: random.Random, scipy_stats: Any
) -> None:
    counts = np.unique(np.linspace(0, trials, 200).round())
    for probability in (0.0, 1.0, 0.02, rng.random()):
        expected = scipy_stats.binom.pmf(counts, trials, probability)
        np.testing.assert_allclose(
            binomial_pmf(counts, trials, probability), expected, rtol=1e-7, atol=1e-300
        )


@pytest.mark.parametrize(
    ("module", "not_loaded"),
    [
        ("harness", {"numpy", "pydantic"}),
        ("harness.cli", {"numpy", "scipy", "matplotlib", "jinja2", "ruamel.yaml", "pandas", "pyarrow"}),
        ("harness.run.launch", {"scipy.stats", "matplotlib", "jinja2", "pandas", "pyarrow", "distributed"}),
        ("harness.run.case", {"scipy.stats", "matplotlib", "jinja2", "pandas", "pyarrow"}),
        ("harness.run.groups", {"scipy.stats", "matplotlib", "jinja2", "pandas", "pyarrow", "distributed"}),
        ("harness.link.pump", {"numpy", "scipy", "pydantic"}),
    ],
)
def test_a_program_begins_without_what_it_may_never_need(module: str, not_loaded: set[str]) -> None:
    """``run.case`` is all that a worker of the pool loads."""
    code = f"import {module}, sys; print({not_loaded} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
