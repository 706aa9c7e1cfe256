"""Expectations compare a figure with a quantity of its dimension."""

from __future__ import annotations

import pytest

from harness.analysis.results import Metric
from harness.scenario.expectations import check, parse_value, show
from harness.scenario.model import Expectation
from punktfunk.errors import UnitError


def expect(text: str) -> Expectation:
    return Expectation.model_validate(text)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("12 ms", "ms", 12.0),
        ("1.5 s", "ms", 1500.0),
        ("250 us", "ms", 0.25),
        ("99 %", "fraction", 0.99),
        ("0.99", "fraction", 0.99),
        ("8 Mbit/s", "Mbit/s", 8.0),
        ("500 kbit/s", "Mbit/s", 0.5),
        ("16 MiB", "MiB", 16.0),
        ("50", "frames", 50.0),
        ("50 frames", "frames", 50.0),
        ("38.5 dB", "dB", 38.5),
        ("0.98", "", 0.98),
    ],
)
def test_values_are_read_in_the_unit_of_the_figure(text: str, unit: str, value: float) -> None:
    assert parse_value(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"), [("5 %", "ms"), ("5", "ms"), ("5 ms", "frames"), ("2 s", "fraction")]
)
def test_another_dimension_is_refused(text: str, unit: str) -> None:
    with pytest.raises(UnitError):
        parse_value(text, unit)


@pytest.mark.parametrize(
    ("comparison", "passed"),
    [
        ("== 12 ms", True),
        ("!= 12 ms", False),
        ("<= 12 ms", True),
        ("< 12 ms", False),
        (">= 11 ms", True),
        ("> 12 ms", False),
    ],
)
def test_every_operator_compares(comparison: str, passed: bool) -> None:
    found = check(expect(f"transport_p99 {comparison}"), {"transport_p99": Metric(value=12.0, unit="ms")})
    assert found.passed is passed


@pytest.mark.parametrize("metrics", [{}, {"recovery": Metric(value=None, unit="fraction")}])
def test_what_was_not_measured_fails_its_expectation(metrics: dict[str, Metric]) -> None:
    found = check(expect("recovery >= 0 %"), metrics)
    assert not found.passed
    assert found.measured == "not measured"


def test_a_failed_check_shows_the_figure_with_its_interval_and_its_sample() -> None:
    metric = Metric(value=0.9, unit="fraction", interval=(0.85, 0.94), n=200)
    found = check(expect("recovery >= 99 %"), {"recovery": metric})
    assert (found.expected, found.measured) == (">= 99 %", "0.9 fraction (0.85 … 0.94, n = 200)")
    assert show(Metric(value=3, unit="frames")) == "3 frames"
